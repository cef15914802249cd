package evaluate

import (
	"context"
	"fmt"
	"slices"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/judge"
	"github.com/nephoscope/nepho/sdk"
)

// eventIndex knows which alarms wait for which events.
type eventIndex struct{ projects map[string]waiting }

// waiting is the alarms of a project that wait for events, by the type that these must
// have; those with a pattern are at "".
type waiting map[string]*expecting

// expecting is the alarms that wait for events of a type: any of them, or those that have a
// trait with a certain text, by its name and this text. So thousands of alarms, each
// about an instance of its own, cost an event next to nothing.
type expecting struct {
	any    []*alarm
	traits map[string]map[string][]*alarm
}

func (x *eventIndex) init() { x.projects = map[string]waiting{} }

func (x *eventIndex) add(a *alarm, project string) {
	w := x.projects[project]
	if w == nil {
		w = waiting{}
		x.projects[project] = w
	}
	a.waits = w
	e := w[a.matcher.Type]
	if e == nil {
		e = &expecting{traits: map[string]map[string][]*alarm{}}
		w[a.matcher.Type] = e
	}
	trait, text := a.matcher.Key()
	if trait == "" {
		e.any = append(e.any, a)
		return
	}
	texts := e.traits[trait]
	if texts == nil {
		texts = map[string][]*alarm{}
		e.traits[trait] = texts
	}
	texts[text] = append(texts[text], a)
}

func (x *eventIndex) remove(a *alarm) {
	if a.waits == nil {
		return
	}
	e := a.waits[a.matcher.Type]
	if e == nil {
		return
	}
	trait, text := a.matcher.Key()
	if texts := e.traits[trait]; texts == nil {
		e.any = without(e.any, a)
	} else if texts[text] = without(texts[text], a); len(texts[text]) == 0 {
		if delete(texts, text); len(texts) == 0 {
			delete(e.traits, trait)
		}
	}
	if len(e.any) == 0 && len(e.traits) == 0 {
		delete(a.waits, a.matcher.Type)
	}
}

// without gives a list of its own, as others may read the one before.
func without(list []*alarm, a *alarm) []*alarm {
	return slices.DeleteFunc(slices.Clone(list), func(b *alarm) bool { return a == b })
}

// Events evaluates rules about events. It returns when what they cause is stored. Its error
// says that they have to be given again.
func (e *Evaluator) Events(ctx context.Context, events []sdk.Event) error {
	if err := e.awaitLoaded(ctx); err != nil {
		return err
	}
	e.eventsMu.Lock()
	defer e.eventsMu.Unlock()
	// What is found is committed in rounds: each has an alarm once.
	var round []*looked
	in := map[*alarm]*looked{}
	flush := func() error {
		err := e.commitEvents(ctx, round)
		round = nil
		clear(in)
		return err
	}
	given := make([]judge.Event, len(events))
	for i := range events {
		event := &given[i]
		event.Event = &events[i]
		for _, a := range e.waitingFor(event) {
			if before := in[a]; before != nil {
				if r, ok := a.rule.(*def.Event); ok && r != nil && !a.repeat {
					continue // it is in state alarm by then
				}
				if err := flush(); err != nil {
					return err
				}
			}
			if l := e.caused(a, event); l != nil {
				round = append(round, l)
				in[a] = l
			}
		}
		if len(round) >= maxLooked {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// waitingFor gives the alarms whose rules an event matches.
func (e *Evaluator) waitingFor(event *judge.Event) (list []*alarm) {
	project := ""
	for _, t := range event.Traits {
		if t.Name == "tenant_id" || t.Name == "project_id" {
			project, _ = t.Value.(string)
		}
	}
	var candidates [][]*alarm // never changed in place but at their end
	e.mu.Lock()
	if w := e.events.projects[project]; len(w) > 0 {
		candidates = w.candidates(event.Event)
	}
	e.mu.Unlock()
	for _, some := range candidates {
		for _, a := range some {
			if a.matcher.Matches(event) {
				list = append(list, a)
			}
		}
	}
	return list
}

// candidates gives the alarms that an event has to be compared with.
func (w waiting) candidates(event *sdk.Event) (list [][]*alarm) {
	look := func(some []*alarm) {
		// Traits may come twice.
		if len(some) > 0 && !slices.ContainsFunc(list, func(l []*alarm) bool { return &l[0] == &some[0] }) {
			list = append(list, some)
		}
	}
	for _, eventType := range []string{event.EventType, ""} {
		e := w[eventType]
		if e == nil {
			continue
		}
		look(e.any)
		for i := range event.Traits {
			if texts := e.traits[event.Traits[i].Name]; texts != nil {
				look(texts[judge.Text(event.Traits[i].Value)])
			}
		}
	}
	return list
}

// caused is what an event makes of an alarm that waits for it; nil: nothing.
func (e *Evaluator) caused(a *alarm, event *judge.Event) *looked {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.gone {
		return nil
	}
	e.looks.Add(1)
	l := &looked{alarm: a, state: a.state, status: a.status, event: event, due: never}
	if r, ok := a.rule.(*def.Absence); ok {
		now := e.o.Now()
		a.seen = now.UnixNano()
		l.seen, l.kept = a.seen, a.kept
		e.set(a, a.seen+int64(r.Period))
		l.outcome = judge.Absent(r, now, true, false, a.state, false)
		if l.seenOnly = l.outcome == nil && l.seen > l.kept+int64(r.Period)/10; !l.seenOnly && l.outcome == nil {
			return nil
		}
		return l
	}
	l.outcome = a.matcher.Outcome(event, a.state, a.repeat)
	l.record = a.repeat
	if l.outcome == nil {
		return nil
	}
	return l
}

// maxTries is how often it is tried to commit what an event causes for an alarm that
// others change each time.
const maxTries = 10

// commitEvents commits what events cause. What was changed in the meantime is
// judged again as it is now.
func (e *Evaluator) commitEvents(ctx context.Context, round []*looked) error {
	if len(round) == 0 {
		return nil
	}
	now := e.o.Now()
	list, targets, err := e.transitions(ctx, round, now)
	if err != nil {
		return err
	}
	began := time.Now()
	made, err := e.o.Store.Commit(ctx, list)
	e.trouble.note("writing changes of states", began, err)
	if err != nil {
		return err
	}
	e.settle(ctx, round, list, made, now)
	if len(targets) > 0 {
		e.o.Owed(targets)
	}
	var again []*looked
	for i, l := range round {
		if made[i] {
			continue
		}
		e.mu.Lock()
		a := e.alarms[l.id]
		e.mu.Unlock()
		if a == nil || a.matcher == nil || !a.matcher.Matches(l.event) {
			continue // it does not wait for the event any more
		}
		if l.tries == maxTries {
			return fmt.Errorf("alarm %s is changed all the time", l.id)
		}
		if next := e.caused(a, l.event); next != nil {
			next.tries = l.tries + 1
			again = append(again, next)
		}
	}
	return e.commitEvents(ctx, again)
}
