package database

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/integration/parts"
)

func count(tb testing.TB, d *DB, table string) (n int) {
	tb.Helper()
	ok(tb, d.Read(tb.Context(), func(s *Session) error {
		_, err := s.One(tb.Context(), "SELECT count(*) FROM "+table, nil, &n)
		return err
	}))
	return n
}

func put(ctx context.Context, s *Session, name string) error {
	_, err := s.Exec(ctx, "INSERT INTO thing (id, name, size) VALUES (?, ?, ?)", s.UUID(uuid.New()), name, 1.5)
	return err
}

func TestTransactions(t *testing.T) {
	both(t, func(t *testing.T, d *DB) {
		ctx := t.Context()
		ok(t, d.Write(ctx, func(s *Session) error { return put(ctx, s, "a") }))
		ours := errors.New("ours")
		if err := d.Write(ctx, func(s *Session) error { return errors.Join(put(ctx, s, "b"), ours) }); !errors.Is(err, ours) {
			t.Fatalf("got %v", err)
		}
		if n := count(t, d, "thing"); n != 1 {
			t.Fatalf("%d rows after one transaction was undone", n)
		}
		// One that asks for it is called once more, from the state of before.
		calls := 0
		ok(t, d.Write(ctx, func(s *Session) error {
			if err := put(ctx, s, "again"); err != nil {
				return err
			}
			if calls++; calls < 3 {
				return fmt.Errorf("lost a race: %w", ErrAgain)
			}
			return nil
		}))
		if n := count(t, d, "thing"); calls != 3 || n != 2 {
			t.Fatalf("%d calls, %d rows", calls, n)
		}
		if err := d.Write(ctx, func(*Session) error { return ErrAgain }); !errors.Is(err, ErrAgain) {
			t.Fatalf("got %v of a transaction that never is lucky", err)
		}
		// A view sees one state, whatever is written meanwhile.
		ok(t, d.View(ctx, func(s *Session) error {
			var before, after int
			if _, err := s.One(ctx, "SELECT count(*) FROM thing", nil, &before); err != nil {
				return err
			}
			if err := d.Write(ctx, func(w *Session) error { return put(ctx, w, "meanwhile") }); err != nil {
				return err
			}
			_, err := s.One(ctx, "SELECT count(*) FROM thing", nil, &after)
			if before != after {
				t.Errorf("a view saw %d rows, then %d", before, after)
			}
			return err
		}))
		if err := d.View(ctx, func(s *Session) error { return put(ctx, s, "no") }); err == nil {
			t.Error("a view wrote")
		}
	})
}

func TestErrors(t *testing.T) {
	both(t, func(t *testing.T, d *DB) {
		ctx := t.Context()
		ok(t, d.Write(ctx, func(s *Session) error { return put(ctx, s, "a") }))
		if err := d.Write(ctx, func(s *Session) error { return put(ctx, s, "a") }); !IsUnique(err) || IsForeign(err) {
			t.Errorf("the same name: got %v", err)
		}
		exec := func(query string, args ...any) error {
			return d.Write(ctx, func(s *Session) error { _, err := s.Exec(ctx, query, args...); return err })
		}
		if err := exec("INSERT INTO part (name) VALUES (?)", "nobody"); !IsForeign(err) || IsUnique(err) {
			t.Errorf("a part of nothing: got %v", err)
		}
		for _, text := range []string{"a\x00b", "\xff"} {
			if err := exec("INSERT INTO part (name) VALUES (?)", text); !errors.Is(err, ErrText) {
				t.Errorf("%q: got %v", text, err)
			}
		}
		if err := exec("INSERT INTO nowhere (name) VALUES (?)", "a"); err == nil || errors.Is(err, ErrUnavailable) {
			t.Errorf("no such table: got %v", err)
		}
		ok(t, d.Read(ctx, func(s *Session) error {
			found, err := s.One(ctx, "SELECT name FROM thing WHERE name = ?", []any{"b"}, new(string))
			if found {
				t.Error("found what is not there")
			}
			return err
		}))
		stop := errors.New("stop")
		err := d.Read(ctx, func(s *Session) error {
			rows, err := s.Query(ctx, "SELECT name FROM thing")
			return Each(rows, err, func(*sql.Rows) error { return stop })
		})
		if !errors.Is(err, stop) {
			t.Errorf("got %v", err)
		}
	})
}

// A transaction whose caller has gone is undone, and the next one goes on.
func TestCancelled(t *testing.T) {
	both(t, func(t *testing.T, d *DB) {
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			err := d.Write(ctx, func(s *Session) error {
				if err := put(ctx, s, "a"); err != nil {
					return err
				}
				cancel()
				return put(ctx, s, "b")
			})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			ok(t, d.Write(t.Context(), func(s *Session) error { return put(t.Context(), s, uuid.NewString()) }))
		}
		if n := count(t, d, "thing"); n != 5 {
			t.Fatalf("%d rows", n)
		}
	})
}

