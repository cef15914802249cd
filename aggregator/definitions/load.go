package definitions

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/nephoscope/nepho/conf"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/glob"
)

// Shipped stands for the definitions that are built in where files are named.
const Shipped = "shipped"

// Load reads definitions from files, of which later ones add to those before and
// overrule them. known are archive policies that need no definition. All that is
// wrong is reported at once, with the place where it is written; then the
// definitions are nil.
func Load(files []string, known ...string) (*Definitions, []config.Problem) {
	var problems []config.Problem
	l := loader{d: &Definitions{names: map[string]*Type{}}, policies: map[string]bool{}}
	for _, name := range known {
		l.policies[name] = true
	}
	for _, name := range files {
		text, err := conf.Resources, error(nil)
		if name != Shipped {
			text, err = os.ReadFile(name)
		}
		if err != nil {
			problems = append(problems, config.Problem{Pos: config.Pos{File: name}, Message: fmt.Sprintf("cannot read the definitions: %v", err)})
			continue
		}
		problems = append(problems, l.add(name, text)...)
	}
	problems = append(problems, l.finish()...)
	if len(problems) > 0 {
		config.Sort(problems)
		return nil, problems
	}
	return l.d, nil
}

// loader joins files.
type loader struct {
	d        *Definitions
	policies map[string]bool
	pending  []reference
}

// reference is a name that some file must define.
type reference struct {
	name    string
	problem config.Problem
	known   func(name string) bool
	all     func() []string
}

func (l *loader) add(file string, text []byte) []config.Problem {
	table, problems := config.Parse(file, text)
	if len(problems) > 0 {
		return problems
	}
	var f fileTable
	if problems := table.Decode(&f); len(problems) > 0 {
		return problems
	}
	// Within one file a name that comes twice is a mistake.
	seen := map[string]bool{}
	twice := func(what, name string, v *config.Value, key string) {
		if seen[what+" "+name] {
			problems = append(problems, config.Problem{Pos: v.Pos, Key: key, Message: fmt.Sprintf("%s %q is defined twice in this file", what, name)})
		}
		seen[what+" "+name] = true
	}
	for i, p := range f.Policies {
		t := table.Get("policy").List[i].Table
		twice("archive policy", p.Name, t.Get("name"), t.KeyPath("name"))
		l.policy(p)
	}
	var choices []choice
	for i, m := range f.Metrics {
		t := table.Get("metric").List[i].Table
		choices = append(choices, m.choice())
		l.refer(m.Policy, t.Get("policy"), t.KeyPath("policy"), "no archive policy is called %q: add a [[policy]] with that name",
			func(name string) bool { return l.policies[name] },
			func() []string { return slices.Collect(maps.Keys(l.policies)) })
	}
	l.d.choice = append(choices, l.d.choice...)
	for i, r := range f.Resources {
		t := table.Get("resource").List[i].Table
		twice("resource type", r.Type, t.Get("type"), t.KeyPath("type"))
		for n, m := range r.Metrics {
			twice("metric", m, t.Get("metrics").List[n], fmt.Sprintf("%s[%d]", t.KeyPath("metrics"), n))
		}
		l.resource(r, t)
	}
	return problems
}

// refer notes a name that must be defined in the end.
func (l *loader) refer(name string, v *config.Value, key, message string, known func(string) bool, all func() []string) {
	l.pending = append(l.pending, reference{name, config.Problem{Pos: v.Pos, Key: key, Message: fmt.Sprintf(message, name)}, known, all})
}

func (l *loader) policy(p policyTable) {
	made := p.policy()
	l.policies[p.Name] = true
	for i, before := range l.d.Policies {
		if before.Name == p.Name {
			l.d.Policies[i] = made
			return
		}
	}
	l.d.Policies = append(l.d.Policies, made)
}

func (l *loader) resource(r resourceTable, at *config.Table) {
	t := l.d.Type(r.Type)
	if t == nil || t == generic {
		t = &Type{Name: r.Type}
		l.d.Types = append(l.d.Types, t)
	}
	for _, m := range r.Metrics {
		l.claim(m, t)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Attributes)) {
		a := r.Attributes[name].attribute(name)
		i, found := slices.BinarySearchFunc(t.Attributes, name, func(a Attribute, name string) int { return strings.Compare(a.Name, name) })
		if found {
			t.Attributes[i] = a
		} else {
			t.Attributes = slices.Insert(t.Attributes, i, a)
		}
	}
	if r.Events == nil {
		return
	}
	t.events = r.Events
	t.create, t.update, t.delete = eventGlobs(r.Events.Create), eventGlobs(r.Events.Update), eventGlobs(r.Events.Delete)
	events := at.Get("events").Table
	hasAttribute := func(typ, name string) bool {
		t := l.d.Type(typ)
		return t != nil && slices.ContainsFunc(t.Attributes, func(a Attribute) bool { return a.Name == name })
	}
	attributes := func(typ string) []string {
		var names []string
		if t := l.d.Type(typ); t != nil {
			for _, a := range t.Attributes {
				names = append(names, a.Name)
			}
		}
		return names
	}
	for _, name := range slices.Sorted(maps.Keys(r.Events.Attributes)) {
		traits := events.Get("attributes").Table
		l.refer(name, traits.Get(name), traits.KeyPath(name), "the resource type has no attribute %q",
			func(name string) bool { return hasAttribute(r.Type, name) }, func() []string { return attributes(r.Type) })
	}
	for _, typ := range slices.Sorted(maps.Keys(r.Events.Ends)) {
		ends := events.Get("ends").Table
		l.refer(r.Events.Ends[typ], ends.Get(typ), ends.KeyPath(typ), "resource type "+typ+" has no attribute %q, or is not defined",
			func(name string) bool { return hasAttribute(typ, name) }, func() []string { return attributes(typ) })
	}
}

// claim makes samples of a meter belong to a type.
func (l *loader) claim(pattern string, t *Type) {
	if isName(pattern) {
		l.d.names[pattern] = t
		return
	}
	for i := range l.d.globs {
		if l.d.globs[i].pattern == pattern {
			l.d.globs[i].t = t
			return
		}
	}
	globs, _ := glob.Compile([]string{pattern}) // checked
	l.d.globs = append(l.d.globs, typeGlob{pattern, globs, t})
}

// finish orders what was read, and reports names that nothing defines.
func (l *loader) finish() []config.Problem {
	slices.SortStableFunc(l.d.globs, func(a, b typeGlob) int { return len(b.pattern) - len(a.pattern) })
	var problems []config.Problem
	for _, r := range l.pending {
		if !r.known(r.name) {
			if near := config.Suggest(r.name, r.all()); near != "" {
				r.problem.Hint = fmt.Sprintf("did you mean %q?", near)
			}
			problems = append(problems, r.problem)
		}
	}
	return problems
}

// eventGlobs compiles checked patterns; none match nothing.
func eventGlobs(patterns []string) *glob.Globs {
	if len(patterns) == 0 {
		return nil
	}
	g, _ := glob.Compile(patterns)
	return g
}
