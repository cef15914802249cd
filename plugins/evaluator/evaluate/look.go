package evaluate

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/judge"
)

// looked is an alarm while it is looked at, with what it was when that began.
type looked struct {
	*alarm
	state    def.State
	status   int64
	repeated int64
	seen     int64
	kept     int64
	// numbers is which series each leaf looks at.
	numbers []uint64

	// answers has one for each leaf.
	answers []answer
	// due is when it is looked at next if nothing happens.
	due int64
	// failed says that data could not be asked for.
	failed error
	// unanswered: some of its data can't be had at present.
	unanswered bool
	outcome    *judge.Outcome
	// event is the reason, if one is; record has it in the history although the state
	// stays.
	event  *judge.Event
	record bool
	// took is how long its expressions took to compute.
	took time.Duration
	// tries is how often it was not committed since the alarm had been changed.
	tries int
	// seenOnly: nothing is to be written but when what is expected came last.
	seenOnly bool
}

func (l *looked) dueAt(t int64) { l.due = min(l.due, t) }

// look judges alarms and commits what is found.
func (e *Evaluator) look(ctx context.Context, list []*alarm) {
	now := e.o.Now()
	open := e.begin(list, now)
	e.resolve(ctx, open)
	e.ask(ctx, open, now)
	var changes []*looked
	for _, l := range open {
		e.judge(l, now)
		if l.outcome != nil || l.seenOnly {
			changes = append(changes, l)
		}
	}
	e.looks.Add(uint64(len(open)))
	e.commit(ctx, changes, now)
	e.end(open)
}

// begin notes what alarms are, and leaves out those whose time constraints don't hold.
func (e *Evaluator) begin(list []*alarm, now time.Time) []*looked {
	type opening struct {
		next int64
		ok   bool
	}
	openings := make([]opening, len(list))
	for i, a := range list { // without the mutex: to find when a constraint begins takes a while
		openings[i].next, openings[i].ok = e.within(a, now)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	open := make([]*looked, 0, len(list))
	for i, a := range list {
		if a.gone {
			continue
		}
		if !openings[i].ok {
			e.set(a, openings[i].next)
			continue
		}
		l := &looked{alarm: a, state: a.state, status: a.status, repeated: a.repeated, seen: a.seen, kept: a.kept, due: never}
		l.answers = make([]answer, len(a.leaves))
		l.numbers = make([]uint64, len(a.leaves))
		for i := range a.leaves {
			l.numbers[i] = a.leaves[i].number
		}
		open = append(open, l)
	}
	return open
}

// within reports whether one of the alarm's time constraints holds, or when one does
// next.
func (e *Evaluator) within(a *alarm, now time.Time) (next int64, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			e.bug(a, p)
			next, ok = now.Add(e.o.Interval).UnixNano(), false
		}
	}()
	next = never
	for _, s := range a.schedules {
		if s.Holds(now) {
			return 0, true
		}
		if t := s.Next(now); !t.IsZero() {
			next = min(next, t.UnixNano())
		}
	}
	return next, len(a.schedules) == 0
}

// survive is deferred by what is done for one alarm, whose rule, whatever is wrong with it, must
// not end the evaluation of all others again and again: it is looked at a while later.
func (e *Evaluator) survive(l *looked, now time.Time) {
	p := recover()
	if p == nil {
		return
	}
	e.bug(l.alarm, p)
	l.failed, l.outcome, l.seenOnly = errBug, nil, false
	l.took = e.o.Interval
	l.due = now.Add(e.o.Interval).UnixNano()
}

var errBug = errors.New("the evaluation failed")

