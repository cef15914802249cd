package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/plugins/events/chunk"
	"github.com/nephoscope/nepho/plugins/events/chunk/chunktest"
	"github.com/nephoscope/nepho/sdk"
)

// model is what a store should be like.
type model struct {
	events []sdk.Event
}

func (m *model) add(events []sdk.Event) (fresh int) {
	for _, e := range events {
		there := slices.ContainsFunc(m.events, func(o sdk.Event) bool { return o.MessageID == e.MessageID && o.Generated.Equal(e.Generated) })
		if !there {
			m.events = append(m.events, sortTraits(e))
			fresh++
		}
	}
	return fresh
}

func (m *model) find(q *Query) []sdk.Event {
	var list []sdk.Event
	for i := range m.events {
		if q.Meets(&m.events[i]) && (q.After == nil || q.Order.Compare(KeyOf(&m.events[i]), *q.After) > 0) {
			list = append(list, m.events[i])
		}
	}
	slices.SortFunc(list, func(a, b sdk.Event) int { return q.Order.Compare(KeyOf(&a), KeyOf(&b)) })
	if q.Limit > 0 {
		list = list[:min(len(list), q.Limit)]
	}
	return list
}

// question is one of some that meet some of the events.
func question(r *rand.Rand, events []sdk.Event) Query {
	q := Everything()
	q.Order = Order{ByID: r.IntN(4) == 0, TimeDescends: r.IntN(2) == 0, IDDescends: r.IntN(2) == 0}
	if r.IntN(3) > 0 {
		q.Limit = 1 + r.IntN(30)
	}
	some := func() *sdk.Event { return &events[r.IntN(len(events))] }
	if r.IntN(4) == 0 {
		q.From = some().Generated.UnixNano()
	}
	if r.IntN(4) == 0 {
		q.To = some().Generated.UnixNano()
	}
	if r.IntN(4) == 0 {
		key := KeyOf(some())
		q.After = &key
	}
	if r.IntN(8) == 0 {
		q.ID = &some().MessageID
	}
	if r.IntN(5) == 0 {
		q.Type = &some().EventType
	}
	if r.IntN(5) == 0 {
		q.Project = &[]string{"p1", "p2", "a", ""}[r.IntN(4)]
	}
	for range r.IntN(3) {
		traits := some().Traits
		if len(traits) == 0 {
			continue
		}
		t := traits[r.IntN(len(traits))]
		c := chunk.Condition{Op: chunk.Op(r.IntN(6)), Trait: t.Name, Type: t.Type}
		switch v := t.Value.(type) {
		case string:
			c.Text = v
		case int64:
			c.Integer = v
		case float64:
			c.Float = v
		case time.Time:
			c.Time = v
		}
		q.Where = append(q.Where, c)
	}
	return q
}

// Whatever is added in whichever portions, in whichever order, once or again, and merged
// meanwhile or not: the store gives what a plain list of events gives.
func TestModel(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		r := random(1)
		m := &model{}
		var before [][]sdk.Event
		questions := 0
		for range 35 {
			var batch []sdk.Event
			at := start.Add(-time.Duration(r.IntN(100)) * 30 * time.Minute)
			for range 1 + r.IntN(40)*r.IntN(5) {
				if r.IntN(50) == 0 {
					at = []time.Time{start.AddDate(-80, 0, 0), start.AddDate(50, 0, 0), time.Unix(0, math.MaxInt64).Add(-time.Hour)}[r.IntN(3)]
				}
				batch = append(batch, chunktest.Wild(r, at))
			}
			if len(before) > 0 && r.IntN(3) == 0 {
				batch = append(batch, before[r.IntN(len(before))]...)
				r.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
			}
			before = append(before, batch)
			add(t, s, m.add(batch), batch...)
			switch r.IntN(6) {
			case 0:
				ok(t, s.Merge(ctx))
			case 1:
				ok(t, s.Settle(ctx))
			}
			for range 6 {
				q := question(r, m.events)
				want := m.find(&q)
				got := all(t, s, q)
				if !slices.Equal(ids(got), ids(want)) {
					t.Fatalf("%+v gives %.3000q, want %.3000q", q, ids(got), ids(want))
				}
				same(t, got, want)
				if len(want) > 0 {
					questions++
				}
			}
		}
		if questions < 60 {
			t.Errorf("only %d questions had answers", questions)
		}
		st, err := s.Status(ctx)
		ok(t, err)
		if int(st.Events) != len(m.events) || st.Damaged != 0 {
			t.Errorf("the status is %+v, and there are %d events", st, len(m.events))
		}
	})
}

