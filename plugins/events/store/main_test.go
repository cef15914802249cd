package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
)

// server is shared by all tests; each has databases of its own.
var server *parts.PostgreSQLServer

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(m.Run()) // the test that is run as a child needs no server
	}
	code := 1
	err := parts.Run(os.Stderr, func(tb parts.TB) {
		server = parts.PostgreSQL(tb)
		code = m.Run()
	})
	if err == nil && code == 0 {
		err = parts.AwaitGoroutines()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// start is the time of tests.
var start = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

const retention = 90 * 24 * time.Hour

// both runs a test on each database.
func both(t *testing.T, f func(t *testing.T, s *Store)) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, open(t, Options{URL: where(t, name)}))
		})
	}
}

func where(tb testing.TB, name string) string {
	if name == "postgres" {
		return server.Database()
	}
	return filepath.Join(tb.TempDir(), "events.sqlite")
}

func open(tb testing.TB, o Options) *Store {
	tb.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return start }
	}
	o.Retention = cmp.Or(o.Retention, retention)
	s, err := Open(tb.Context(), o)
	ok(tb, err)
	tb.Cleanup(func() { ok(tb, s.Close()) })
	return s
}

func ok(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// add adds events, of which some are new.
func add(tb testing.TB, s *Store, fresh int, events ...sdk.Event) {
	tb.Helper()
	n, err := s.Add(tb.Context(), events)
	ok(tb, err)
	if n != fresh {
		tb.Fatalf("%d of %d events were new, want %d", n, len(events), fresh)
	}
}

// event is a plain one.
func event(id string, at time.Time, traits ...sdk.Trait) sdk.Event {
	return sdk.Event{MessageID: id, EventType: "test.happened", Generated: at, Traits: traits}
}

// all gives all events that a query is for.
func all(tb testing.TB, s *Store, q Query) []sdk.Event {
	tb.Helper()
	var list []sdk.Event
	ok(tb, s.Each(tb.Context(), q, func(events []sdk.Event) error { list = append(list, events...); return nil }))
	return list
}

func ids(events []sdk.Event) []string {
	list := make([]string, len(events))
	for i := range events {
		list[i] = events[i].MessageID
	}
	return list
}

// same compares events by their text, since what is no number is not equal to itself.
// Traits are in the order of their names.
func same(tb testing.TB, got, want []sdk.Event) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Fatalf("got %d events %.2000q, want %d %.2000q", len(got), ids(got), len(want), ids(want))
	}
	for i := range got {
		if g, w := string(got[i].AppendJSON(nil)), string(want[i].AppendJSON(nil)); g != w {
			tb.Fatalf("event %d is\n%s, want\n%s", i, g, w)
		}
	}
}

func sortTraits(e sdk.Event) sdk.Event {
	e.Traits = slices.Clone(e.Traits)
	slices.SortStableFunc(e.Traits, func(a, b sdk.Trait) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type)) })
	return e
}

// chunks gives the numbers of events of the chunks, and that of all their parts.
func chunks(tb testing.TB, s *Store) (sizes []int, parts int) {
	tb.Helper()
	ok(tb, s.db.Read(tb.Context(), func(v *database.Session) error {
		sizes = nil
		rows, err := v.Query(tb.Context(), "SELECT events FROM event_chunk ORDER BY day, first, id")
		err = database.Each(rows, err, func(rows *sql.Rows) error {
			var n int
			err := rows.Scan(&n)
			sizes = append(sizes, n)
			return err
		})
		if err != nil {
			return err
		}
		_, err = v.One(tb.Context(), "SELECT count(*) FROM event_part", nil, &parts)
		return err
	}))
	return sizes, parts
}

// change changes the database behind the store's back.
func change(tb testing.TB, s *Store, query string, args ...any) {
	tb.Helper()
	ok(tb, s.db.Write(context.Background(), func(w *database.Session) error {
		n, err := w.Exec(context.Background(), query, args...)
		if err == nil && n == 0 {
			err = errors.New("nothing was changed by " + query)
		}
		return err
	}))
}
