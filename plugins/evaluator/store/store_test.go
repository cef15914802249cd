package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/integration/parts"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/filter"
)

// server is shared by all tests; each has databases of its own.
var server *parts.PostgreSQLServer

func TestMain(m *testing.M) {
	code := 1
	if err := parts.Run(os.Stderr, func(tb parts.TB) {
		server = parts.PostgreSQL(tb)
		code = m.Run()
	}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// both runs a test on each database.
func both(t *testing.T, f func(t *testing.T, s *Store)) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{URL: filepath.Join(t.TempDir(), "alarms.sqlite"), History: time.Hour}
			if name == "postgres" {
				o.URL = server.Database()
			}
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			f(t, s)
		})
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("the error is %v, not %v", err, want)
	}
}

var anyNumber = Limits{Project: -1, User: -1}

func newAlarm(t *testing.T, name, project string) *Alarm {
	t.Helper()
	p, err := def.Read([]byte(fmt.Sprintf(`{"name": %q, "type": "gnocchi_resources_threshold", "alarm_actions": ["http://x/%s"],
		"time_constraints": [{"name": "c", "start": "0 9 * * *", "duration": 60}],
		"gnocchi_resources_threshold_rule": {"metric": "cpu", "resource_id": "r", "resource_type": "instance", "threshold": 80, "aggregation_method": "mean"}}`, name, name)))
	ok(t, err)
	a := &Alarm{Alarm: p.Alarm, Status: def.Status{Reason: def.NotEvaluated, Since: time.UnixMicro(1e15).UTC()}}
	a.ID, a.Project, a.User, a.Changed = uuid.New(), project, "u-"+project, time.UnixMicro(1e15).UTC()
	return a
}

func lineOf(a *Alarm, kind Kind) *Change {
	return &Change{ID: uuid.New(), Alarm: a.ID, Kind: kind, Detail: "{}", OnBehalfOf: a.Project, At: time.Now().UTC().Truncate(time.Microsecond)}
}

func same(a, b *Alarm) bool {
	return string(def.AppendJSON(nil, a.Answer(&a.Status))) == string(def.AppendJSON(nil, b.Answer(&b.Status))) && a.Alarm.Version == b.Alarm.Version && a.Status.Version == b.Status.Version
}

func TestAlarmLife(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		a := newAlarm(t, "näme", "p")
		ok(t, s.Create(ctx, a, anyNumber, lineOf(a, Creation)))
		got, err := s.Alarm(ctx, a.ID)
		ok(t, err)
		if !same(a, got) {
			t.Errorf("stored %+v, read %+v", a, got)
		}
		// A change of the definition leaves the status, and that of the status the definition.
		stale := *a
		a.Name = "other"
		ok(t, s.Update(ctx, a, nil, lineOf(a, RuleChange)))
		is(t, s.Update(ctx, &stale, nil, nil), ErrChanged)
		a.Status = def.Status{State: def.OK, Reason: def.ManuallySet, Since: a.Since}
		ok(t, s.SetState(ctx, a.ID, &a.Status, lineOf(a, StateTransition)))
		if got, err = s.Alarm(ctx, a.ID); err != nil || !same(a, got) || a.Alarm.Version != 2 || a.Status.Version != 2 {
			t.Errorf("expected %+v, read %+v, %v", a, got, err)
		}
		// Who changes a definition learns of the status that was changed since he read it.
		late := *a
		late.Status = def.Status{Reason: def.NotEvaluated, Version: 1}
		ok(t, s.Update(ctx, &late, nil, nil))
		if a.Alarm.Version++; !same(a, &late) {
			t.Errorf("after a change it is %+v, not %+v", late, a)
		}
		loaded := func() (list []*Alarm) {
			var mu sync.Mutex
			ok(t, s.Load(ctx, func(a *Alarm) {
				mu.Lock()
				defer mu.Unlock()
				list = append(list, a)
			}))
			return list
		}
		want := *a // what evaluation needs of it
		want.Name, want.Description, want.Severity, want.Actions, want.Origin, want.Reason = "", "", 0, [3][]string{}, "", ""
		if list := loaded(); len(list) != 1 || !same(&want, list[0]) {
			t.Errorf("%d alarms are loaded, the first %+v", len(list), list[0])
		}
		a.Enabled = false
		ok(t, s.Update(ctx, a, nil, nil))
		if list := loaded(); len(list) != 0 {
			t.Errorf("%+v is loaded, which is not enabled", list[0])
		}
		if n, err := s.Count(ctx); n != 1 || err != nil {
			t.Errorf("%d alarms, %v", n, err)
		}
		ok(t, s.Delete(ctx, a.ID, lineOf(a, Deletion)))
		is(t, s.Delete(ctx, a.ID, nil), ErrNotFound)
		is(t, s.Update(ctx, a, nil, nil), ErrNotFound)
		is(t, s.SetState(ctx, a.ID, &a.Status, nil), ErrNotFound)
		_, err = s.Alarm(ctx, a.ID)
		is(t, err, ErrNotFound)
		changes, err := s.Changes(ctx, Query{Order: []filter.Order{{Field: "timestamp"}}})
		ok(t, err)
		var kinds []string
		for _, c := range changes {
			kinds = append(kinds, c.Kind.String())
		}
		if want := []string{"creation", "rule change", "state transition", "deletion"}; !slices.Equal(kinds, want) {
			t.Errorf("its history is %q", kinds)
		}
		ok(t, s.Expire(ctx, time.Now().Add(30*time.Minute)))
		if changes, err = s.Changes(ctx, Query{}); err != nil || len(changes) != 4 {
			t.Errorf("%d changes are left too early, %v", len(changes), err)
		}
		ok(t, s.Expire(ctx, time.Now().Add(2*time.Hour)))
		if changes, err = s.Changes(ctx, Query{}); err != nil || len(changes) != 0 {
			t.Errorf("%d changes are left, %v", len(changes), err)
		}
	})
}