func TestKinds(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		name := sdk.Trait{Name: "name", Type: sdk.Text, Value: "x"}
		size := sdk.Trait{Name: "size", Type: sdk.Integer, Value: int64(1)}
		odd := event("3", start, sdk.Trait{Name: "a\x00b", Type: sdk.Text, Value: ""}, sdk.Trait{Name: strings.Repeat("x", 5000), Type: sdk.Text, Value: ""})
		odd.EventType = "odd"
		garbage := event("4", start)
		garbage.EventType = "\x00"
		for range 2 {
			_, err := s.Add(ctx, []sdk.Event{event("1", start, size, name), event("2", start, sdk.Trait{Name: "name", Type: sdk.Float, Value: 1.5}), odd, garbage})
			ok(t, err)
		}
		types, err := s.Types(ctx)
		ok(t, err)
		if !slices.Equal(types, []string{"odd", "test.happened"}) {
			t.Errorf("got the types %q", types)
		}
		for eventType, want := range map[string][]TraitType{"test.happened": {{"name", sdk.Text}, {"size", sdk.Integer}, {"name", sdk.Float}}, "odd": {}, "none": {}, "\x00": {}} {
			got, err := s.Traits(ctx, eventType)
			ok(t, err)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%q has the traits %v, want %v", eventType, got, want)
			}
		}
		if n := len(all(t, s, Everything())); n != 4 {
			t.Errorf("%d events", n)
		}
		// However many there are, there is an end to what is remembered and listed.
		for round := range 21 {
			var batch []sdk.Event
			for i := range maxNew {
				e := event(fmt.Sprint("many", round, "-", i), start)
				e.EventType = e.MessageID
				batch = append(batch, e)
			}
			add(t, s, len(batch), batch...)
		}
		if s.kinds.size > maxKinds {
			t.Errorf("%d kinds are remembered", s.kinds.size)
		}
	})
}

// Events without an id are the same if all of them is.
func TestSame(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		a, b := event("", start), event("", start, sdk.Trait{Name: "n", Type: sdk.Integer, Value: int64(1)})
		add(t, s, 2, a, b, a)
		add(t, s, 0, b, a)
		// With one they are if that and the time are, in one call as in several.
		x, y := event("x", start), event("x", start.Add(1))
		add(t, s, 2, x, y, x)
		add(t, s, 0, y, x)
	})
}

// One by one or in batches, what comes becomes few chunks.
func TestMerge(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		nova := chunktest.NewNova(1, start.Add(-30*time.Hour), 4*time.Second)
		var want []sdk.Event
		for _, n := range []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 100, 600, 7, 1, 3000, 500, 500, 500, 500, 500, 1, 1, 4500} {
			batch := nova.Events(n)[:n]
			add(t, s, n, batch...)
			for _, e := range batch {
				want = append(want, sortTraits(e))
			}
		}
		before, _ := chunks(t, s)
		ok(t, s.Merge(ctx))
		ok(t, s.Merge(ctx))
		merged, parts := chunks(t, s)
		if len(merged) >= len(before)-9 {
			t.Errorf("%d chunks became %d: %v", len(before), len(merged), merged)
		}
		if parts > 45*len(merged) {
			t.Errorf("%d chunks have %d parts", len(merged), parts)
		}
		ok(t, s.Settle(ctx))
		settled, _ := chunks(t, s)
		total := 0
		for _, n := range settled {
			total += n
		}
		if total != len(want) || len(settled) > 12 {
			t.Errorf("%d events in %d chunks %v, were %v, want %d", total, len(settled), settled, merged, len(want))
		}
		sortEvents(want)
		same(t, all(t, s, Everything()), want)
		// What is there is found to be so in merged chunks as well, with nothing in memory.
		s.known = known{}
		add(t, s, 0, want[:1000]...)
	})
}

