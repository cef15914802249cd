package bundled_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/sdk"
	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

// A sample is TOML in which options that need not be set are commented out: "# "
// and the line as it would be. Lines without an empty line or other comments
// between them are a block; blocks that have an option in common are
// alternatives.
func TestSamplesAreRight(t *testing.T) {
	each(t, func(t *testing.T, kind string, p sdk.Plugin) {
		text := p.SampleConfig()
		if c := checkText(t, "the sample as it stands", text); len(c.Instances) == 0 || c.Instances[0].Plugin != p.Name {
			t.Fatalf("the sample has no %s", p.Name)
		}
		if !strings.HasPrefix(text, "# ") || strings.Contains(text, "\n##") {
			t.Errorf("the sample does not begin with a line on what the plugin does, or has comments with two marks")
		}
		s := takeApart(text)
		if own := fmt.Sprintf("[[%s.%s]]", kind, p.Name); s.headers[0] != own {
			t.Errorf("the sample begins with %s instead of %s", s.headers[0], own)
		}
		for n := range s.blocks {
			checkText(t, "the sample with all options", s.with(n))
		}
		all := sdkconfig.Options(p.New())
		for _, o := range leaves(all, "") {
			if !s.shows(o.path) {
				t.Errorf("the sample does not show option %s", o.path)
			}
		}
		known := map[string]bool{}
		for _, o := range append(slices.Clone(all), config.HostOptions(kind)...) {
			known[o.Name] = true
		}
		for _, b := range s.blocks {
			for _, l := range b {
				if l.section == 0 && !known[l.key] {
					t.Errorf("the sample shows an option %q that there is not", l.key)
				}
			}
		}
	})
}

// The main file that ships is a sample of its own kind.
func TestMainFileShowsAllOptions(t *testing.T) {
	text := read(t, filepath.Join(root, "conf/nepho.toml"))
	s := takeApart(text)
	for n := range s.blocks {
		checkText(t, "conf/nepho.toml with all options", s.with(n))
	}
	for _, o := range sdkconfig.Options(config.Agent{}) {
		if !s.shows(o.Name) {
			t.Errorf("conf/nepho.toml does not show option %s of [agent]", o.Name)
		}
		if o.Default != "" && !regexp.MustCompile(`(?m)^#? ?`+o.Name+` *= \[?"?`+regexp.QuoteMeta(o.Default)+`"?\]?$`).MatchString(text) {
			t.Errorf("conf/nepho.toml does not show the default of option %s, %s", o.Name, o.Default)
		}
	}
	for _, kind := range config.Kinds() {
		for _, o := range config.HostOptions(kind) {
			if !regexp.MustCompile(`[ ,]` + o.Name + `[,.]`).MatchString(text) {
				t.Errorf("conf/nepho.toml does not name option %s of %ss", o.Name, kind)
			}
		}
	}
}

// Configurations in manuals are right, apart from what is left out of them.
func TestExamplesInManualsAreRight(t *testing.T) {
	for _, pattern := range []string{"plugins/*/README.md", "outputs/*/README.md", "aggregator/README.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: found %d, %v", pattern, len(files), err)
		}
		for _, file := range files {
			for n, example := range examples(read(t, file)) {
				checkText(t, fmt.Sprintf("%s: example %d", file, n+1), example)
			}
		}
	}
}

// examples gives a manual's blocks of TOML.
func examples(text string) []string {
	var list []string
	for _, m := range regexp.MustCompile("(?ms)^```toml\n(.*?)^```").FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}

// sample is a configuration with options that may be commented out.
type sample struct {
	headers []string // of its tables, in order
	blocks  [][]line
}

// line is an option, which may go over several lines of the file.
type line struct {
	section int // its table, by its header
	key     string
	text    string
}

var (
	option = regexp.MustCompile(`^(?:# )?([a-z][a-z0-9_]*) *= (.*)$`)
	header = regexp.MustCompile(`^(?:# )?(\[\[?[a-z0-9_.]+\]\]?)$`)
)

