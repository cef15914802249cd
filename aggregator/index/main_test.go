package index

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/integration/parts"
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

// both runs a test on each database.
func both(t *testing.T, f func(t *testing.T, x *Index)) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, open(t, where(t, name)))
		})
	}
}

// where is where a new index of a database is.
func where(tb testing.TB, database string) string {
	if database == "postgres" {
		return server.Database()
	}
	return filepath.Join(tb.TempDir(), "index.db")
}

func open(tb testing.TB, where string) *Index {
	tb.Helper()
	x, err := Open(tb.Context(), Options{URL: where, DefaultPolicies: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := x.Close(); err != nil {
			tb.Error(err)
		}
	})
	return x
}

// released waits for the processes that are being started at this moment: until they are,
// they have the lock of an index that was just closed.
func released() {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
}

// clock gives an index a time that goes on by a second for each change.
func clock(x *Index) {
	start := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	n := 0
	x.now = func() time.Time { n++; return start.Add(time.Duration(n) * time.Second) }
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func ok(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// wantError fails unless err is, or wraps, one that is equal to want.
func wantError(tb testing.TB, err, want error) {
	tb.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		if reflect.DeepEqual(e, want) {
			return
		}
	}
	tb.Fatalf("got error %#v (%v), want %#v", err, err, want)
}

func same(tb testing.TB, got, want any) {
	tb.Helper()
	if !reflect.DeepEqual(got, want) {
		tb.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

// id is a UUID that tests can name.
func id(n int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("00000000-0000-4000-8000-%012x", n))
}

func ptr[T any](v T) *T { return &v }

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
