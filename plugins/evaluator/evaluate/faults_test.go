package evaluate

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// away is a source that does not answer.
type away struct{ sdk.SeriesReader }

func (away) Compute(context.Context, sdk.ComputeQuery) ([]sdk.ComputedSeries, error) {
	return nil, errors.New("nobody is there")
}

// byHand is a rig whose evaluator does what it is told to, at the time that it is told.
type byHand struct {
	*rig
	now time.Time
}

func newByHand(t *testing.T) *byHand {
	t.Helper()
	return &byHand{newRig(t), time.Now()}
}

// begin begins anew, as after a restart.
func (b *byHand) begin() {
	b.t.Helper()
	b.e = New(Options{
		Store: b.store, Series: b.shelf, Prometheus: away{}, Interval: time.Minute, Now: func() time.Time { return b.now }, Owed: func([]string) {},
		Owe: func(*Notice) []*store.Delivery { return nil },
	})
	b.e.hearing = b.now.UnixNano()
	if err := b.e.load(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.e.advance(&sdk.Advance{}, true)
	b.look()
}

// look looks at what is to be looked at.
func (b *byHand) look() int {
	b.t.Helper()
	n := 0
	for i := range b.e.lanes {
		list, _ := b.e.take(&b.e.lanes[i], b.now)
		b.e.look(b.t.Context(), list)
		n += len(list)
	}
	return n
}

// point tells of a point of a series.
func (b *byHand) point(number uint64, at time.Time, value float64) {
	b.shelf.put(number, at, value)
	b.e.advance(&sdk.Advance{New: []sdk.Series{b.shelf.series[number-1]}, Numbers: []uint64{number}, Times: []int64{at.UnixNano()}}, false)
}

func (b *byHand) expect(when string, id uuid.UUID, want def.State) {
	b.t.Helper()
	a, err := b.store.Alarm(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	if a.State != want {
		b.t.Errorf("%s: the alarm is %v, not %v: %s", when, a.State, want, a.Reason)
	}
}

// Silence counts only while there is somebody to break it.
func TestSilence(t *testing.T) {
	b := newByHand(t)
	metric := b.alarmOf("absence", `{"metric": "cpu", "resource_id": "r1", "resource_type": "instance", "period": 600}`)
	event := b.alarmOf("absence", `{"event_type": "backup.end", "period": 600}`)
	step := func(when string, more time.Duration, want def.State) {
		t.Helper()
		b.now = b.now.Add(more)
		b.look()
		b.expect(when+", metric", metric.ID, want)
		b.expect(when+", event", event.ID, want)
	}
	come := func() {
		b.point(1, b.now, 1)
		if err := b.e.Events(t.Context(), []sdk.Event{{MessageID: uuid.NewString(), EventType: "backup.end"}}); err != nil {
			t.Fatal(err)
		}
	}
	b.shelf.add("r1", "cpu")
	b.begin()
	step("before anything came", 599*time.Second, def.InsufficientData)
	come()
	step("at the first", 2*time.Second, def.OK)
	step("in time", 590*time.Second, def.OK)
	come()
	step("not too late yet", 590*time.Second, def.OK)
	step("late", 20*time.Second, def.Alerting)
	come()
	step("here again", 0, def.OK)

	b.now = b.now.Add(time.Hour)
	b.begin() // the agent was away
	step("after a start", time.Second, def.OK)
	step("what waited may still come", 100*time.Second, def.OK)
	come()
	step("it came", 599*time.Second, def.OK)
	step("it did not", 2*time.Second, def.Alerting)
	b.begin()
	step("a start does not make it come", time.Second, def.Alerting)
	come()
	step("now it did", 0, def.OK)

	b.e.following = 0
	b.now = b.now.Add(time.Hour)
	b.look()
	b.expect("the storage is away", metric.ID, def.OK)
	b.e.advance(&sdk.Advance{}, true)
	b.look()
	b.expect("it is back", metric.ID, def.OK)
	b.now = b.now.Add(2 * time.Minute)
	b.look()
	b.expect("it is back for a while", metric.ID, def.Alerting)

	b.e.poll()
	b.look()
	b.expect("it can't be followed", metric.ID, def.InsufficientData)
}

// An alarm whose rule is another one by now is not raised by an event that the former one was
// about.
func TestEventOfAFormerRule(t *testing.T) {
	b := newByHand(t)
	a := b.alarmOf("event", `{"event_type": "old"}`)
	b.begin()
	changed, err := b.store.Alarm(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if changed.Rule, err = def.ReadRule("event", []byte(`{"event_type": "new"}`)); err != nil {
		t.Fatal(err)
	}
	if err := b.store.Update(t.Context(), changed, nil, nil); err != nil { // which the evaluator does not know yet
		t.Fatal(err)
	}
	if err := b.e.Events(t.Context(), []sdk.Event{{MessageID: "1", EventType: "old"}}); err != nil {
		t.Fatal(err)
	}
	b.expect("old", a.ID, def.InsufficientData)
	if err := b.e.Events(t.Context(), []sdk.Event{{MessageID: "2", EventType: "new"}}); err != nil {
		t.Fatal(err)
	}
	b.expect("new", a.ID, def.Alerting)
}

// A rule that is decided does not wait for a source that is away; one that is not does.
func TestCompositeWithASourceAway(t *testing.T) {
	b := newByHand(t)
	n := b.shelf.add("r1", "cpu")
	const known = `{"type": "gnocchi_resources_threshold", "metric": "cpu", "resource_id": "r1", "resource_type": "instance", "threshold": 80, "comparison_operator": "gt", "aggregation_method": "mean"}`
	const unknown = `{"type": "prometheus", "query": "up", "threshold": 1, "comparison_operator": "gt"}`
	either := b.alarmOf("composite", `{"or": [`+unknown+`, `+known+`, `+unknown+`]}`)
	both := b.alarmOf("composite", `{"and": [`+known+`, `+unknown+`, `+unknown+`]}`)
	b.begin()
	b.now = b.now.Add(time.Minute) // they have rested, however long computing took
	b.point(n, b.now, 100)
	b.look()
	b.expect("either", either.ID, def.Alerting)
	b.expect("both", both.ID, def.InsufficientData)
}

// A clock that is set back has all alarms looked at, and what is ahead of it is looked at
// when its time comes.
func TestClocks(t *testing.T) {
	b := newByHand(t)
	n := b.shelf.add("r1", "cpu")
	a := b.alarm("r1", "")
	b.now = b.now.Truncate(time.Minute)
	b.begin()
	b.point(n, b.now.Add(70*time.Second), 100)
	b.look()
	b.expect("ahead", a.ID, def.InsufficientData)
	b.now = b.now.Add(71 * time.Second)
	b.look()
	b.expect("its time has come", a.ID, def.Alerting)
	if b.look() > 0 {
		t.Error("it is looked at although nothing happens")
	}
	b.now = b.now.Add(-time.Hour)
	if b.look() != 1 {
		t.Error("it is not looked at after the clock was set back")
	}
}

// Many alarms may look at one series.
func TestManyOnOneSeries(t *testing.T) {
	const alarms = 30_000 // at a hundred thousand steps each this would not end
	var w watchers
	list := make([]alarm, alarms)
	for i := range list {
		w = w.with(&list[i]).with(&list[i])
	}
	count := 0
	w.each(func(*alarm) { count++ })
	for i := range list[1:] {
		w = w.without(&list[i])
	}
	if count != alarms || w.one != &list[alarms-1] || w.more != nil || w.without(w.one).one != nil {
		t.Errorf("%d alarms, %+v are left", count, w)
	}
}

// slow is a source that answers when it is let.
type slow struct {
	sdk.SeriesReader
	asked, answer chan struct{}
}

func (s *slow) Compute(ctx context.Context, _ sdk.ComputeQuery) ([]sdk.ComputedSeries, error) {
	select {
	case s.asked <- struct{}{}:
	default: // it was asked before
	}
	select {
	case <-s.answer:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Thresholds don't wait for a Prometheus that does not answer.
func TestSlowPrometheus(t *testing.T) {
	r := newRig(t)
	n := r.shelf.add("r1", "cpu")
	a := r.alarm("r1", "")
	group := r.group("r1")
	r.alarmOf("prometheus", `{"query": "up", "threshold": 1, "comparison_operator": "gt"}`)
	s := &slow{asked: make(chan struct{}, 1), answer: make(chan struct{})}
	r.prometheus = s
	r.start()
	<-s.asked
	r.shelf.put(n, time.Now(), 100)
	r.awaitState(a.ID, def.Alerting)
	r.awaitState(group.ID, def.Alerting)
	close(s.answer)
}

// Dear alarms rest, however often they are marked.
func TestDearAlarmsRest(t *testing.T) {
	b := newByHand(t)
	n := b.shelf.add("r1", "cpu")
	a := b.group("r1")
	b.begin()
	b.e.mu.Lock()
	b.e.alarms[a.ID].rest = b.now.Add(time.Second).UnixNano()
	b.e.mu.Unlock()
	for range 3 {
		b.point(n, b.now, 100)
		if b.look() > 0 {
			t.Error("it does not rest")
		}
	}
	b.now = b.now.Add(time.Second)
	if b.look() != 1 || b.look() != 0 {
		t.Error("it is not looked at once when it has rested")
	}
	b.expect("rested", a.ID, def.Alerting)
}

// broken is a rule that nobody can judge.
type broken struct{ def.Rule }

// One alarm that can't be evaluated ends nothing but its own evaluation, and is not looked at
// all the time.
func TestOneBrokenAlarm(t *testing.T) {
	b := newByHand(t)
	var log strings.Builder
	n := b.shelf.add("r1", "cpu")
	good, group, bad := b.alarm("r1", ""), b.group("r1"), b.alarm("r1", "")
	b.begin()
	b.e.o.Log = slog.New(slog.NewTextHandler(&log, nil))
	b.e.mu.Lock()
	a := b.e.alarms[bad.ID]
	a.rule, a.leaves, a.lane, a.schedules = broken{}, []leaf{{rule: broken{}}}, expressions, []*def.Schedule{nil}
	b.e.mu.Unlock()
	for _, schedules := range [][]*def.Schedule{{nil}, nil} {
		b.e.mu.Lock()
		a.schedules = schedules
		b.e.mark(a)
		b.e.mu.Unlock()
		b.now = b.now.Add(time.Minute) // the group has rested, however long computing took
		b.point(n, b.now, 100)
		b.look()
		b.point(n, b.now, 100)
		b.look()
	}
	b.expect("good", good.ID, def.Alerting)
	b.expect("group", group.ID, def.Alerting)
	b.expect("bad", bad.ID, def.InsufficientData)
	if n := strings.Count(log.String(), "BUG: an alarm can't be evaluated"); n < 2 {
		t.Errorf("the log tells %d times of it: %s", n, log.String())
	}
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if a.due < b.now.Add(4*time.Second).UnixNano() {
		t.Errorf("it is looked at %v later", time.Duration(a.due-b.now.UnixNano()))
	}
}