func TestInsert(t *testing.T) {
	both(t, func(t *testing.T, d *DB) {
		ctx := t.Context()
		for _, rows := range []int{0, 1, 7, 1000, 3001} {
			ok(t, d.Write(ctx, func(s *Session) error {
				if _, err := s.Exec(ctx, "DELETE FROM thing"); err != nil {
					return err
				}
				var values []any
				for i := range rows {
					values = append(values, s.UUID(uuid.New()), fmt.Sprint("name", i), float64(i), []byte{byte(i)})
				}
				for _, want := range []int{rows, 0} {
					n, err := s.Insert(ctx, "thing (id, name, size, data)", 4, values, "ON CONFLICT (name) DO NOTHING")
					if err != nil {
						return err
					}
					if n != int64(want) {
						t.Errorf("%d of %d rows were inserted", n, want)
					}
				}
				return nil
			}))
			var sum float64
			var name string
			ok(t, d.Read(ctx, func(s *Session) error {
				_, err := s.One(ctx, "SELECT coalesce(sum(size), 0), coalesce(max(name), '') FROM thing", nil, &sum, &name)
				return err
			}))
			if want := float64(rows*(rows-1)) / 2; count(t, d, "thing") != rows || sum != want {
				t.Fatalf("%d rows with the sum %v, want %d and %v", count(t, d, "thing"), sum, rows, want)
			}
		}
	})
}

func TestMigrate(t *testing.T) {
	both(t, func(t *testing.T, d *DB) {
		ctx := t.Context()
		newer := fstest.MapFS{"0001.sql": schema["0001.sql"], "0002.sql": {Data: []byte("INSERT INTO part (name) SELECT name FROM thing;\nALTER TABLE part ADD COLUMN n {int};\n")}}
		ok(t, d.Write(ctx, func(s *Session) error { return put(ctx, s, "a") }))
		for range 2 {
			ok(t, d.Migrate(ctx, "things_version", newer))
		}
		if n := count(t, d, "part"); n != 1 {
			t.Errorf("the second version was made %d times", n)
		}
		if err := d.Migrate(ctx, "things_version", schema); err == nil || !strings.Contains(err.Error(), "the test has schema version 2") || !strings.Contains(err.Error(), "newer") {
			t.Errorf("got %v for tables of a newer program", err)
		}
		// Another user of the same database.
		ok(t, d.Migrate(ctx, "others_version", fstest.MapFS{"1.sql": {Data: []byte("CREATE TABLE other (id {int} NOT NULL PRIMARY KEY){clustered}")}}))
		// What fails leaves the version before.
		broken := fstest.MapFS{"1.sql": newer["0001.sql"], "2.sql": newer["0002.sql"], "3.sql": {Data: []byte("CREATE TABLE third (id {int});\nNONSENSE;\n")}}
		if err := d.Migrate(ctx, "things_version", broken); err == nil || !strings.Contains(err.Error(), "version 3") {
			t.Errorf("got %v for nonsense", err)
		}
		ok(t, d.Migrate(ctx, "things_version", newer))
	})
}

