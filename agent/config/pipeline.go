package config

import (
	"fmt"
	"slices"
	"strings"

	sdkconfig "github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/glob"
)

// pipelines reads the [[pipeline]] tables of a file.
func (l *loader) pipelines(file *sdkconfig.Table) {
	v := file.Get("pipeline")
	if v == nil {
		return
	}
	list := v.List
	switch v.Kind {
	case sdkconfig.KindList:
	case sdkconfig.KindTable:
		l.add(v.Pos, "pipeline", "write [[pipeline]]", "there may be several pipelines, so their table is one of a list")
		list = []*sdkconfig.Value{v}
	default:
		l.add(v.Pos, "pipeline", "write [[pipeline]]", "expected a list of tables, got %s", article(v.Kind.String()))
	}
	for _, e := range list {
		if e.Kind != sdkconfig.KindTable {
			l.add(e.Pos, "pipeline", "write [[pipeline]]", "expected a table, got %s", article(e.Kind.String()))
			continue
		}
		l.pipeline(e.Table)
	}
}

func (l *loader) pipeline(t *sdkconfig.Table) {
	t.Path = "pipeline"
	p := &Pipeline{Pos: t.Pos, table: t}
	problems := t.Decode(p)
	l.problems = append(l.problems, problems...)
	l.broken = l.broken || len(problems) > 0 || len(p.Sources) == 0 || len(p.Publishers) == 0
	p.MeterGlobs = l.globs(t, "meters", p.Meters)
	p.EventGlobs = l.globs(t, "events", p.Events)
	if p.Name != "" {
		if err := checkName(p.Name); err != nil {
			l.add(place(t, "name"), "pipeline.name", "", "%v", err)
		}
		for _, other := range l.config.Pipelines {
			if other.Name == p.Name {
				l.add(place(t, "name"), "pipeline.name", "give one of them another name", "another pipeline called %q is at %s", p.Name, other.Pos)
				break
			}
		}
	}
	l.config.Pipelines = append(l.config.Pipelines, p)
}

// implicitPipelines joins every source with every sink. Alarms get events only: samples
// they ask a storage for. The events of alarms do not go to alarms: that would be a cycle.
func (c *Config) implicitPipelines() []*Pipeline {
	alarms := func(kind string) bool { return kind == Alarm }
	sources := func(kind string) bool { return IsSource(kind) && !alarms(kind) }
	sinks := func(kind string) bool { return IsSink(kind) && !alarms(kind) }
	make := func(name, meters string, sources, sinks func(kind string) bool) *Pipeline {
		globs, err := glob.Compile([]string{meters})
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return &Pipeline{Name: name, Sources: c.names(sources), Publishers: c.names(sinks), Meters: []string{meters}, MeterGlobs: globs, Events: []string{"*"}}
	}
	pipelines := []*Pipeline{
		make("default", "*", sources, sinks), make("default-events", "!*", sources, alarms), make("default-alarms", "*", alarms, sinks),
	}
	return slices.DeleteFunc(pipelines, func(p *Pipeline) bool { return len(p.Sources) == 0 || len(p.Publishers) == 0 })
}

// role is one of a pipeline's lists of names.
type role struct {
	key      string
	what     string
	names    []string
	suits    func(kind string) bool
	pipeline *Pipeline
}

func (p *Pipeline) roles() []role {
	isTransformer := func(kind string) bool { return kind == Transformer }
	return []role{
		{"sources", "source", p.Sources, IsSource, p},
		{"transformers", "transformer", p.Transformers, isTransformer, p},
		{"publishers", "publisher", p.Publishers, IsSink, p},
	}
}

// pos returns where the i-th name of one of the pipeline's lists was written.
func (p *Pipeline) pos(key string, i int) Pos {
	if v := p.table.Get(key); v != nil && i < len(v.List) {
		return v.List[i].Pos
	}
	return place(p.table, key)
}

// check returns what is wrong with the names of a role.
func (r *role) check(c *Config) []Problem {
	var problems []Problem
	for i, name := range r.names {
		add := func(hint, format string, args ...any) {
			key := fmt.Sprintf("pipeline.%s[%d]", r.key, i)
			problems = append(problems, Problem{Pos: r.pipeline.pos(r.key, i), Key: key, Hint: hint, Message: fmt.Sprintf(format, args...)})
		}
		instance := c.Instance(name)
		switch {
		case slices.Index(r.names, name) < i:
			add("", "%q is listed twice", name)
		case instance == nil:
			hint := r.suggestion(c, name)
			if c.unread {
				hint = strings.TrimPrefix(hint+"; or is it in the file that cannot be read?", "; ")
			}
			add(hint, "no instance is called %q", name)
		case !r.suits(instance.Kind):
			add("", "%q is %s, not a %s", name, article(instance.Kind), r.what)
		}
	}
	return problems
}

// suggestion is the hint for a name that no instance has. One that suits the role
// is more likely meant than a nearer one that does not.
func (r *role) suggestion(c *Config, name string) string {
	suitable := c.names(r.suits)
	for _, names := range [][]string{suitable, c.names(func(string) bool { return true })} {
		if s := sdkconfig.Suggest(name, names); s != "" {
			return fmt.Sprintf("did you mean %q?", s)
		}
	}
	// The plugin's name is a likely mistake if its only instance has another.
	for _, i := range c.Instances {
		if i.Plugin == name && r.suits(i.Kind) {
			return fmt.Sprintf("the instance of %s.%s is called %q", i.Kind, i.Plugin, i.Name)
		}
	}
	const few = 8
	if len(suitable) == 0 || len(suitable) > few {
		return ""
	}
	return "there are: " + strings.Join(suitable, ", ")
}

// article writes a word with its article.
func article(word string) string {
	if strings.ContainsRune("aeiou", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}
