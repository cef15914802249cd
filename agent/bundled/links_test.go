package bundled_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```")
)

// Links between manuals lead somewhere, down to the heading.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, pattern := range []string{"*.md", "docs/*.md", "plugins/*/README.md", "outputs/*/README.md", "aggregator/*.md", "sdk/*.md", "integration/*.md", "integration/*/*.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(read(t, file), ""), -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				path, anchor, _ := strings.Cut(m[1], "#")
				to := file
				if path != "" {
					to = filepath.Join(filepath.Dir(file), path)
				}
				if info, err := os.Stat(to); err != nil {
					t.Errorf("%s: a link leads nowhere: %v", file, err)
				} else if anchor != "" && (info.IsDir() || !hasHeading(read(t, to), anchor)) {
					t.Errorf("%s: %s has no heading for #%s", file, to, anchor)
				}
			}
		}
	}
}

// hasHeading tells whether a manual has a heading that a forge gives an anchor.
func hasHeading(text, anchor string) bool {
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		made := strings.Map(func(c rune) rune {
			switch {
			case c == ' ':
				return '-'
			case c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c > 127:
				return c
			}
			return -1
		}, strings.ToLower(m[1]))
		if made == anchor {
			return true
		}
	}
	return false
}
