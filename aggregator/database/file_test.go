package database

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// things opens an SQLite file with the tests' tables.
func things(t *testing.T) *DB {
	t.Helper()
	d := open(t, where(t, "sqlite"))
	ok(t, d.Migrate(t.Context(), "things_version", schema))
	return d
}

func TestCopy(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := things(t)
	ok(t, d.Write(ctx, func(s *Session) error { return put(ctx, s, "a") }))
	// With connections that were used before, each of which goes.
	for range 2 * cap(d.views.kept) {
		path := where(t, "sqlite")
		ok(t, d.Copy(ctx, path))
		if n := count(t, open(t, path), "thing"); n != 1 {
			t.Fatalf("%d rows in the copy", n)
		}
	}
	if err := d.Copy(ctx, filepath.Join(t.TempDir(), "no", "folder")); err == nil {
		t.Error("copied into a folder that is not there")
	}
	ok(t, d.Write(ctx, func(s *Session) error { return put(ctx, s, "b") }))
	if err := d.View(ctx, func(s *Session) error { return put(ctx, s, "c") }); err == nil {
		t.Error("a view writes after a copy")
	}
}

func TestPrepared(t *testing.T) {
	t.Parallel()
	d := things(t)
	count(t, d, "thing")
	if list := d.Prepared(); !slices.Contains(list, "SELECT count(*) FROM thing") {
		t.Errorf("got %q", list)
	}
}

// A full disk refuses changes for a while, and reads go on.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := things(t)
	limit := func(pragma string) {
		t.Helper()
		ok(t, d.writers.with(ctx, func(s *Session) error {
			_, err := s.conn.ExecContext(ctx, pragma)
			return err
		}))
	}
	fill := func() (err error) {
		for i := 0; err == nil && i < 1000; i++ {
			err = d.Write(ctx, func(s *Session) error { return put(ctx, s, strings.Repeat("n", 1000)+uuid.NewString()) })
		}
		return err
	}
	limit("PRAGMA max_page_count = 30")
	if err := fill(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), d.path) || !strings.Contains(err.Error(), "no more room") {
		t.Errorf("a change without space: %v", err)
	}
	before := count(t, d, "thing")
	limit("PRAGMA max_page_count = 1000000")
	ok(t, fill())
	if now := count(t, d, "thing"); now != before+1000 {
		t.Errorf("%d rows, there were %d and 1000 were added", now, before)
	}
}

// A damaged file is told as such, with what to do: where it is opened, or when what is
// damaged is read.
func TestDamage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := where(t, "sqlite")
	d, err := Open(ctx, Options{URL: path, What: "the test"})
	ok(t, err)
	ok(t, d.Migrate(ctx, "things_version", schema))
	ok(t, d.Write(ctx, func(s *Session) error {
		for range 2000 {
			if err := put(ctx, s, uuid.NewString()); err != nil {
				return err
			}
		}
		return nil
	}))
	ok(t, d.Close())
	whole, err := os.ReadFile(path)
	ok(t, err)
	for name, damage := range map[string]func([]byte){
		"header": func(b []byte) { copy(b, bytes.Repeat([]byte{0x55}, 100)) },
		"schema": func(b []byte) { copy(b[100:4096], bytes.Repeat([]byte{0x55}, 4096)) },
		"rows":   func(b []byte) { copy(b[len(b)/3:], bytes.Repeat([]byte{0x55}, len(b)/2)) },
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(whole)
			damage(b)
			path := where(t, "sqlite")
			ok(t, os.WriteFile(path, b, 0o600))
			err := func() error {
				d, err := Open(ctx, Options{URL: path, What: "the test"})
				if err != nil {
					return err
				}
				defer func() { ok(t, d.Close()) }()
				if err := d.Migrate(ctx, "things_version", schema); err != nil {
					return err
				}
				return d.Read(ctx, func(s *Session) error {
					_, err := s.One(ctx, "SELECT sum(length(name)) FROM thing NOT INDEXED", nil, new(int))
					return err
				})
			}()
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "is damaged") || errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Those who wait for a connection when the database is closed, or come later, are told.
func TestClosedIsTold(t *testing.T) {
	both(t, func(t *testing.T, d *DB) {
		inside, leave := make(chan struct{}), make(chan struct{})
		results := make(chan error, 3)
		go func() {
			results <- d.Write(t.Context(), func(*Session) error { close(inside); <-leave; return nil })
		}()
		<-inside
		go func() {
			results <- d.Write(t.Context(), func(s *Session) error { return put(t.Context(), s, "x") })
		}()
		go func() { results <- d.Close() }()
		close(leave)
		for range cap(results) {
			if err := <-results; err != nil && !strings.Contains(err.Error(), "closed") {
				t.Errorf("got %v", err)
			}
		}
		if err := d.Read(context.WithoutCancel(t.Context()), func(*Session) error { return nil }); err == nil {
			t.Error("a closed database was read")
		}
	})
}