// Several processes may open and migrate at once.
func TestMigrateAtOnce(t *testing.T) {
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where := where(t, name)
			results := make(chan error, 6)
			for range cap(results) {
				go func() {
					d, err := Open(t.Context(), Options{URL: where, What: "the test"})
					if err == nil {
						err = errors.Join(d.Migrate(t.Context(), "things_version", schema), d.Close())
					}
					results <- err
				}()
			}
			for range cap(results) {
				ok(t, <-results)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with space#and%?.sqlite")
	d := open(t, path)
	if d.Path() != path || d.Shared() {
		t.Errorf("opened %q", d.Path())
	}
	info, err := os.Stat(path)
	ok(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has the mode %v", info.Mode())
	}
	for range 3 {
		ok(t, d.Close())
	}
	if err := d.Write(t.Context(), func(*Session) error { return nil }); err == nil {
		t.Error("a closed database was written")
	}
	garbage := filepath.Join(t.TempDir(), "garbage")
	ok(t, os.WriteFile(garbage, bytes.Repeat([]byte("no database "), 1000), 0o600))
	for _, bad := range []string{garbage, filepath.Join(t.TempDir(), "no", "such", "folder"), "postgres://user:secret@127.0.0.1:1/x", "postgres://user:secret@[:x"} {
		_, err := Open(t.Context(), Options{URL: bad, What: "the test"})
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "the test") {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	for url, good := range map[string]bool{
		"": true, "/var/lib/x.sqlite": true, "postgres://a:secret@b/c": true, "postgresql://b/c": true,
		"mysql://a:secret@b/c": false, "postgres://user:secret@[:x": false,
	} {
		if err := CheckURL(url); (err == nil) != good || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", url, err)
		}
	}
}

// A transaction that may have been made, as its last answer was lost, is not made again.
func TestUnknown(t *testing.T) {
	t.Parallel()
	f := parts.NewForgetful(t, server.Database())
	d := open(t, f.URL)
	ok(t, d.Migrate(t.Context(), "things_version", schema))
	f.Forget(100)
	calls := 0
	err := d.Write(t.Context(), func(s *Session) error {
		calls++
		return put(t.Context(), s, fmt.Sprint(calls))
	})
	if calls != 1 || !errors.Is(err, ErrUnavailable) || !errors.Is(err, ErrUnknown) || f.Lost() != 1 {
		t.Errorf("it was tried %d times: %v", calls, err)
	}
	f.Forget(0)
	if n := count(t, d, "thing"); n != 1 {
		t.Errorf("there are %d rows", n)
	}
}

// A server that is restarted costs those who wait nothing, and one that is away is told
// of once.
func TestAway(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := parts.PostgreSQL(t)
	var log bytes.Buffer
	d, err := Open(ctx, Options{URL: server.Database(), What: "the test", Log: slog.New(slog.NewTextHandler(&log, nil))})
	ok(t, err)
	defer func() { ok(t, d.Close()) }()
	ok(t, d.Migrate(ctx, "things_version", schema))
	read := func() error {
		return d.View(ctx, func(s *Session) error {
			_, err := s.One(ctx, "SELECT count(*) FROM thing", nil, new(int))
			return err
		})
	}
	for range 3 {
		server.Restart()
		ok(t, d.Write(ctx, func(s *Session) error { return put(ctx, s, uuid.NewString()) }))
		ok(t, read())
	}
	server.Stop()
	for range 3 {
		if err := read(); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("got %v of a server that is away", err)
		}
	}
	server.Start()
	ok(t, read())
	if text := log.String(); strings.Count(text, "the test is away") != 1 || strings.Count(text, "the test is back") != 1 {
		t.Errorf("the log has\n%s", text)
	}
}

// childEnv names the database in which a child process of the test makes rows.
const childEnv = "NEPHO_DATABASE_TEST_CHILD"

// TestChild is not a test by itself: it writes rows, and says so after each
// transaction, until it is killed.
func TestChild(t *testing.T) {
	where := os.Getenv(childEnv)
	if where == "" {
		t.Skip("run by TestKill9")
	}
	d := open(t, where)
	ok(t, d.Migrate(t.Context(), "things_version", schema))
	for n := count(t, d, "thing") / 2; ; n++ {
		ok(t, d.Write(t.Context(), func(s *Session) error {
			return errors.Join(put(t.Context(), s, fmt.Sprint("a", n)), put(t.Context(), s, fmt.Sprint("b", n)))
		}))
		fmt.Printf("written %d.\n", n)
	}
}

// What a process was told is there when it is killed at any moment, and nothing by
// half.
func TestKill9(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where := where(t, name)
			told := -1
			for round := range 3 {
				cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
				cmd.Env = append(os.Environ(), childEnv+"="+where)
				out, err := cmd.StdoutPipe()
				ok(t, err)
				ok(t, cmd.Start())
				lines := bufio.NewScanner(out)
				for n := 0; lines.Scan(); n++ {
					if n == 20+round*13 {
						ok(t, cmd.Process.Kill())
					}
					var number int
					if _, err := fmt.Sscanf(lines.Text(), "written %d.", &number); err == nil {
						told = number
					}
				}
				if cmd.Wait() == nil {
					t.Fatal("the child ended by itself")
				}
				if n := count(t, open(t, where), "thing"); n%2 != 0 || n/2 <= told {
					t.Fatalf("%d rows are there, and transaction %d was acknowledged", n, told)
				}
			}
		})
	}
}

func BenchmarkInsert(b *testing.B) {
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run(name, func(b *testing.B) {
			d := open(b, where(b, name))
			ok(b, d.Migrate(b.Context(), "things_version", schema))
			b.ReportAllocs()
			rows := 0
			for b.Loop() {
				ok(b, d.Write(b.Context(), func(s *Session) error {
					var values []any
					for range 1000 {
						id := uuid.New()
						values = append(values, s.UUID(id), id.String(), 1.5, id[:])
					}
					rows += 1000
					_, err := s.Insert(b.Context(), "thing (id, name, size, data)", 4, values, "")
					return err
				}))
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
