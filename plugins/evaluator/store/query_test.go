package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/filter"
)

// named makes alarms with names n0, n1 and so on, of which a later one was changed later.
func named(t testing.TB, s *Store, n int) (list []*Alarm) {
	t.Helper()
	for i := range n {
		a := &Alarm{Alarm: def.Alarm{
			ID: uuid.New(), Name: fmt.Sprintf("n%d", i), Project: "p", Rule: &def.Event{EventType: "*"}, Changed: time.UnixMicro(1e15 + int64(i)).UTC(),
		}}
		if err := s.Create(t.Context(), a, anyNumber, nil); err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

func names(list []*Alarm) (names []string) {
	for _, a := range list {
		names = append(names, a.Name)
	}
	return names
}

// TestLongSearches: conditions may have as many parts as filters are allowed to have, and
// both databases take them.
func TestLongSearches(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		alarms := named(t, s, 3)
		values := []any{"n1"}
		or, and := filter.Or{filter.Compare{Field: "name", Op: "=", Value: "n1"}}, filter.And{filter.Compare{Field: "name", Op: "=", Value: "n1"}}
		for i := range 999 {
			or = append(or, filter.Compare{Field: "name", Op: "=", Value: fmt.Sprintf("x%d", i)})
			and = append(and, filter.Compare{Field: "name", Op: "!=", Value: fmt.Sprintf("x%d", i)})
		}
		for i := range 9_999 {
			values = append(values, fmt.Sprintf("x%d", i))
		}
		var deep filter.Expr = filter.Compare{Field: "name", Op: "=", Value: "n1"}
		for range 31 {
			list := filter.Or{deep}
			for i := range 30 {
				list = append(list, filter.Compare{Field: "name", Op: "=", Value: fmt.Sprintf("x%d", i)})
			}
			deep = filter.Not{Expr: filter.Not{Expr: list}}
		}
		for name, e := range map[string]filter.Expr{
			"in": filter.In{Field: "name", Values: values}, "or": or, "and": and, "deep": deep,
			"ids":        filter.In{Field: "alarm_id", Values: []any{"none", alarms[1].ID.String()}},
			"times":      filter.In{Field: "timestamp", Values: []any{alarms[1].Changed, time.Now()}},
			"severities": filter.And{filter.In{Field: "severity", Values: []any{"low", "none"}}, and[0]},
		} {
			found, err := s.Alarms(t.Context(), Query{Where: e})
			if err != nil || !slices.Equal(names(found), []string{"n1"}) {
				t.Errorf("%s finds %v, %.200v", name, names(found), err)
			}
		}
		for _, e := range []filter.Expr{filter.In{Field: "alarm_id", Values: []any{"none"}}, filter.In{Field: "state", Values: []any{"none"}}} {
			if found, err := s.Alarms(t.Context(), Query{Where: e}); err != nil || len(found) > 0 {
				t.Errorf("%v finds %v, %v", e, names(found), err)
			}
		}
	})
}

// TestPatterns: what one database's regular expressions do not know is refused by it, and
// is no fault of the server.
func TestPatterns(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		alarms := named(t, s, 3)
		matching := func(field, pattern string) filter.Expr {
			return filter.Compare{Field: field, Op: "=~", Value: pattern}
		}
		for _, e := range []filter.Expr{
			matching("name", "^.1$"), matching("name", `n[^02]`), matching("alarm_id", "^"+alarms[1].ID.String()[:30]), matching("alarm_id", alarms[1].ID.String()[5:]+"$"),
			filter.And{matching("alarm_id", "."), filter.Not{Expr: filter.Or{matching("name", "0"), matching("name", "2")}}},
			filter.And{matching("state", "^insufficient"), matching("name", "1")},
		} {
			found, err := s.Alarms(t.Context(), Query{Where: e})
			if err != nil || !slices.Equal(names(found), []string{"n1"}) {
				t.Errorf("%v finds %v, %v", e, names(found), err)
			}
		}
		for _, pattern := range []string{`(?P<x>n1)`, `\pL`, `(?i:N1)`, `n1\z`, `(?U)n1`, `\Qn1\E`} {
			var wrong *filter.Error
			found, err := s.Alarms(t.Context(), Query{Where: matching("name", pattern)})
			if err != nil && !errors.As(err, &wrong) || err == nil && !slices.Contains(names(found), "n1") {
				t.Errorf("%s finds %v, %v", pattern, names(found), err)
			}
		}
	})
}

