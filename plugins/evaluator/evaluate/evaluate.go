// Package evaluate keeps alarms in memory, knows which series each depends on, looks at
// them when these have newer points or when time alone can change their state, and
// commits what is found.
//
// What is in memory: alarms.go; how it comes there: load.go. When an alarm is looked at:
// follow.go, lanes.go, timers.go. What looking is: look.go, ask.go (data), commit.go (transitions).
// Events: events.go.
package evaluate

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/judge"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// Options of [New]. All but Prometheus, Now and Log have to be set.
type Options struct {
	Store *store.Store
	// Series is asked about thresholds; nil: rules about them have no data.
	Series sdk.SeriesReader
	// Prometheus is asked about rules of type prometheus; nil: Series is.
	Prometheus sdk.SeriesReader
	// Interval is the time between two looks at alarms that nothing calls for, and
	// between two repetitions of actions.
	Interval time.Duration
	// Lag is added to the span that windows are looked for in.
	Lag time.Duration
	// Owe says what a notice makes necessary.
	Owe func(*Notice) []*store.Delivery
	// Record says what a line of history makes necessary; nil: nothing.
	Record func(*store.Change) []*store.Delivery
	// Owed is told which targets something new is owed to, after that was stored.
	Owed func(targets []string)
	Now  func() time.Time
	Log  *slog.Logger
}

// Notice is an outcome that somebody may have to be told of.
type Notice struct {
	// Alarm has what is told of an alarm: its id, name, severity, project and actions.
	Alarm *store.Summary
	// Previous is the state before; that of the outcome if actions are repeated.
	Previous def.State
	*judge.Outcome
	At time.Time
	// ID is what the transition is called in history and in deliveries.
	ID uuid.UUID
}

// Evaluator evaluates alarms. Its methods may be called concurrently.
type Evaluator struct {
	o Options
	// mu guards all below; it is never held while somebody else is asked.
	mu      sync.Mutex
	alarms  map[uuid.UUID]*alarm
	states  States
	index   seriesIndex
	events  eventIndex
	lanes   [lanes]lane
	doubts  []uuid.UUID // are to be read again
	polling bool        // the storage can't be followed
	// following is since when the storage tells of new points, 0 while it does not; hearing
	// is since when events are taken; ahead has the newest points of series that are ahead
	// of the clock.
	following, hearing int64
	ahead              map[uint64]int64
	last               int64 // the time when alarms were taken last
	soon               bool  // it will be rung
	loading            loading

	eventsMu sync.Mutex // one batch of events after the other
	trouble  trouble
	looks    atomic.Uint64
	moves    atomic.Uint64
}

// Counters tell how much was done since the start.
type Counters struct {
	// Looks are evaluations of an alarm, Transitions changes of a state.
	Looks, Transitions uint64
	// Alarms is how many there are, Waiting how many wait to be looked at.
	Alarms, Waiting int
	States          States
}

// States are how many alarms are in each [def.State]; those that are not enabled are in
// none here.
type States [def.Alerting + 1]int

// Counters gives the counters.
func (e *Evaluator) Counters() Counters {
	e.mu.Lock()
	defer e.mu.Unlock()
	waiting, now := 0, e.o.Now().UnixNano()
	for i := range e.lanes {
		waiting += len(e.lanes[i].dirty) + e.lanes[i].timers.count(now)
	}
	return Counters{Looks: e.looks.Load(), Transitions: e.moves.Load(), Alarms: len(e.alarms), Waiting: waiting, States: e.states}
}

// New makes an evaluator, which has no alarms before Run reads them.
func New(o Options) *Evaluator {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Prometheus == nil {
		o.Prometheus = o.Series
	}
	e := &Evaluator{
		o: o, alarms: map[uuid.UUID]*alarm{}, ahead: map[uint64]int64{},
		loading: loading{done: make(chan struct{}), touched: map[uuid.UUID]struct{}{}},
	}
	e.initLanes()
	e.index.init()
	e.events.init()
	e.trouble.log = o.Log
	return e
}

// Run reads all alarms and evaluates until ctx ends, and gives its error, or why alarms
// can't be read. It may be called again.
func (e *Evaluator) Run(ctx context.Context) error {
	if err := e.load(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer func() {
		cancel()
		work.Wait()
	}()
	e.mu.Lock()
	e.hearing = e.o.Now().UnixNano()
	for _, a := range e.alarms {
		a.failing = 0 // nobody has asked for its data lately
	}
	e.mu.Unlock()
	if e.o.Series != nil {
		work.Go(func() { e.follow(ctx) })
	}
	for i := windows + 1; i < lanes; i++ {
		work.Go(func() { e.work(ctx, &e.lanes[i], func() {}) })
	}
	e.work(ctx, &e.lanes[windows], func() { e.settleDoubts(ctx) })
	return ctx.Err()
}

// together is how long an alarm that was just made or changed may wait for others, so that
// they are looked up together. New points never wait.
const together = 20 * time.Millisecond

// ringSoon is ring in a moment. The evaluator's mutex is held.
func (e *Evaluator) ringSoon() {
	if e.soon {
		return
	}
	e.soon = true
	time.AfterFunc(together, func() {
		e.mu.Lock()
		e.soon = false
		e.mu.Unlock()
		e.ring()
	})
}

// trouble says once that something does not work, and once that it works again.
type trouble struct {
	log *slog.Logger
	mu  sync.Mutex
	now map[string]change
	// refusals are what was told of alarms whose questions are refused.
	refusals map[question]string
}

// change is when something was found to work, or not to, that had not before.
type change struct {
	fails bool
	at    time.Time
}

// question is a leaf of an alarm.
type question struct {
	alarm uuid.UUID
	leaf  int
}

// maxRefusals is how many are remembered.
const maxRefusals = 10_000

// refused says once why a question can't be answered, if it is the question's fault; ""
// if it can. The reason is seen by nobody else while the state stays what it was.
func (t *trouble) refused(alarm uuid.UUID, leaf int, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := question{alarm, leaf}
	if !strings.HasPrefix(why, retrievalFailed) {
		delete(t.refusals, q)
		return
	}
	if t.refusals[q] == why {
		return
	}
	if t.refusals == nil || len(t.refusals) >= maxRefusals {
		t.refusals = map[question]string{}
	}
	t.refusals[q] = why
	t.log.Warn("alarms: what an alarm asks for is refused; it has no data until its rule is changed", "alarm", alarm, "reason", why)
}

// note takes how something ended that began at a time. Several may be under way: one that
// began before the last change says nothing of what is since.
func (t *trouble) note(what string, began time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.now[what]
	if errors.Is(err, context.Canceled) || last.fails == (err != nil) || began.Before(last.at) {
		return
	}
	if err != nil {
		t.log.Warn("alarms: "+what+" fails; it is tried again and again", "error", err)
	} else {
		t.log.Info("alarms: " + what + " works again")
	}
	if t.now == nil {
		t.now = map[string]change{}
	}
	t.now[what] = change{err != nil, time.Now()}
}
