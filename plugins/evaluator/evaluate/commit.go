package evaluate

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// commit writes what was found, and takes it over.
func (e *Evaluator) commit(ctx context.Context, changes []*looked, now time.Time) {
	if len(changes) == 0 {
		return
	}
	began := time.Now()
	list, targets, err := e.transitions(ctx, changes, now)
	var made []bool
	if err == nil {
		made, err = e.o.Store.Commit(ctx, list)
	}
	e.trouble.note("writing changes of states", began, err)
	if err != nil {
		for _, l := range changes {
			l.due = min(l.due, now.Add(time.Second).UnixNano())
			if errors.Is(err, database.ErrUnknown) {
				e.Doubt(l.id)
			}
		}
		if len(targets) > 0 {
			e.o.Owed(targets) // if they were made after all
		}
		return
	}
	e.settle(ctx, changes, list, made, now)
	if len(targets) > 0 {
		e.o.Owed(targets)
	}
}

// transitions makes what is to be stored of what was found.
func (e *Evaluator) transitions(ctx context.Context, changes []*looked, now time.Time) (list []*store.Transition, targets []string, err error) {
	ids := make([]uuid.UUID, 0, len(changes))
	for _, l := range changes {
		if l.outcome != nil {
			ids = append(ids, l.id)
		}
	}
	summaries, err := e.o.Store.Summaries(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	for _, l := range changes {
		t := &store.Transition{ID: l.id, Definition: l.version, Previous: l.status}
		list = append(list, t)
		if l.outcome == nil {
			t.Seen = time.Unix(0, l.seen)
			continue
		}
		alarm := summaries[l.id]
		if alarm == nil {
			continue // it was deleted, which the commit will find as well
		}
		n := &Notice{Alarm: alarm, Previous: l.state, Outcome: l.outcome, At: now, ID: l.noticeID()}
		if l.outcome.State != l.state || l.record {
			t.Status = &def.Status{State: l.outcome.State, Reason: l.outcome.Reason, Since: now, Evaluated: now}
			if _, ok := l.rule.(*def.Absence); ok {
				t.Status.Evaluated = time.Unix(0, l.seen)
			}
			t.Change = &store.Change{
				ID: n.ID, Alarm: l.id, Name: alarm.Name, Kind: store.StateTransition, OnBehalfOf: alarm.Project, Severity: alarm.Severity, At: now,
				Detail: string(def.AppendJSON(nil, def.Object{{Name: "state", Value: l.outcome.State.String()}, {Name: "transition_reason", Value: l.outcome.Reason}})),
			}
		}
		t.Deliveries = e.o.Owe(n)
		if t.Change != nil && e.o.Record != nil {
			t.Change.Deliveries = e.o.Record(t.Change)
			for _, d := range t.Change.Deliveries {
				if !slices.Contains(targets, d.Target) {
					targets = append(targets, d.Target)
				}
			}
		}
		for _, d := range t.Deliveries {
			if !slices.Contains(targets, d.Target) {
				targets = append(targets, d.Target)
			}
		}
	}
	return list, targets, nil
}

// settle takes over which transitions were made. Alarms whose transitions were not
// are read again: they were changed in the meantime.
func (e *Evaluator) settle(ctx context.Context, changes []*looked, list []*store.Transition, made []bool, now time.Time) {
	var changed []uuid.UUID
	e.mu.Lock()
	for i, l := range changes {
		t := list[i]
		switch {
		case !made[i]:
			if !l.gone {
				changed = append(changed, l.id)
			}
			continue
		case t.Status != nil:
			e.moves.Add(1)
			if !l.gone {
				e.states[l.alarm.state]--
				e.states[t.Status.State]++
			}
			l.alarm.state, l.alarm.status = t.Status.State, t.Status.Version
		}
		if l.outcome != nil {
			l.alarm.repeated = now.UnixNano()
		}
		if _, ok := l.rule.(*def.Absence); ok {
			l.alarm.kept = l.seen
		}
	}
	e.mu.Unlock()
	for _, id := range changed {
		if e.reload(ctx, id) != nil {
			e.Doubt(id)
		}
	}
}
