package index

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nephoscope/nepho/integration/parts"
)

// A database that stops is told as such, by reads and by changes, and the log has it
// once; when it is back, all goes on.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	p := parts.PostgreSQL(t)
	var log bytes.Buffer
	x, err := Open(t.Context(), Options{URL: p.Database(), DefaultPolicies: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	ok(t, err)
	for round := range 2 {
		p.Stop()
		for range 3 {
			if _, err := x.Rules(t.Context()); !errors.Is(err, ErrUnavailable) {
				t.Errorf("a read without the database: %v", err)
			}
			if err := x.DeleteRule(t.Context(), "default"); !errors.Is(err, ErrUnavailable) {
				t.Errorf("a change without the database: %v", err)
			}
		}
		p.Start()
		if rules, err := x.Rules(t.Context()); err != nil || len(rules) != 1 {
			t.Errorf("with the database there are the rules %v: %v", rules, err)
		}
		ok(t, x.CreateRule(t.Context(), Rule{Name: string(rune('a' + round)), Pattern: "x", Policy: "low"}))
		ok(t, x.DeleteRule(t.Context(), string(rune('a'+round))))
	}
	ok(t, x.Close())
	const away, back = `level=ERROR msg="the index is away; what needs it is refused until it is back" `, `level=INFO msg="the index is back" `
	for _, words := range []string{away + "for=reads", away + "for=changes", back + "for=reads", back + "for=changes"} {
		if n := strings.Count(log.String(), words); n != 2 {
			t.Errorf("the log has %d times %s:\n%s", n, words, &log)
		}
	}
}

// A full disk refuses changes for a while, and reads go on.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	x := open(t, where(t, "sqlite"))
	ok(t, x.database.writers.with(t.Context(), func(s *session) error {
		_, err := s.conn.ExecContext(t.Context(), "PRAGMA max_page_count = 1") // no more than there are
		return err
	}))
	var err error
	for i := 0; err == nil && i < 10_000; i++ {
		err = x.CreateRule(t.Context(), Rule{Name: strings.Repeat("n", 100) + id(i).String(), Pattern: "x", Policy: "low"})
	}
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("a change without space: %v", err)
	}
	if _, err := x.Rules(t.Context()); err != nil {
		t.Errorf("a read without space: %v", err)
	}
}

func TestPostgresAway(t *testing.T) {
	for code, want := range map[string]bool{
		"08006": true, "53100": true, "53300": true, "57P01": true, "57P02": true, "57P03": true, "25006": true,
		"23505": false, "42P01": false, "57014": false, "22P02": false,
	} {
		if got := postgresAway(&pgconn.PgError{Code: code}); got != want {
			t.Errorf("%s: %v", code, got)
		}
	}
	if postgresAway(&InvalidError{Reason: "x"}) {
		t.Error("a fault of the request is taken for the database's")
	}
}
