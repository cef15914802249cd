package config

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/nephoscope/nepho/sdk/glob"

	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

// Catalog is what the host knows of plugins. Check calls it from several
// goroutines at once.
type Catalog interface {
	// Describe returns what the plugin of an instance says of itself. An error's
	// text says what to do: that there is no such plugin and which is nearest, or
	// why its executable is refused. Check calls it once per instance.
	Describe(i *Instance) (*Plugin, error)
	// Check has the plugin check the instance's own options and returns all
	// problems. It is called after Describe, if that gave no error.
	Check(i *Instance) []Problem
}

// Plugin is what a plugin says of itself.
type Plugin struct {
	Kind, Name, Version string
	// Meters are those that a pollster can give; empty means unknown.
	Meters []string
	// Own are the samples that the internal pollster makes of what the plugin tells about
	// itself.
	Own []string
	// Unknown: it could not be asked, so that there may be more of each.
	Unknown bool
	// Options are those of the plugin; Check hides the values of secret ones.
	Options []sdkconfig.Option
}

// Internal is the name of the host's own pollster. It gives what other plugins tell about
// themselves, besides its own meters.
const Internal = "internal"

// Check asks the plugins about their instances and compares the meters that
// pollsters declare with those that pollsters and pipelines select. The problems
// are sorted and come on top of those that Load returned.
func (c *Config) Check(catalog Catalog) []Problem {
	plugins := make([]*Plugin, len(c.Instances))
	found := make([][]Problem, len(c.Instances))

	// Asking may mean to start a process, which is mostly waiting.
	var wait sync.WaitGroup
	tickets := make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	for n, i := range c.Instances {
		tickets <- struct{}{}
		wait.Go(func() {
			defer func() { <-tickets }()
			plugins[n], found[n] = ask(catalog, i)
		})
	}
	wait.Wait()

	var problems []Problem
	meters := make(map[string]meterSet, len(c.Instances))
	own, all := ownMeters(plugins)
	for n, i := range c.Instances {
		problems = append(problems, found[n]...)
		if plugins[n] == nil {
			continue
		}
		i.Options.MarkSecrets(plugins[n].Options)
		declared := plugins[n].Meters
		if i.Kind != Pollster || len(declared) == 0 {
			continue
		}
		if i.Plugin == Internal && i.Command == "" {
			if !all {
				continue
			}
			declared = slices.Concat(declared, own)
		}
		meters[i.Name] = newMeterSet(i, declared)
		problems = append(problems, checkPollsterMeters(i, declared)...)
	}
	for _, p := range c.Pipelines {
		problems = append(problems, checkPipelineMeters(p, meters)...)
	}
	sdkconfig.Sort(problems)
	return problems
}

// ownMeters gives what plugins tell about themselves, and whether that is known of all.
func ownMeters(plugins []*Plugin) (own []string, all bool) {
	all = true
	for _, p := range plugins {
		if p == nil || p.Unknown {
			all = false
			continue
		}
		own = append(own, p.Own...)
	}
	return own, all
}

func ask(catalog Catalog, i *Instance) (*Plugin, []Problem) {
	plugin, err := catalog.Describe(i)
	if err != nil {
		return nil, []Problem{{Pos: i.Pos, Key: i.Kind + "." + i.Plugin, Message: err.Error()}}
	}
	if plugin.Kind != i.Kind {
		message := fmt.Sprintf("%s is %s, not %s", plugin.Name, article(plugin.Kind), article(i.Kind))
		return nil, []Problem{{Pos: i.Pos, Key: i.Kind + "." + i.Plugin, Message: message}}
	}
	return plugin, catalog.Check(i)
}

// meterSet is what a pollster can give and what it is configured to give.
type meterSet struct {
	declared []string
	selected []string
}

func newMeterSet(i *Instance, declared []string) meterSet {
	s := meterSet{declared: declared}
	for _, m := range declared {
		if i.Globs.Match(m) {
			s.selected = append(s.selected, m)
		}
	}
	return s
}

func checkPollsterMeters(i *Instance, declared []string) []Problem {
	var problems []Problem
	for n, pattern := range i.Meters {
		if !anyMatch(pattern, declared) {
			problems = append(problems, emptyGlob(i.host, n, pattern, i.Kind+"."+i.Plugin, declared))
		}
	}
	return problems
}

// checkPipelineMeters compares a pipeline's patterns with what its sources give,
// if that is known of all of them.
func checkPipelineMeters(p *Pipeline, meters map[string]meterSet) []Problem {
	var declared, selected []string
	for _, name := range p.Sources {
		s, known := meters[name]
		if !known {
			return nil
		}
		declared = append(declared, s.declared...)
		selected = append(selected, s.selected...)
	}
	if p.table == nil || p.table.Get("meters") == nil || len(p.Sources) == 0 {
		return nil
	}
	var problems []Problem
	for n, pattern := range p.Meters {
		// What an exclusion names may have been left out at the source already.
		if anyMatch(pattern, selected) || strings.HasPrefix(pattern, "!") && anyMatch(pattern, declared) {
			continue
		}
		problem := emptyGlob(p.table, n, pattern, strings.Join(p.Sources, ", "), selected)
		if anyMatch(pattern, declared) {
			problem.Message = fmt.Sprintf("%q matches no meter that the sources are configured to give", pattern)
			problem.Hint = "see the meters of " + strings.Join(p.Sources, ", ")
		}
		problems = append(problems, problem)
	}
	return problems
}

// anyMatch reports whether one pattern of a list, the ! left aside, matches any
// of the meters. A pattern that cannot be compiled has been reported.
func anyMatch(pattern string, meters []string) bool {
	g, err := glob.Compile([]string{strings.TrimPrefix(pattern, "!")})
	if err != nil {
		return true
	}
	for _, m := range meters {
		if g.Match(m) {
			return true
		}
	}
	return false
}

// emptyGlob is the problem of the n-th pattern in a table's meters.
func emptyGlob(t *sdkconfig.Table, n int, pattern, of string, meters []string) Problem {
	pos := place(t, "meters")
	if v := t.Get("meters"); v != nil && n < len(v.List) {
		pos = v.List[n].Pos
	}
	p := Problem{Pos: pos, Key: fmt.Sprintf("%s[%d]", t.KeyPath("meters"), n), Message: fmt.Sprintf("%q matches no meter of %s", pattern, of)}
	if s := nearestMeter(pattern, meters); s != "" {
		p.Hint = fmt.Sprintf("did you mean %q?", s)
	}
	return p
}

// nearestMeter suggests a meter for a pattern. Of a pattern such as "memry.*" it
// is the part before the * that is compared, with the same part of each meter.
func nearestMeter(pattern string, meters []string) string {
	body := strings.TrimPrefix(pattern, "!")
	before, after, isGlob := strings.Cut(body, "*")
	if !isGlob {
		return restore(pattern, sdkconfig.Suggest(body, meters))
	}
	if after != "" || before == "" {
		return ""
	}
	dots := strings.Count(before, ".")
	var stems []string
	for _, m := range meters {
		if parts := strings.SplitAfterN(m, ".", dots+1); len(parts) == dots+1 && dots > 0 {
			stems = append(stems, strings.Join(parts[:dots], ""))
		}
	}
	if s := sdkconfig.Suggest(before, stems); s != "" {
		return restore(pattern, s+"*")
	}
	return ""
}

// restore puts the ! of a pattern before what is suggested for it.
func restore(pattern, suggestion string) string {
	if suggestion != "" && strings.HasPrefix(pattern, "!") {
		return "!" + suggestion
	}
	return suggestion
}