// Where there is always something to merge, what else is due is done nevertheless.
func TestMergeWithoutEnd(t *testing.T) {
	s := open(t, Options{URL: where(t, "sqlite")})
	for i := range mergeFrom {
		var batch []sdk.Event
		for d := range mergesAtOnce + 1 {
			batch = append(batch, event(fmt.Sprint(i, "-", d), start.AddDate(0, 0, -d)))
		}
		add(t, s, len(batch), batch...)
	}
	<-s.more // of those that came
	for _, want := range []int{mergesAtOnce + mergeFrom, mergesAtOnce + 1} {
		ok(t, s.tend(t.Context(), false, false))
		if sizes, _ := chunks(t, s); len(sizes) != want {
			t.Errorf("there are %d chunks, want %d", len(sizes), want)
		}
		select {
		case <-s.more:
			if want == mergesAtOnce+1 {
				t.Error("it is looked again although all is merged")
			}
		default:
			if want != mergesAtOnce+1 {
				t.Error("nobody looks again")
			}
		}
	}
}

// Batches that say the same at once, through several stores on one database.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	url := server.Database()
	stores := []*Store{open(t, Options{URL: url}), open(t, Options{URL: url}), open(t, Options{URL: url})}
	events := chunktest.NewNova(1, start, time.Second).Events(500)
	var wg sync.WaitGroup
	fresh := make([]int, len(stores))
	errs := make(chan error, 100)
	ctx, cancel := context.WithCancel(t.Context())
	for i, s := range stores {
		wg.Go(func() {
			for at := 0; at < len(events); at += 50 {
				n, err := s.Add(ctx, events[at:min(at+50, len(events))])
				if err != nil {
					errs <- err
					return
				}
				fresh[i] += n
			}
		})
	}
	var background sync.WaitGroup
	for _, s := range stores {
		background.Go(func() {
			for ctx.Err() == nil {
				if err := s.Merge(ctx); err != nil && ctx.Err() == nil {
					errs <- err
					return
				}
				if err := s.Settle(ctx); err != nil && ctx.Err() == nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	cancel()
	background.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	got := all(t, stores[0], Everything())
	want := slices.Clone(events)
	sortEvents(want)
	if !slices.Equal(ids(got), ids(want)) || fresh[0]+fresh[1]+fresh[2] != len(want) {
		t.Fatalf("%d events are there, %v were new, want %d", len(got), fresh, len(want))
	}
}

// A node that stands still in the middle of a transaction does not keep others from
// theirs: the server ends it.
func TestNodeThatStandsStill(t *testing.T) {
	t.Parallel()
	s := open(t, Options{URL: server.Database()})
	var limit string
	ok(t, s.db.Write(t.Context(), func(w *database.Session) error {
		if err := turn(t.Context(), w); err != nil {
			return err
		}
		_, err := w.One(t.Context(), "SELECT current_setting('idle_in_transaction_session_timeout')", nil, &limit)
		return err
	}))
	if limit != "30s" {
		t.Errorf("a transaction may stand still for %q", limit)
	}
}

// Events expire by whole days, and a clock that jumps ahead does not cost all of them at
// once.
func TestExpire(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		now := start
		s.now = func() time.Time { return now }
		days := func() int {
			sizes, _ := chunks(t, s)
			return len(sizes)
		}
		for d := range 100 {
			e := event(fmt.Sprint(d), start.AddDate(0, 0, -d))
			e.EventType = fmt.Sprint("day", d/10)
			add(t, s, 1, e)
		}
		before := days() // what is too old already is together
		for range 20 {
			ok(t, s.Expire(ctx))
		}
		got := all(t, s, Everything())
		if len(got) != 91 || got[0].MessageID != "90" {
			t.Fatalf("%d events are left of %d days, the oldest is %q", len(got), before, got[0].MessageID)
		}
		if c := s.Counters(); c != (Counters{Added: 100, Expired: 9}) {
			t.Errorf("counted are %+v", c)
		}
		now = now.Add(time.Hour)
		ok(t, s.Expire(ctx))
		if n := days(); n != 90 {
			t.Errorf("%d days are left", n)
		}
		now = now.AddDate(100, 0, 0)
		ok(t, s.Expire(ctx))
		if n := days(); n < 88 {
			t.Errorf("a jump of the clock left %d days", n)
		}
		types, err := s.Types(ctx)
		ok(t, err)
		if len(types) != 9 {
			t.Errorf("the types are %q", types)
		}
		now = start.AddDate(-100, 0, 0)
		ok(t, s.Expire(ctx))
		add(t, s, 1, event("in the past", start.Add(time.Minute)))
		add(t, s, 0, event("in the past", start.Add(time.Minute)))
		if c := s.Counters(); c.Added != 101 || c.Repeated != 1 {
			t.Errorf("counted are %+v", c)
		}
		s.retention = 0
		now = now.AddDate(500, 0, 0)
		ok(t, s.Expire(ctx))
		if n := days(); n < 88 {
			t.Errorf("without a retention %d days are left", n)
		}
	})
}

// Devices whose clocks are wrong keep neither the events of others nor their own for
// ever.
func TestExpireWrongClocks(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		now := start
		s.now = func() time.Time { return now }
		left := func(want ...string) {
			t.Helper()
			ok(t, s.Merge(ctx))
			ok(t, s.Expire(ctx))
			if got := ids(all(t, s, Everything())); !slices.Equal(got, want) {
				t.Fatalf("%v: %q are left, want %q", now, got, want)
			}
		}
		add(t, s, 2, event("a", start.AddDate(0, 0, -89)), event("b", start))
		left("a", "b")
		for i := range 3 {
			now = start.Add(time.Duration(i)*expireEvery).AddDate(0, 0, 3)
			add(t, s, 1, event(fmt.Sprint("of 1970", i), time.Unix(int64(i), 0)))
			left("b")
		}
		// Those that were taken as of the future, by a server's clock of before, are not.
		now = time.Unix(100_000, 0)
		add(t, s, 1, event("c", start.Add(time.Hour)))
		now = start
		add(t, s, 2, event("d", start.AddDate(70, 0, 0)), event("e", start.AddDate(0, 6, 0)))
		left("b", "c", "e", "d")
		ok(t, s.Settle(ctx))
		now = start.AddDate(0, 0, 80)
		add(t, s, 1, event("f", start.AddDate(80, 0, 0)))
		left("b", "c", "e", "d", "f")
		now = start.AddDate(0, 0, 92)
		left("f")
	})
}

