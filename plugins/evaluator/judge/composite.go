package judge

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// Leaves lists the rules of a composite rule in the order in which they are named
// rule1, rule2 and so on.
func Leaves(c *def.Composite) []def.Rule {
	var list []def.Rule
	var walk func(n *def.Node)
	walk = func(n *def.Node) {
		if n.Rule != nil {
			list = append(list, n.Rule)
		}
		for i := range n.Nodes {
			walk(&n.Nodes[i])
		}
	}
	walk(&c.Root)
	return list
}

// leaf is a rule of a composite one while that is judged.
type leaf struct {
	rule    def.Rule
	verdict *Verdict
	looked  bool // at the verdict: what is not needed for the answer is no cause of it
	state   def.State
	known   bool // whether state is set
}

// Composite is what an alarm with a composite rule that is in a state has to do; nil:
// nothing. Verdicts are those of [Leaves].
func Composite(c *def.Composite, verdicts []Verdict, now def.State, repeat bool) *Outcome {
	j := &composite{root: &c.Root}
	for i, rule := range Leaves(c) {
		j.leaves = append(j.leaves, leaf{rule: rule, verdict: &verdicts[i]})
	}
	state := j.state()
	if state == def.InsufficientData {
		// Rules whose values are mixed are taken as not yet changed.
		for i := range j.leaves {
			l := &j.leaves[i]
			l.look()
			if !l.verdict.Mixed {
				continue
			}
			l.known = true
			switch {
			case now == def.InsufficientData:
				l.state = l.verdict.State
			case l.verdict.State == def.Alerting:
				l.state = def.OK
			default:
				l.state = def.Alerting
			}
		}
		state = j.state()
	}
	if state == now && (!repeat || state == def.InsufficientData) {
		return nil
	}
	return j.because(now, state)
}

type composite struct {
	root   *def.Node
	leaves []leaf
}

func (l *leaf) look() {
	if l.looked {
		return
	}
	l.looked = true
	if !l.verdict.Mixed {
		l.state, l.known = l.verdict.State, true
	}
}

func (l *leaf) is(s def.State) bool {
	l.look()
	return l.known && l.state == s
}

// state is alarm if the tree says so, ok if the tree with "and" and "or" exchanged says
// ok, and else insufficient data.
func (j *composite) state() def.State {
	for _, s := range []def.State{def.Alerting, def.OK} {
		next := 0
		if j.holds(j.root, s, &next) {
			return s
		}
	}
	return def.InsufficientData
}

// holds reports whether a part of the tree is in a state. It looks at no more leaves
// than it has to; next counts those of the parts before.
func (j *composite) holds(n *def.Node, s def.State, next *int) bool {
	if n.Rule != nil {
		*next++
		return j.leaves[*next-1].is(s)
	}
	all := n.And == (s == def.Alerting)
	answer, decided := all, false
	for i := range n.Nodes {
		if decided {
			skip(&n.Nodes[i], next)
		} else if j.holds(&n.Nodes[i], s, next) != all {
			answer, decided = !all, true
		}
	}
	return answer
}

func skip(n *def.Node, next *int) {
	if n.Rule != nil {
		*next++
	}
	for i := range n.Nodes {
		skip(&n.Nodes[i], next)
	}
}

var changes = [...]string{
	def.Alerting: "outside their threshold.", def.OK: "inside their threshold.", def.InsufficientData: "state evaluated to unknown.",
}

func (j *composite) because(now, state def.State) *Outcome {
	var names []string
	var causes def.Object
	for i := range j.leaves {
		if l := &j.leaves[i]; l.known && l.state == state {
			name := "rule" + strconv.Itoa(i+1)
			names = append(names, name)
			causes = append(causes, def.Member{Name: name, Value: append(def.Fields(l.rule), def.Member{Name: "type", Value: l.rule.Type()})})
		}
	}
	slices.Sort(names)
	verb := "remaining as"
	if state != now {
		verb = "transition to"
	}
	next := 0
	form := j.form(j.root, &next)
	return &Outcome{
		State:  state,
		Reason: fmt.Sprintf("Composite rule alarm with composition form: %s %s %s, due to rules: %s %s", form, verb, state, strings.Join(names, ", "), changes[state]),
		Data:   def.Object{{Name: "type", Value: "composite"}, {Name: "composition_form", Value: form}, {Name: "causative_rules", Value: causes}},
	}
}

func (j *composite) form(n *def.Node, next *int) string {
	if n.Rule != nil {
		*next++
		return "rule" + strconv.Itoa(*next)
	}
	parts := make([]string, len(n.Nodes))
	for i := range n.Nodes {
		parts[i] = j.form(&n.Nodes[i], next)
	}
	word := " or "
	if n.And {
		word = " and "
	}
	return "(" + strings.Join(parts, word) + ")"
}
