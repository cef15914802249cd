package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// numbered is a storage whose series can be asked for.
type numbered struct {
	sdktest.Store
	mu      sync.Mutex
	numbers map[sdk.SeriesName]uint64
}

func (n *numbered) Start(context.Context, sdk.Env) error {
	n.numbers = map[sdk.SeriesName]uint64{}
	n.Policy = func(s sdk.Series, g time.Duration, aggregation string) error {
		switch {
		case g == time.Hour:
			return sdk.NoGranularity
		case s.Meter == "damaged":
			return sdk.Unreadable
		}
		return nil
	}
	n.Expression = func(q sdk.ComputeQuery) ([]sdk.ComputedSeries, error) {
		switch q.Language {
		case "labels":
			return []sdk.ComputedSeries{
				{Labels: map[string]string{"expression": q.Expression, "type": q.Search.Type, "project": q.Scope.Project}, Times: []int64{q.From.UnixNano(), q.To.UnixNano()}, Values: []float64{1, 2}},
				{Labels: map[string]string{}, Times: []int64{int64(q.Granularity)}, Values: []float64{3}},
			}, nil
		case "many":
			list := make([]sdk.ComputedSeries, 3000)
			for i := range list {
				list[i] = sdk.ComputedSeries{Labels: map[string]string{"i": fmt.Sprint(i)}, Times: make([]int64, 100), Values: make([]float64, 100)}
				for n := range list[i].Times {
					list[i].Times[n], list[i].Values[n] = int64(i+n), float64(i*n)
				}
			}
			return list, nil
		case "panic":
			panic("mistake")
		case "later":
			return nil, errors.New("not now")
		}
		return nil, sdk.Refuse(fmt.Errorf("there is no language %q", q.Language))
	}
	return nil
}

func (n *numbered) Publish(_ context.Context, b *sdk.Batch) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range b.Samples() {
		name := sdk.SeriesName{Resource: s.ResourceID, Meter: s.Name}
		number, ok := n.numbers[name]
		if !ok {
			number = n.Add(sdk.Series{Meter: s.Name, Unit: s.Unit, Resource: s.ResourceID, ResourceType: "generic", Project: s.ProjectID, Creator: "agent"})
			n.numbers[name] = number
		}
		n.Put(number, s.Timestamp, s.Volume)
	}
	return nil
}

func (n *numbered) Query(context.Context, sdk.Query) iter.Seq2[*sdk.Batch, error] {
	return func(func(*sdk.Batch, error) bool) {}
}

var everything = sdk.Scope{All: true}

func minute(n int) time.Time { return time.Date(2026, 1, 2, 3, n, 0, 0, time.UTC) }

func sample(resource, meter, project string, at time.Time, volume float64) sdk.Sample {
	return sdk.Sample{Name: meter, ResourceID: resource, ProjectID: project, Timestamp: at, Volume: volume, Unit: "%"}
}

func TestSeriesAreFound(t *testing.T) {
	t.Parallel()
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("numbered")})
	err := p.Publish(t.Context(), sample("a", "cpu", "p", minute(0), 1), sample("a", "memory", "p", minute(0), 2), sample("b", "cpu", "q", minute(0), 3))
	if err != nil {
		t.Fatal(err)
	}
	f := func(q sdk.SeriesQuery, want string) {
		t.Helper()
		found, err := p.Series().FindSeries(t.Context(), q)
		var got []string
		for _, f := range found {
			got = append(got, fmt.Sprint(f.Position, ":", f.Number, "/", f.ID, " ", f.Resource, ".", f.Meter, " ", f.Unit, " ", f.ResourceType, " ", f.Project, " ", f.Creator))
		}
		slices.Sort(got)
		if text := strings.Join(got, ", "); err != nil || text != want {
			t.Errorf("got %s, error %v, want %s", text, err, want)
		}
	}
	f(sdk.SeriesQuery{Scope: everything, IDs: []string{"3", "nothing", "1"}}, "0:3/3 b.cpu % generic q agent, 2:1/1 a.cpu % generic p agent")
	f(sdk.SeriesQuery{Scope: everything, Names: []sdk.SeriesName{{"a", "disk"}, {"a", "memory"}}}, "1:2/2 a.memory % generic p agent")
	f(sdk.SeriesQuery{Scope: sdk.Scope{Project: "q"}, Search: &sdk.ResourceSearch{Type: "generic", Meters: []string{"cpu"}}}, "0:3/3 b.cpu % generic q agent")
	f(sdk.SeriesQuery{Scope: sdk.Scope{Project: "q"}, IDs: []string{"1", "2"}}, "")
	f(sdk.SeriesQuery{IDs: []string{"1"}}, "")
	var refused *sdk.Refused
	for _, q := range []sdk.SeriesQuery{
		{Scope: everything},
		{Scope: everything, IDs: []string{"1"}, Names: []sdk.SeriesName{{"a", "cpu"}}},
		{Scope: everything, Search: &sdk.ResourceSearch{Type: "generic", Filter: "id = a"}},
	} {
		if _, err := p.Series().FindSeries(t.Context(), q); !errors.As(err, &refused) {
			t.Errorf("%+v: error %v", q, err)
		}
	}
}