// TestTransitions: one is made only of the versions that were judged.
func TestTransitions(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		var alarms []*Alarm
		for i := range 5 {
			a := newAlarm(t, fmt.Sprint("a", i), "p")
			ok(t, s.Create(ctx, a, anyNumber, nil))
			alarms = append(alarms, a)
		}
		// 0 stays, 1 gets another definition, 2 another state, 3 is deleted, 4 repeats.
		ok(t, s.Update(ctx, alarms[1], nil, nil))
		ok(t, s.SetState(ctx, alarms[2].ID, &def.Status{State: def.OK}, nil))
		ok(t, s.Delete(ctx, alarms[3].ID, nil))
		list := make([]*Transition, len(alarms))
		for i, a := range alarms {
			list[i] = &Transition{
				ID: a.ID, Definition: 1, Previous: 1, Status: &def.Status{State: def.Alerting, Reason: "x", Since: time.UnixMicro(2e15)}, Change: lineOf(a, StateTransition),
				Deliveries: []*Delivery{{ID: uuid.New(), Alarm: a.ID, Project: "p", Target: "t", Action: "http://x", Body: a.Name, Created: time.UnixMicro(3e15).UTC()}},
			}
		}
		list[4].Status, list[4].Change = nil, nil
		made, err := s.Commit(ctx, list)
		ok(t, err)
		if want := []bool{true, false, false, false, true}; !slices.Equal(made, want) {
			t.Fatalf("made are %v", made)
		}
		for i, want := range []def.State{def.Alerting, def.InsufficientData, def.OK} {
			if a, err := s.Alarm(ctx, alarms[i].ID); err != nil || a.State != want {
				t.Errorf("alarm %d is %v, %v", i, a.State, err)
			}
		}
		owed, err := s.Owed(ctx, "t", 0, 10)
		ok(t, err)
		if len(owed) != 2 || owed[0].Body != "a0" || owed[1].Body != "a4" || owed[0].ID != list[0].Deliveries[0].ID {
			t.Fatalf("owed is %+v", owed)
		}
		if targets, err := s.Targets(ctx); err != nil || targets["t"] != 2 {
			t.Errorf("targets are %v, %v", targets, err)
		}
		backlog := func(pending, dead int) {
			t.Helper()
			s.backlog = database.Paced[Backlog]{} // it may not be time to count again
			b, err := s.Backlog(ctx)
			if oldest := time.UnixMicro(3e15); err != nil || b.Pending != pending || b.Dead != dead || b.Oldest.IsZero() != (pending == 0) || pending > 0 && !b.Oldest.Equal(oldest) {
				t.Errorf("the backlog is %+v, %v; want %d pending, %d dead", b, err, pending, dead)
			}
		}
		backlog(2, 0)
		// The same again is not made again.
		if made, err = s.Commit(ctx, list[:1]); err != nil || made[0] {
			t.Errorf("made again: %v, %v", made, err)
		}
		ok(t, s.Tried(ctx, owed[0].Ref, 3, "why", time.Now()))
		backlog(1, 1)
		ok(t, s.Delivered(ctx, owed[1].Ref))
		backlog(0, 1)
		other := "q"
		for _, project := range []*string{nil, &alarms[0].Project, &other} {
			dead, err := s.Deliveries(ctx, project, true, 0, 10)
			if want := project != &other; err != nil || (len(dead) == 1) != want {
				t.Errorf("dead are %v, %v", dead, err)
			}
		}
		_, err = s.Revive(ctx, owed[0].Ref, &other)
		is(t, err, ErrNotFound)
		if target, err := s.Revive(ctx, owed[0].Ref, nil); err != nil || target != "t" {
			t.Errorf("revived %q, %v", target, err)
		}
		if owed, err = s.Owed(ctx, "t", 0, 10); err != nil || len(owed) != 1 || owed[0].Tries != 0 || owed[0].ID != list[0].Deliveries[0].ID {
			t.Errorf("owed is %+v, %v", owed, err)
		}
	})
}