// A chunk that is damaged costs its events and is told of once; all others are served.
func TestDamage(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		var log bytes.Buffer
		s.log = slog.New(slog.NewTextHandler(&log, nil))
		var want []string
		for i := range 12 {
			var batch []sdk.Event
			for j := range 3 {
				e := event(fmt.Sprint(i, "-", j), start.Add(time.Duration(3*i+j)*time.Second), sdk.Trait{Name: "n", Type: sdk.Integer, Value: int64(i)})
				batch = append(batch, e)
				if i != 3 && i != 5 {
					want = append(want, e.MessageID)
				}
			}
			add(t, s, 3, batch...)
		}
		change(t, s, "UPDATE event_part SET data = ? WHERE chunk = (SELECT id FROM event_chunk WHERE first = ?)", []byte("nonsense, which is no part"), start.Add(9*time.Second).UnixNano())
		change(t, s, "DELETE FROM event_part WHERE chunk = (SELECT id FROM event_chunk WHERE first = ?)", start.Add(15*time.Second).UnixNano())
		q := Everything()
		q.Limit = 4
		for range 3 {
			if got := ids(all(t, s, Everything())); !slices.Equal(got, want) {
				t.Fatalf("got %q, want %q", got, want)
			}
			got, _, err := s.Find(ctx, q)
			ok(t, err)
			if !slices.Equal(ids(got), want[:4]) {
				t.Fatalf("got %q", ids(got))
			}
			ok(t, s.Merge(ctx))
			s.known = known{}
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
			t.Errorf("%d lines tell of damage:\n%s", n, log.String())
		}
		st, err := s.Status(ctx)
		ok(t, err)
		if st.Damaged != 6 || st.Events != 30 {
			t.Errorf("the status is %+v", st)
		}
		if sizes, _ := chunks(t, s); len(sizes) > 4 {
			t.Errorf("the others are not merged: %v", sizes)
		}
		// What was lost is stored anew when it comes again.
		add(t, s, 1, event("3-1", start.Add(10*time.Second)), event("2-0", start.Add(6*time.Second)))
	})
}

// A database that goes away is an error that says so, and what was added before is
// there when it is back.
func TestClosed(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Options{URL: where(t, "sqlite")})
	ok(t, err)
	ok(t, s.Close())
	if _, err := s.Add(t.Context(), []sdk.Event{event("1", start)}); err == nil {
		t.Error("a closed store took an event")
	}
	if _, err := Open(t.Context(), Options{URL: "postgres://nobody:secret@127.0.0.1:1/none"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}