func TestWindowsOfSeries(t *testing.T) {
	t.Parallel()
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("numbered")})
	err := p.Publish(t.Context(), sample("a", "cpu", "", minute(0), 1), sample("a", "cpu", "", minute(0).Add(time.Second), 3), sample("a", "cpu", "", minute(2), 5),
		sample("a", "damaged", "", minute(0), 1))
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.Series().Windows(t.Context(), []sdk.WindowQuery{
		{Series: []uint64{1, 99, 1}, Granularity: time.Minute, Aggregation: "mean", From: minute(0).Add(59 * time.Second), To: minute(3)},
		{Series: []uint64{1, 2}, Granularity: time.Hour, Aggregation: "mean", From: minute(0), To: minute(3)},
		{Series: []uint64{1, 2}, Granularity: time.Minute, Aggregation: "mode", From: minute(0), To: minute(3)},
		{Granularity: time.Minute},
		{Series: []uint64{1}, Granularity: time.Minute, Aggregation: "max", From: minute(1), To: minute(2)},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range w.All() {
		text := fmt.Sprint(row.Err)
		for i, at := range row.Times {
			text += fmt.Sprint(" ", time.Unix(0, at).UTC().Minute(), "=", row.Values[i])
		}
		got = append(got, text)
	}
	want := []string{"<nil> 0=2 2=5", fmt.Sprint(sdk.NoSeries), "<nil> 0=2 2=5", fmt.Sprint(sdk.NoGranularity), fmt.Sprint(sdk.NoGranularity),
		fmt.Sprint(sdk.NoAggregation), fmt.Sprint(sdk.Unreadable), "<nil>"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	var refused *sdk.Refused
	if _, err := p.Series().Windows(t.Context(), []sdk.WindowQuery{{Series: []uint64{1}}}); !errors.As(err, &refused) {
		t.Errorf("error %v", err)
	}
	if w, err := p.Series().Windows(t.Context(), nil); err != nil || len(w.Counts) != 0 {
		t.Errorf("no question is answered by %v, error %v", w, err)
	}
}

// Answers that take several messages are the same as others.
func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("numbered")})
	const n = 4000
	for begin := 0; begin < n; begin += 2000 {
		var in []sdk.Sample
		for i := begin; i < begin+2000; i++ {
			in = append(in, sample(fmt.Sprint("r", i), "cpu", "", minute(i%3), float64(i)))
		}
		if err := p.Publish(t.Context(), in...); err != nil {
			t.Fatal(err)
		}
	}
	found, err := p.Series().FindSeries(t.Context(), sdk.SeriesQuery{Scope: everything, Search: &sdk.ResourceSearch{Type: "generic"}})
	if err != nil || len(found) != n {
		t.Fatalf("%d series, error %v", len(found), err)
	}
	var numbers []uint64
	for _, f := range found {
		numbers = append(numbers, f.Number)
	}
	slices.Reverse(numbers)
	rows := slices.Repeat(numbers, 10)
	w, err := p.Series().Windows(t.Context(), []sdk.WindowQuery{
		{Series: rows, Granularity: time.Minute, Aggregation: "last", From: minute(0), To: minute(9)},
		{Series: rows[:10], Granularity: time.Hour, Aggregation: "last", From: minute(0), To: minute(9)},
	})
	if err != nil || len(w.Counts) != len(rows)+10 {
		t.Fatalf("%v, error %v", w, err)
	}
	for i, row := range w.All() {
		if i >= len(rows) {
			if row.Err != sdk.NoGranularity {
				t.Fatalf("row %d has the error %v", i, row.Err)
			}
			continue
		}
		number := int(rows[i]) - 1
		if row.Err != nil || len(row.Times) != 1 || row.Times[0] != minute(number%3).UnixNano() || row.Values[0] != float64(number) {
			t.Fatalf("row %d is %v", i, row)
		}
	}
	list, err := p.Series().Compute(t.Context(), sdk.ComputeQuery{Language: "many"})
	if err != nil || len(list) != 3000 {
		t.Fatalf("%d series, error %v", len(list), err)
	}
	for i, s := range list {
		if s.Labels["i"] != fmt.Sprint(i) || len(s.Times) != 100 || s.Times[99] != int64(i+99) || s.Values[99] != float64(i*99) {
			t.Fatalf("series %d is %v", i, s)
		}
	}
}