// TestManyTransitions commits more than one statement's worth, from several sides at once:
// each is made by one of them.
func TestManyTransitions(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		var alarms []*Alarm
		var work sync.WaitGroup
		for i := range 700 {
			a := newAlarm(t, fmt.Sprint(i), "p")
			alarms = append(alarms, a)
			work.Go(func() {
				if err := s.Create(ctx, a, anyNumber, nil); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
		var mu sync.Mutex
		won := map[uuid.UUID]int{}
		for range 3 {
			work.Go(func() {
				list := make([]*Transition, len(alarms))
				for i, j := range rand.Perm(len(alarms)) {
					list[i] = &Transition{ID: alarms[j].ID, Definition: 1, Previous: 1, Status: &def.Status{State: def.OK}}
				}
				made, err := s.Commit(ctx, list)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for i, m := range made {
					if m {
						won[list[i].ID]++
					}
				}
			})
		}
		work.Wait()
		if len(won) != len(alarms) {
			t.Errorf("%d of %d transitions were made", len(won), len(alarms))
		}
		for id, n := range won {
			if n != 1 {
				t.Errorf("%v was made %d times", id, n)
			}
		}
		sums, err := s.Summaries(ctx, []uuid.UUID{alarms[0].ID, uuid.New(), alarms[699].ID})
		if err != nil || len(sums) != 2 || sums[alarms[699].ID].Actions[def.Alerting][0] != "http://x/699" {
			t.Errorf("summaries are %v, %v", sums, err)
		}
	})
}

func TestQuotas(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		make := func(project, user string, limits Limits) (*Alarm, error) {
			a := newAlarm(t, "x", project)
			a.User = user
			return a, s.Create(ctx, a, limits, nil)
		}
		first, err := make("p", "u", Limits{Project: 2, User: 5})
		ok(t, err)
		_, err = make("p", "v", Limits{Project: 2, User: 5})
		ok(t, err)
		_, err = make("p", "w", Limits{Project: 2, User: 5})
		is(t, err, ErrQuota)
		_, err = make("q", "u", Limits{Project: 2, User: 1})
		is(t, err, ErrQuota)
		// A project's own quota overrules the limit, also one of any number.
		ok(t, s.SetQuotas(ctx, "p", []Quota{{"alarms", -1}}))
		_, err = make("p", "w", Limits{Project: 2, User: 5})
		ok(t, err)
		if q, err := s.Quotas(ctx, "p"); err != nil || len(q) != 1 || q[0].Limit != -1 {
			t.Errorf("quotas are %v, %v", q, err)
		}
		ok(t, s.SetQuotas(ctx, "p", []Quota{{"alarms", 3}}))
		_, err = make("p", "w", anyNumber)
		is(t, err, ErrQuota)
		ok(t, s.Delete(ctx, first.ID, nil))
		moved, err := make("p", "w", anyNumber)
		ok(t, err)
		moved.Project = "q"
		ok(t, s.Update(ctx, moved, nil, nil))
		_, err = make("p", "w", anyNumber)
		ok(t, err)
		ok(t, s.DeleteQuotas(ctx, "p"))
		is(t, s.DeleteQuotas(ctx, "p"), ErrNotFound)
		if q, err := s.Quotas(ctx, "p"); err != nil || len(q) != 0 {
			t.Errorf("quotas are %v, %v", q, err)
		}
	})
}