func (e *Evaluator) bug(a *alarm, p any) {
	e.o.Log.Error("BUG: an alarm can't be evaluated, while others are", "alarm", a.id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// judge says what the answers make of an alarm's state.
func (e *Evaluator) judge(l *looked, now time.Time) {
	defer e.survive(l, now)
	composite, _ := l.rule.(*def.Composite)
	if l.failed != nil {
		l.dueAt(now.Add(min(e.o.Interval, 5*time.Second)).UnixNano())
		if composite == nil {
			return
		}
	}
	repeat := l.repeat && now.UnixNano() >= l.repeated+int64(e.o.Interval)
	switch r := l.rule.(type) {
	case *def.Event:
	case *def.Absence:
		e.judgeAbsence(l, r, now, repeat)
	case *def.Composite:
		verdicts := make([]judge.Verdict, len(l.answers))
		for i := range l.answers {
			verdicts[i] = l.verdict(i)
		}
		l.outcome = judge.Composite(r, verdicts, l.state, repeat)
		if l.failed != nil && l.outcome != nil && l.outcome.State == def.InsufficientData {
			l.outcome = nil // what can't be had at present may decide it
		}
	default:
		v := l.verdict(0)
		l.outcome = v.Outcome(l.state, repeat)
	}
	if _, isEvent := l.rule.(*def.Event); l.repeat && !isEvent {
		due := l.repeated + int64(e.o.Interval)
		if repeat {
			due = now.UnixNano() + int64(e.o.Interval)
		}
		l.dueAt(due)
	}
}

// judgeAbsence judges by when what is expected came last. Silence counts only while there is
// somebody to break it: after a start, and when a storage is there again, it has a while
// for what waited meanwhile.
func (e *Evaluator) judgeAbsence(l *looked, r *def.Absence, now time.Time, repeat bool) {
	e.mu.Lock()
	polling, since := e.polling, e.following
	if r.Event != nil {
		polling, since = false, e.hearing
	}
	e.mu.Unlock()
	switch {
	case polling || e.o.Series == nil && r.Event == nil:
		v := judge.Verdict{State: def.InsufficientData, Unknown: "nobody tells of new points of a metric that is elsewhere, so its absence can't be known"}
		l.outcome = v.Outcome(l.state, repeat)
		return
	case since == 0:
		return // the storage is away; all are looked at when it is back
	}
	overdue, listened := l.seen+int64(r.Period), since+min(int64(r.Period), patience*int64(e.o.Interval))
	late := now.UnixNano() >= overdue
	if late && now.UnixNano() < listened {
		l.dueAt(listened)
		return
	}
	if !late {
		l.dueAt(overdue)
	}
	l.outcome = judge.Absent(r, time.Unix(0, l.seen), l.seen > l.began, late, l.state, repeat)
	l.seenOnly = l.outcome == nil && l.seen > l.kept+int64(r.Period)/10
}

// resting is how many times as long as its expressions took an alarm rests: so one whose data
// come all the time does not have its storage compute all the time.
const resting = 10

// shortest is the least time between two looks that nothing calls for.
const shortest = 100 * time.Millisecond

// end sets timers, and marks those again whose data could not be asked for.
func (e *Evaluator) end(open []*looked) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range open {
		if l.gone {
			continue
		}
		if !l.unanswered {
			l.alarm.failing = 0
		}
		due := l.due
		if l.took > 0 {
			l.alarm.rest = e.o.Now().Add(min(resting*l.took, e.o.Interval)).UnixNano()
		}
		if len(e.ahead) > 0 {
			due = min(due, e.comes(l.alarm))
		}
		if e.polling && len(l.leaves) > 0 {
			due = min(due, e.o.Now().Add(e.o.Interval).UnixNano())
		}
		// A storage that answers with windows of long ago is not asked without a pause.
		due = max(due, e.o.Now().Add(shortest).UnixNano())
		if l.place > 0 { // something new is to be looked at
			due = min(due, l.alarm.due)
		}
		e.set(l.alarm, due)
	}
}

// comes is when the next point of an alarm is no longer ahead of the clock. The mutex is
// held.
func (e *Evaluator) comes(a *alarm) int64 {
	due, now := int64(never), e.o.Now().UnixNano()
	for i := range a.leaves {
		t, is := e.ahead[a.leaves[i].number]
		switch {
		case is && t > now:
			due = min(due, t)
		case is:
			delete(e.ahead, a.leaves[i].number)
		}
	}
	return due
}

// noticeID is the id of a transition: of one that an event causes always the same, so that
// an event which is delivered twice makes deliveries that can be told to be the same.
func (l *looked) noticeID() uuid.UUID {
	if l.event != nil {
		return uuid.NewSHA1(l.id, []byte(l.event.MessageID))
	}
	return uuid.New()
}