func TestSeriesAreComputed(t *testing.T) {
	t.Parallel()
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("numbered")})
	list, err := p.Series().Compute(t.Context(), sdk.ComputeQuery{
		Scope: sdk.Scope{Project: "p"}, Language: "labels", Expression: "(x)", Search: &sdk.ResourceSearch{Type: "host"}, From: minute(0), To: minute(1), Granularity: 60,
	})
	if err != nil || len(list) != 2 || !maps.Equal(list[0].Labels, map[string]string{"expression": "(x)", "type": "host", "project": "p"}) ||
		!slices.Equal(list[0].Times, []int64{minute(0).UnixNano(), minute(1).UnixNano()}) || !slices.Equal(list[0].Values, []float64{1, 2}) ||
		len(list[1].Labels) != 0 || list[1].Times[0] != 60 || list[1].Values[0] != 3 {
		t.Errorf("got %v, error %v", list, err)
	}
	for language, want := range map[string]string{"panic": "the plugin panicked: mistake", "later": "not now", "other": `there is no language "other"`} {
		_, err := p.Series().Compute(t.Context(), sdk.ComputeQuery{Language: language})
		var refused *sdk.Refused
		if err == nil || err.Error() != want || errors.As(err, &refused) != (language == "other") {
			t.Errorf("%s: error %v", language, err)
		}
	}
}

// follower reads what a storage tells in the test's own time.
type follower struct {
	t    *testing.T
	next func() (*sdk.Advance, error, bool)
}

func followed(t *testing.T, r sdk.SeriesReader, q sdk.FollowQuery) *follower {
	t.Helper()
	next, stop := iter.Pull2(r.Follow(t.Context(), q))
	t.Cleanup(stop)
	f := &follower{t, next}
	if a := f.advance(); len(a.Numbers) != 0 {
		t.Errorf("the first tells of %v", a)
	}
	return f
}

func (f *follower) advance() *sdk.Advance {
	f.t.Helper()
	a, err, ok := f.next()
	if err != nil || !ok {
		f.t.Fatalf("error %v", err)
	}
	return a
}

// Each series is told once, however late it is asked, and described once.
func TestFollow(t *testing.T) {
	t.Parallel()
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("numbered")})
	publish := func(in ...sdk.Sample) {
		t.Helper()
		if err := p.Publish(t.Context(), in...); err != nil {
			t.Fatal(err)
		}
	}
	all := followed(t, p.Series(), sdk.FollowQuery{})
	cpu := followed(t, p.Series(), sdk.FollowQuery{Meters: []string{"cpu"}, Undescribed: true})
	is := func(a *sdk.Advance, described string, want map[uint64]time.Time) {
		t.Helper()
		got := map[uint64]time.Time{}
		for i, n := range a.Numbers {
			if _, twice := got[n]; twice {
				t.Errorf("series %d is told twice", n)
			}
			got[n] = time.Unix(0, a.Times[i]).UTC()
		}
		var names []string
		for _, s := range a.New {
			names = append(names, s.Meter)
		}
		slices.Sort(names)
		if strings.Join(names, " ") != described || !maps.Equal(got, want) {
			t.Errorf("got %v, described %v, want %v, %v", got, names, want, described)
		}
	}
	publish(sample("a", "memory", "", minute(1), 1))
	is(all.advance(), "memory", map[uint64]time.Time{1: minute(1)})
	publish(sample("a", "memory", "", minute(2), 1))
	for i := range 10 {
		publish(sample("a", "cpu", "", minute(i), 1))
	}
	is(all.advance(), "cpu", map[uint64]time.Time{1: minute(2), 2: minute(9)})
	is(cpu.advance(), "", map[uint64]time.Time{2: minute(9)})
	publish(sample("a", "cpu", "", minute(5), 1)) // nothing newer
	publish(sample("a", "cpu", "", minute(10), 1))
	is(all.advance(), "", map[uint64]time.Time{2: minute(10)})

	// A storage that is gone ends it, and can be followed again.
	ended := make(chan error, 1)
	go func() {
		_, err, _ := all.next()
		ended <- err
	}()
	p.Kill()
	if err := <-ended; err == nil {
		t.Error("a storage that was killed goes on")
	}
	if _, _, more := all.next(); more {
		t.Error("more comes after the error")
	}
	p.Restart()
	again := followed(t, p.Series(), sdk.FollowQuery{})
	publish(sample("a", "cpu", "", minute(11), 1))
	is(again.advance(), "cpu", map[uint64]time.Time{1: minute(11)})

	// So does one that is stopped.
	go func() {
		_, err, _ := again.next()
		ended <- err
	}()
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "is stopping") {
		t.Errorf("error %v", err)
	}
	p.Restart()
}

