// Package bundled_test holds all bundled plugins, their manuals, their samples and
// the configurations that ship to what the plugins themselves declare.
package bundled_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/nephoscope/nepho/agent/bundled"
	"github.com/nephoscope/nepho/sdk"
	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

// Every folder with a plugin is in the list, and the other way round.
func TestFoldersAreBundled(t *testing.T) {
	listed := map[string]bool{}
	for _, p := range bundled.Plugins() {
		kind, err := p.Kind()
		if err != nil {
			t.Fatal(err)
		}
		if key := folder(string(kind), p.Name); !isHosts(string(kind), p.Name) {
			if listed[key] {
				t.Errorf("%s/%s is listed twice", kind, p.Name)
			}
			listed[key] = true
		}
	}
	for _, pattern := range []string{"plugins/*/sample.toml", "outputs/*/sample.toml", "aggregator/sample.toml"} {
		samples, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(samples) == 0 {
			t.Fatalf("%s: found %d, %v", pattern, len(samples), err)
		}
		for _, s := range samples {
			if !listed[filepath.Dir(s)] {
				t.Errorf("%s is not in bundled.Plugins", filepath.Dir(s))
			}
			delete(listed, filepath.Dir(s))
		}
	}
	for dir := range listed {
		t.Errorf("there is no %s/sample.toml", dir)
	}
}

// Summaries stand side by side in nepho plugins, options in nepho help.
func TestTextsAreInOneStyle(t *testing.T) {
	each(t, func(t *testing.T, kind string, p sdk.Plugin) {
		isSentence := func(what, text string, stop bool) {
			t.Helper()
			switch {
			case text == "":
				t.Errorf("%s is missing", what)
			case strings.TrimSpace(text) != text || strings.Contains(text, "\n"):
				t.Errorf("%s is not one line: %q", what, text)
			case unicode.IsLower([]rune(text)[0]) && !startsWithName.MatchString(text):
				t.Errorf("%s begins in lower case: %q", what, text)
			case strings.HasSuffix(text, ".") != stop:
				t.Errorf("%s ends with a full stop: %v; it should be %v: %q", what, !stop, stop, text)
			}
		}
		isSentence("the summary", p.Summary, false)
		for _, o := range leaves(sdkconfig.Options(p.New()), "") {
			isSentence("the text on option "+o.path, o.Doc, true)
		}
		seen := map[string]bool{}
		for _, m := range slices.Concat(p.Meters, p.Own) {
			if m.Doc == "" || seen[m.Name] {
				t.Errorf("meter %s has no text or is declared twice", m.Name)
			}
			seen[m.Name] = true
		}
		if isHosts(kind, p.Name) {
			return
		}
		if text := read(t, filepath.Join(folder(kind, p.Name), "sample.toml")); p.SampleConfig() != text {
			t.Errorf("what nepho config prints is not the folder's sample.toml")
		}
		if _, err := os.Stat(filepath.Join(folder(kind, p.Name), "README.md")); err != nil {
			t.Error(err)
		}
	})
}

// startsWithName finds texts that begin with an identifier or an abbreviation of
// the field, which keep their case.
var startsWithName = regexp.MustCompile(`^(libvirt|nova|influx|oslo\.messaging)\b`)

func TestManualsAreComplete(t *testing.T) {
	each(t, func(t *testing.T, kind string, p sdk.Plugin) {
		path := manual(kind, p.Name)
		text := read(t, path)
		if !isHosts(kind, p.Name) && (!strings.HasPrefix(text, "# "+p.Name+": ") || !strings.Contains(text, "\n## Options\n")) {
			t.Errorf("%s is not entitled \"# %s: ...\", or has no chapter \"## Options\"", path, p.Name)
		}
		for _, o := range leaves(sdkconfig.Options(p.New()), "") {
			if !names(text, o.path) {
				t.Errorf("%s does not name option %s", path, o.path)
				continue
			}
			// Globs that only leave things out are told in words.
			if row := rowOf(text, o.path); row != "" && !strings.HasPrefix(o.Default, "!") && !tells(row, o.Default) {
				t.Errorf("%s does not tell the default of option %s, %q: %s", path, o.path, o.Default, row)
			}
		}
		for _, m := range slices.Concat(p.Meters, p.Own) {
			row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta("`"+m.Name+"`") + ` \| ` + m.Type.String() + ` \| ` + regexp.QuoteMeta(m.Unit) + ` *\|`)
			if !row.MatchString(text) {
				t.Errorf("%s has no row on meter %s with type %v and unit %q", path, m.Name, m.Type, m.Unit)
			}
		}
	})
}

// names tells whether a manual has an option in code font: its whole path, or,
// beside its siblings, the rest of it.
func names(text, option string) bool {
	parts := strings.Split(option, ".")
	for n := range parts {
		rest := strings.Join(parts[n:], ".")
		if strings.Contains(text, "`"+rest+"`") || strings.Contains(text, "`."+rest+"`") {
			return true
		}
	}
	return false
}

// rowOf gives the row of a table whose first cell names just this option.
func rowOf(text, option string) string {
	return regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta("`"+option+"`") + ` \|.*$`).FindString(text)
}

// tells compares without the marks that TOML and Markdown put around values.
func tells(row, value string) bool {
	bare := strings.NewReplacer("`", "", `"`, "", " ", "")
	return strings.Contains(bare.Replace(row), bare.Replace(value))
}
