package bundled_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/sdk/glob"
)

// The configurations that ship are right, with an empty environment, and what
// they select is there.
func TestShippedConfigurationsAreRight(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "conf/*.toml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { checkConfiguration(t, file) })
	}
}

func checkConfiguration(t *testing.T, file string) {
	t.Helper()
	c, problems := config.Load(config.Options{File: file, Env: func(string) (string, bool) { return "", false }})
	// Check compares the globs of pollsters and pipelines with the meters that
	// there are.
	for _, p := range append(problems, c.Check(bundledOnly())...) {
		t.Errorf("%v", p)
	}
	for _, p := range c.Pipelines {
		for _, name := range p.Transformers {
			for _, pattern := range c.Instance(name).Meters {
				if strings.HasPrefix(pattern, "!") {
					continue
				}
				if !reaches(c, p, pattern) {
					t.Errorf("pipeline %s: nothing that %q of transformer %s matches gets there", p.Name, pattern, name)
				}
			}
		}
	}
}

// reaches tells whether a pattern matches any meter that the sources of a
// pipeline declare and that it lets through.
func reaches(c *config.Config, p *config.Pipeline, pattern string) bool {
	g, err := glob.Compile([]string{pattern})
	if err != nil {
		return false
	}
	for _, s := range p.Sources {
		d, err := bundledOnly().Describe(c.Instance(s))
		if err != nil {
			return false
		}
		for _, m := range d.Meters {
			if g.Match(m) && c.Instance(s).Globs.Match(m) && p.MeterGlobs.Match(m) {
				return true
			}
		}
	}
	return false
}
