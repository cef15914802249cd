package evaluate

import (
	"unique"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/judge"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// alarm is what evaluation needs to know of an alarm. All but the last group of fields
// never changes: another definition is another alarm.
type alarm struct {
	id        uuid.UUID
	version   int64
	rule      def.Rule
	scope     *sdk.Scope // shared by all of an owner
	schedules []*def.Schedule
	matcher   *judge.Matcher // of event rules
	waits     waiting        // where it is in the index of events
	leaves    []leaf
	began     int64 // absence: when waiting began
	repeat    bool  // small fields are side by side: there may be a million of these
	lane      uint8

	// These are guarded by the evaluator's mutex.
	state    def.State
	gone     bool // replaced or deleted
	isDirty  bool
	place    int32 // in timers, from 1 on; 0: in none
	status   int64 // the status' version
	due      int64 // when a timer has it looked at
	repeated int64 // when its actions were last done
	seen     int64 // absence: when what is expected came last
	kept     int64 // absence: seen as it is stored
	failing  int64 // since when its data can't be asked for; 0: they can
	rest     int64 // until when new points don't have it looked at, which is dear
}

// leaf is a threshold rule of an alarm: its only one, or one of a composite rule.
type leaf struct {
	rule def.Rule
	// number is the series that is looked at, 0 while it is not known, or when the rule
	// is an expression.
	number uint64
}

// series gives the name of the series that a leaf is about.
func (l *leaf) series() (name sdk.SeriesName, ok bool) {
	if r, ok := l.rule.(*def.ResourceThreshold); ok {
		return sdk.SeriesName{Resource: r.Resource, Meter: r.Metric}, true
	}
	return name, false
}

// intern keeps one copy of a text that many alarms have.
func intern(s string) string { return unique.Make(s).Value() }

// newAlarm takes over what evaluation needs. Nil: it is never evaluated.
func newAlarm(a *store.Alarm) *alarm {
	if !a.Enabled {
		return nil
	}
	n := &alarm{id: a.ID, version: a.Alarm.Version, rule: a.Rule, repeat: a.Repeat, state: a.State, status: a.Status.Version}
	for i := range a.Constraints {
		if s, err := a.Constraints[i].Schedule(); err == nil { // it was checked when it was stored
			n.schedules = append(n.schedules, s)
		}
	}
	switch r := a.Rule.(type) {
	case *def.Event:
		n.matcher = judge.Match(r)
	case *def.Absence:
		if r.Event != nil {
			n.matcher = judge.Match(r.Event)
		} else {
			n.leaves = []leaf{{rule: &def.ResourceThreshold{Metric: intern(r.Metric), Resource: r.Resource, ResourceType: r.ResourceType}}}
		}
		n.began = a.Changed.UnixNano()
		n.kept = n.began
		if !a.Evaluated.IsZero() {
			n.kept = max(n.kept, a.Evaluated.UnixNano())
		}
		n.seen = n.kept
	case *def.Composite:
		for _, rule := range judge.Leaves(r) {
			n.leaves = append(n.leaves, leaf{rule: rule})
		}
	default:
		n.leaves = []leaf{{rule: r}}
	}
	n.lane = laneOf(n.leaves)
	for i := range n.leaves {
		share(n.leaves[i].rule)
	}
	return n
}

// share interns what rules have in common.
func share(r def.Rule) {
	if r, ok := r.(*def.ResourceThreshold); ok {
		r.Metric, r.ResourceType, r.Method, r.Comparison = intern(r.Metric), intern(r.ResourceType), intern(r.Method), def.Comparison(intern(string(r.Comparison)))
	}
}

// Put takes over an alarm as it was stored, in place of what was known of it, and
// looks at it.
func (e *Evaluator) Put(a *store.Alarm) {
	n := newAlarm(a)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loading.touch(a.ID)
	if e.put(a, n) {
		e.mark(n)
		e.ringSoon()
	}
}

// put takes over an alarm and what newAlarm made of it, and reports whether it is to be
// looked at. The mutex is held.
func (e *Evaluator) put(a *store.Alarm, n *alarm) bool {
	old := e.alarms[a.ID]
	// Both versions only rise, so of two that were read at different times one is newer in
	// both. What is known already must stay: a transition of it may be under way.
	if old != nil && old.version >= a.Alarm.Version && old.status >= a.Status.Version {
		return false
	}
	if old != nil {
		e.remove(old)
	}
	if n == nil {
		return false
	}
	n.scope = e.index.scope(a)
	if old != nil {
		n.repeated, n.seen = old.repeated, max(n.seen, old.seen)
	}
	e.alarms[a.ID] = n
	e.states[n.state]++
	if n.matcher != nil {
		e.events.add(n, a.Project)
	}
	e.index.add(n)
	return true
}

// Remove forgets an alarm, which was deleted.
func (e *Evaluator) Remove(id uuid.UUID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loading.touch(id)
	if a := e.alarms[id]; a != nil {
		e.remove(a)
	}
}

func (e *Evaluator) remove(a *alarm) {
	a.gone = true
	delete(e.alarms, a.id)
	e.states[a.state]--
	e.index.remove(a)
	e.events.remove(a)
	e.lanes[a.lane].timers.remove(a)
}