// TestSearches compares searches and their pages with a plain evaluation.
func TestSearches(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		r := rand.New(rand.NewPCG(1, 2))
		var all []*Alarm
		for i := range 60 {
			a := newAlarm(t, fmt.Sprintf("n%d", r.IntN(6)), fmt.Sprintf("p%d", r.IntN(3)))
			a.Severity, a.State, a.Enabled = def.Severity(r.IntN(3)), def.State(r.IntN(3)), r.IntN(2) == 0
			a.Changed = time.UnixMicro(1e15 + int64(r.IntN(20))*1e6).UTC()
			a.Description = strings.Repeat("d", i%4)
			ok(t, s.Create(ctx, a, anyNumber, nil))
			all = append(all, a)
		}
		for range 60 {
			e := randomExpr(r, all, 3)
			var want []string
			for _, a := range all {
				if evaluate(e, a) {
					want = append(want, a.ID.String())
				}
			}
			var got []string
			q := Query{Where: e, Limit: 1 + r.IntN(20)}
			for _, field := range []string{"name", "severity", "timestamp", "enabled"}[:r.IntN(4)] {
				q.Order = append(q.Order, filter.Order{Field: field, Descending: r.IntN(2) == 0})
			}
			for {
				page, err := s.Alarms(ctx, q)
				if err != nil {
					t.Fatalf("%+v: %v", e, err)
				}
				for _, a := range page {
					got = append(got, a.ID.String())
				}
				if len(page) < q.Limit {
					break
				}
				q.Marker = page[len(page)-1].ID
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("%+v finds %d, not %d", e, len(got), len(want))
			}
		}
		if _, err := s.Alarms(ctx, Query{Marker: uuid.New()}); !errors.Is(err, ErrNotFound) {
			t.Errorf("an unknown marker: %v", err)
		}
	})
}

func randomExpr(r *rand.Rand, all []*Alarm, depth int) filter.Expr {
	if depth > 0 && r.IntN(3) > 0 {
		a, b := randomExpr(r, all, depth-1), randomExpr(r, all, depth-1)
		switch r.IntN(3) {
		case 0:
			return filter.And{a, b}
		case 1:
			return filter.Or{a, b}
		default:
			return filter.Not{Expr: a}
		}
	}
	of := all[r.IntN(len(all))]
	ops := []string{"=", "!=", "<", "<=", ">", ">="}
	op := ops[r.IntN(len(ops))]
	switch r.IntN(8) {
	case 0:
		return filter.Compare{Field: "name", Op: op, Value: of.Name}
	case 1:
		return filter.Compare{Field: "name", Op: "=~", Value: "^n[0-3]$"}
	case 2:
		return filter.Compare{Field: "severity", Op: op, Value: of.Severity.String()}
	case 3:
		return filter.Compare{Field: "state", Op: ops[r.IntN(2)], Value: of.State.String()}
	case 4:
		return filter.Compare{Field: "enabled", Op: ops[r.IntN(2)], Value: of.Enabled}
	case 5:
		return filter.Compare{Field: "timestamp", Op: op, Value: of.Changed}
	case 6:
		return filter.In{Field: "project_id", Values: []any{of.Project, "none"}}
	default:
		return filter.Compare{Field: "alarm_id", Op: ops[r.IntN(2)], Value: of.ID.String()}
	}
}

// evaluate is what a search means.
func evaluate(e filter.Expr, a *Alarm) bool {
	switch e := e.(type) {
	case filter.And:
		return !slices.ContainsFunc(e, func(e filter.Expr) bool { return !evaluate(e, a) })
	case filter.Or:
		return slices.ContainsFunc(e, func(e filter.Expr) bool { return evaluate(e, a) })
	case filter.Not:
		return !evaluate(e.Expr, a)
	case filter.In:
		return slices.Contains(e.Values, any(a.Project))
	}
	c := e.(filter.Compare)
	switch c.Field {
	case "name":
		if c.Op == "=~" {
			return len(a.Name) == 2 && a.Name[1] <= '3'
		}
		return holds(a.Name, c.Op, c.Value.(string))
	case "severity":
		return holds(a.Severity.String(), c.Op, c.Value.(string))
	case "state":
		return holds(a.State.String(), c.Op, c.Value.(string))
	case "enabled":
		return (a.Enabled == c.Value) == (c.Op == "=")
	case "timestamp":
		return holds(fmt.Sprint(a.Changed.UnixMicro()), c.Op, fmt.Sprint(c.Value.(time.Time).UnixMicro()))
	default:
		return (a.ID.String() == c.Value) == (c.Op == "=")
	}
}

func BenchmarkCreate(b *testing.B) {
	s, err := Open(b.Context(), Options{URL: filepath.Join(b.TempDir(), "alarms.sqlite")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	p, err := def.Read([]byte(`{"name": "n", "type": "event", "event_rule": {}}`))
	if err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			a := &Alarm{Alarm: p.Alarm}
			a.ID, a.Project, a.User = uuid.New(), "p", "u"
			if err := s.Create(b.Context(), a, Limits{1 << 40, 1 << 40}, &Change{ID: uuid.New(), Alarm: a.ID, Detail: "{}"}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