// takeApart leaves out prose.
func takeApart(text string) sample {
	var s sample
	var block []line
	end := func() {
		if len(block) > 0 {
			s.blocks = append(s.blocks, block)
		}
		block = nil
	}
	open := false // the last option goes on
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		m, h := option.FindStringSubmatch(l), header.FindStringSubmatch(l)
		switch {
		case open:
			block[len(block)-1].text += "\n" + strings.TrimSpace(strings.TrimPrefix(l, "#"))
		case m != nil:
			block = append(block, line{len(s.headers) - 1, m[1], strings.TrimPrefix(l, "# ")})
		case h != nil:
			end()
			s.headers = append(s.headers, h[1])
		default:
			end()
		}
		if n := len(block); n > 0 {
			value := block[n-1].text
			open = strings.Count(value, "[") > strings.Count(value, "]")
		}
	}
	end()
	return s
}

// with writes the configuration with the n-th block and all others that have
// nothing in common with what is there already.
func (s sample) with(n int) string {
	type place struct {
		section int
		key     string
	}
	taken := map[place]bool{}
	tables := make([]string, len(s.headers))
	for _, b := range append([][]line{s.blocks[n]}, s.blocks...) {
		if slices.ContainsFunc(b, func(l line) bool { return taken[place{l.section, l.key}] }) {
			continue
		}
		for _, l := range b {
			taken[place{l.section, l.key}] = true
			tables[l.section] += l.text + "\n"
		}
	}
	text := ""
	for n, h := range s.headers {
		text += h + "\n" + tables[n]
	}
	return text
}

// shows tells whether an option is in the sample, or its name within the value of
// the one that holds it.
func (s sample) shows(path string) bool {
	outer, _, _ := strings.Cut(path, ".")
	name := regexp.MustCompile(`\b` + regexp.QuoteMeta(path[strings.LastIndex(path, ".")+1:]) + ` *= `)
	for _, b := range s.blocks {
		for _, l := range b {
			if l.key == path || (l.key == outer || l.section > 0) && name.MatchString(l.text) {
				return true
			}
		}
	}
	// Tables whose keys are the operator's.
	return slices.ContainsFunc(s.headers, func(h string) bool { return strings.HasSuffix(h, "."+path+"]]") })
}

// checkText has the host and the plugins check a configuration, or a part of one
// with what must be around it.
func checkText(t *testing.T, what, text string) *config.Config {
	t.Helper()
	load := func(text string) (*config.Config, []config.Problem) {
		return config.Load(config.Options{
			File: "sample.toml",
			Env:  func(string) (string, bool) { return "value", true },
			ReadFile: func(name string) ([]byte, error) {
				if name == "sample.toml" {
					return []byte(text), nil
				}
				return []byte("secret"), nil
			},
			Glob: func(string) ([]string, error) { return nil, nil },
		})
	}
	c, _ := load(text)
	if c.Implicit || len(c.Pipelines) == 0 {
		text += around(c)
	}
	c, problems := load(text)
	for _, p := range append(problems, c.Check(bundledOnly())...) {
		t.Errorf("%s is wrong: %v\n%s", what, p, text)
	}
	return c
}

// around writes sources, publishers and a pipeline for what has none.
func around(c *config.Config) string {
	names := map[string][]string{}
	for _, i := range c.Instances {
		switch {
		case i.Kind == config.Transformer:
			names["transformers"] = append(names["transformers"], i.Name)
		case config.IsSource(i.Kind):
			names["sources"] = append(names["sources"], i.Name)
		default:
			names["publishers"] = append(names["publishers"], i.Name)
		}
	}
	text := ""
	if names["sources"] == nil {
		names["sources"] = []string{"start"}
		text += "\n[[pollster.generator]]\nname = \"start\"\n"
	}
	if names["publishers"] == nil {
		names["publishers"] = []string{"end"}
		text += "\n[[publisher.discard]]\nname = \"end\"\n"
	}
	text += "\n[[pipeline]]\nname = \"around\"\n"
	for key, list := range names {
		text += key + " = ['" + strings.Join(list, "', '") + "']\n"
	}
	return text
}
