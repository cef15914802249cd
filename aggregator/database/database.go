// Package database keeps tables in an SQLite file or in a PostgreSQL database, by one
// code path: what a plugin has to remember beyond samples goes through it. It opens
// and closes (open.go), runs transactions and tries them again (database.go), runs
// statements (session.go), inserts many rows at once (insert.go), brings schemas up
// to date (migrate.go), and says what an error means (errors.go).
//
// Statements are written once, in the SQL that both understand, with ? as the
// placeholder and without any other question mark. What differs in schemas stands in
// braces; see [DB.Migrate].
//
// What Write was asked for is on disk when it returns nil, also after a loss of power,
// as far as the server of PostgreSQL is set up so.
package database

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// DB is an open database. Its methods may be called concurrently.
type DB struct {
	*dialect
	path           string // of SQLite's file
	writers, views *pool
	reads, changes access
	retry          func(error) bool
	attempts       int
	closing        sync.Once
	closed         error
}

// Options of [Open].
type Options struct {
	// URL is postgres://..., or the path of a SQLite file, which is made with access
	// for its owner only.
	URL string
	// What names what is kept in errors and the log, such as "the index".
	What string
	// Log is told when the database goes away and when it is back; nil: nobody is.
	Log *slog.Logger
	// Connections is the most of them to PostgreSQL, and the most views of SQLite; 0
	// is 16 and twice the number of CPUs, which they are taken for.
	Connections int
	// WriterCache and ViewCache are the most bytes of SQLite's pages that the
	// connection that writes, and each of those that read, keeps in memory while it is
	// used; 0 is 32 and 8 MiB. LogSize is how long its log gets before it is merged into the file: a
	// page that is changed several times until then is written there once; 0 is 32 MiB.
	WriterCache, ViewCache, LogSize int
	// Again, if set, reports further errors after which a transaction is tried again
	// at once.
	Again func(error) bool
}

// Shared reports whether other processes may change the database: PostgreSQL.
func (d *DB) Shared() bool { return d.shared }

// Path is the absolute path of SQLite's file, "" of PostgreSQL.
func (d *DB) Path() string { return d.path }

// Close closes the database, after what is under way. Only its first call does
// anything, others give the same error.
func (d *DB) Close() error {
	d.closing.Do(func() {
		d.closed = d.writers.close()
		if d.views != d.writers {
			d.closed = errors.Join(d.closed, d.views.close())
		}
	})
	return d.closed
}

// Write calls f in a transaction that writes. f is called again, from its beginning,
// when others were in the way or the server was restarted, so that what it leaves
// behind elsewhere has to be set anew each time. An error of f undoes the transaction
// and is given back. The error wraps [ErrUnavailable] where the database is away; a
// transaction whose end was under way by then is not tried again: [ErrUnknown].
func (d *DB) Write(ctx context.Context, f func(*Session) error) error {
	return d.try(ctx, d.writers, &d.changes, func(s *Session) error { return s.transact(ctx, d.begin, f) })
}

// View calls f in a transaction that shows one state of the database and does not
// write. It waits for no writer. f may be called again, as by [DB.Write].
func (d *DB) View(ctx context.Context, f func(*Session) error) error {
	return d.try(ctx, d.views, &d.reads, func(s *Session) error { return s.transact(ctx, d.view, f) })
}

// Read calls f without a transaction, for a single statement that reads. f may be
// called again, as by [DB.Write].
func (d *DB) Read(ctx context.Context, f func(*Session) error) error {
	return d.try(ctx, d.views, &d.reads, f)
}

// try calls f with a connection, again if that may help at once.
func (d *DB) try(ctx context.Context, p *pool, a *access, f func(*Session) error) error {
	for attempt := 1; ; attempt++ {
		err := p.with(ctx, f)
		switch {
		case err == nil:
			a.given()
			return nil
		case over(ctx) != nil:
			return over(ctx) // which drivers have other words for
		case attempt < d.attempts && !errors.Is(err, ErrUnknown) && (errors.Is(err, ErrAgain) || d.again(err) || d.retry != nil && d.retry(err)):
		case d.away(err):
			return a.lost(d.explained(err))
		default:
			return d.explained(err)
		}
	}
}

// over is why a context is over. Those who were given its deadline may notice before it does.
func over(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// ending is how long the end of a transaction may take. SQLite may merge its log then.
const ending = time.Minute

func (s *Session) transact(ctx context.Context, begin string, f func(*Session) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := s.Exec(ctx, begin); err != nil {
		s.broken = true // it may have begun nevertheless
		return err
	}
	// From here on the connection has to leave the transaction, also when the one who
	// asked is gone.
	end := func(how string) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ending)
		defer cancel()
		_, err := s.Exec(ctx, how)
		return err
	}
	done := false
	defer func() {
		if !done && end("ROLLBACK") != nil {
			s.broken = true
		}
	}()
	if err := f(s); err != nil {
		return err
	}
	if err := end("COMMIT"); err != nil {
		if s.dialect.shared && s.dialect.away(err) {
			// Also if the driver calls it safe to be sent again: it does so although it was sent.
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		return err
	}
	done = true
	return nil
}