// TestCompiledOnce: of several patterns each is compiled once, not again for each row.
func TestCompiledOnce(t *testing.T) {
	p := patterns{compiled: map[string]*regexp.Regexp{}}
	first := map[string]*regexp.Regexp{}
	for range 3 {
		for i := range maxCompiled {
			text := fmt.Sprint("n", i)
			re, err := p.compile(text)
			ok(t, err)
			if first[text] == nil {
				first[text] = re
			}
			if re != first[text] {
				t.Fatalf("%s is compiled again", text)
			}
		}
	}
	_, err := p.compile("one more")
	ok(t, err)
	if len(p.compiled) > maxCompiled {
		t.Errorf("%d are kept", len(p.compiled))
	}
}

// TestWhileListing: whatever happens to alarms that are listed at the time, each is listed
// once, or not at all if it is not one of them any more.
func TestWhileListing(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		alarms := named(t, s, 3*page-10)
		slices.Reverse(alarms) // the newest come first
		gone, moved, renamed := alarms[2*page], alarms[2*page+1], alarms[2*page+2]
		var got []string
		parts := 0
		ok(t, s.EachAlarm(ctx, Query{Where: filter.Compare{Field: "name", Op: "!=", Value: "secret"}}, func(list []*Alarm) error {
			got = append(got, names(list)...)
			if parts++; parts == 1 {
				ok(t, s.Delete(ctx, gone.ID, nil))
				moved.Changed = time.Now().UTC()
				ok(t, s.Update(ctx, moved, nil, nil))
				renamed.Name = "secret"
				ok(t, s.Update(ctx, renamed, nil, nil))
				named(t, s, 1)
			}
			return nil
		}))
		want := append(names(alarms[:2*page:2*page]), moved.Name)
		want = append(want, names(alarms[2*page+3:])...)
		if parts != 3 || !slices.Equal(got, want) {
			t.Errorf("in %d parts, %d are listed: %v", parts, len(got), got)
		}
		stop := errors.New("enough")
		if err := s.EachAlarm(ctx, Query{}, func([]*Alarm) error { return stop }); !errors.Is(err, stop) {
			t.Error(err)
		}
		first, err := s.Alarms(ctx, Query{Limit: page + 1, Order: []filter.Order{{Field: "alarm_id"}}})
		ok(t, err)
		rest, err := s.Alarms(ctx, Query{Marker: first[page].ID, Order: []filter.Order{{Field: "alarm_id"}}})
		if err != nil || len(first) != page+1 || len(first)+len(rest) != len(alarms) || first[page].ID.String() >= rest[0].ID.String() {
			t.Errorf("%d and %d, %v", len(first), len(rest), err)
		}
	})
}

// TestDamagedAlarm: one that can't be read keeps nobody from listing the others.
func TestDamagedAlarm(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		alarms := named(t, s, 3)
		ok(t, s.change(t.Context(), func(ctx context.Context, db *database.Session) error {
			_, err := db.Exec(ctx, "UPDATE alarm SET rule = ? WHERE id = ?", "{", db.UUID(alarms[1].ID))
			return err
		}))
		found, err := s.Alarms(t.Context(), Query{})
		if err != nil || !slices.Equal(names(found), []string{"n2", "n0"}) {
			t.Errorf("%v, %v", names(found), err)
		}
	})
}

// TestQuotaTwice: both databases take the last of two limits.
func TestQuotaTwice(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ok(t, s.SetQuotas(t.Context(), "p", []Quota{{"alarms", 3}, {"alarms", 4}}))
		if q, err := s.Quotas(t.Context(), "p"); err != nil || !slices.Equal(q, []Quota{{"alarms", 4}}) {
			t.Errorf("%v, %v", q, err)
		}
	})
}

// BenchmarkPatterns searches among 3,000 alarms with regular expressions.
func BenchmarkPatterns(b *testing.B) {
	for _, n := range []int{1, 2, 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := Open(b.Context(), Options{URL: filepath.Join(b.TempDir(), "alarms.sqlite")})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			named(b, s, 3000)
			e := filter.Or{}
			for i := range n {
				e = append(e, filter.Compare{Field: "name", Op: "=~", Value: fmt.Sprintf("z%d(a|b|c)*$", i)})
			}
			for b.Loop() {
				if found, err := s.Alarms(b.Context(), Query{Where: e}); err != nil || len(found) > 0 {
					b.Fatal(len(found), err)
				}
			}
		})
	}
}