// Who follows may have enough, and may end with its context.
func TestFollowIsLeft(t *testing.T) {
	t.Parallel()
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("numbered")})
	for _, err := range p.Series().Follow(t.Context(), sdk.FollowQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range p.Series().Follow(ctx, sdk.FollowQuery{}) {
		if ctx.Err() == nil {
			cancel()
		} else if err != context.Canceled {
			t.Errorf("error %v", err)
		}
	}
	if _, err := p.Series().Windows(ctx, nil); err != context.Canceled {
		t.Errorf("error %v", err)
	}
}

// A storage that has no numbers says so.
func TestStorageWithoutSeries(t *testing.T) {
	t.Parallel()
	r := sdktest.StartWith(t, sdktest.Options{Env: plugin("shelf")}).Series()
	_, find := r.FindSeries(t.Context(), sdk.SeriesQuery{IDs: []string{"1"}})
	_, windows := r.Windows(t.Context(), nil)
	_, compute := r.Compute(t.Context(), sdk.ComputeQuery{})
	var follow error
	for _, err := range r.Follow(t.Context(), sdk.FollowQuery{}) {
		follow = err
	}
	for _, err := range []error{find, windows, compute, follow} {
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), `storage "test" does not number its series`) {
			t.Errorf("error %v", err)
		}
	}
}

// limit tells by an event when the newest minute of a meter is above its limit.
type limit struct {
	Storage string  `toml:"storage" default:"store" doc:"Storage to watch."`
	Meter   string  `toml:"meter" default:"cpu" doc:"Meter to watch."`
	Limit   float64 `toml:"limit" default:"90" doc:"What it may reach."`
}

func (l *limit) Publish(context.Context, *sdk.Batch) error { return nil }

func (l *limit) Watch(ctx context.Context, host sdk.Host) error {
	store := host.Series(l.Storage)
	resources := map[uint64]string{}
	for a, err := range store.Follow(ctx, sdk.FollowQuery{Meters: []string{l.Meter}}) {
		if err != nil {
			return err
		}
		for _, s := range a.New {
			resources[s.Number] = s.Resource
		}
		if len(a.Numbers) == 0 {
			continue
		}
		newest := time.Unix(0, slices.Max(a.Times))
		windows, err := store.Windows(ctx, []sdk.WindowQuery{{
			Series: a.Numbers, Granularity: time.Minute, Aggregation: "mean", From: newest, To: newest.Add(time.Nanosecond),
		}})
		if err != nil {
			return err
		}
		err = host.Deliver(ctx, func(out *sdk.Builder) error {
			for i, w := range windows.All() {
				if w.Err == nil && len(w.Values) > 0 && w.Values[0] > l.Limit {
					out.AddEvent(sdk.Event{EventType: "limit.exceeded", Traits: []sdk.Trait{{Name: "resource", Type: sdk.Text, Value: resources[a.Numbers[i]]}}})
				}
			}
			return nil
		}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// telling is a store that tells when it is followed.
type telling struct {
	sdktest.Store
	followed chan struct{}
}

func (s *telling) Follow(ctx context.Context, q sdk.FollowQuery) iter.Seq2[*sdk.Advance, error] {
	return func(yield func(*sdk.Advance, error) bool) {
		for a, err := range s.Store.Follow(ctx, q) {
			if !yield(a, err) {
				return
			}
			if len(a.Numbers) == 0 {
				s.followed <- struct{}{}
			}
		}
	}
}

// An alarm in its own process asks the host, here a store of the test.
func TestAlarmBySeries(t *testing.T) {
	t.Parallel()
	store := telling{followed: make(chan struct{})}
	calm := store.Add(sdk.Series{Meter: "cpu", Resource: "calm"})
	busy := store.Add(sdk.Series{Meter: "cpu", Resource: "busy"})
	other := store.Add(sdk.Series{Meter: "memory", Resource: "other"})
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("limit"), Series: func(storage string) sdk.SeriesReader {
		if storage != "store" {
			t.Errorf("asked %q", storage)
		}
		return &store
	}})
	l, err := p.Listen(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		<-store.followed
		store.Put(calm, minute(n), 10)
		store.Put(other, minute(n), 99)
		store.Put(busy, minute(n), 95)
		d, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Settle(d, nil); err != nil {
			t.Fatal(err)
		}
		if e := d.Event(0); e.EventType != "limit.exceeded" || e.Traits[0].Value != "busy" {
			t.Errorf("got %+v", e)
		}
		// A storage that is started again is followed again.
		store.Fail(errors.New("restarted"))
	}
}

// An alarm learns that there is nothing to ask.
func TestAlarmWithoutSeries(t *testing.T) {
	t.Parallel()
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("limit")})
	l, err := p.Listen(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	go l.Next() //nolint:errcheck // it ends with the test
	p.AwaitStderr(`no storage \"store\" of this test can be asked by series`)
}
