package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// pool is connections. Those of SQLite are kept together with the statements that
// were prepared on them; for PostgreSQL the driver does so.
type pool struct {
	db      *sql.DB
	dialect *dialect
	kept    chan *Session // nil for PostgreSQL; holds nil where none is open
	watched atomic.Bool   // it will be looked for connections that rest
}

func newKeptPool(db *sql.DB, d *dialect, size int) *pool {
	p := &pool{db: db, dialect: d, kept: make(chan *Session, size)}
	for range size {
		p.kept <- nil
	}
	return p
}

// with calls f with a connection of its own.
func (p *pool) with(ctx context.Context, f func(*Session) error) (err error) {
	var s *Session
	if p.kept != nil {
		select {
		case s = <-p.kept:
		case <-ctx.Done():
			return ctx.Err()
		}
		defer func() { p.kept <- s }()
	}
	if s == nil {
		conn, err := p.db.Conn(ctx)
		if err != nil {
			return err
		}
		s = &Session{conn: conn, dialect: p.dialect}
		if p.kept == nil {
			defer conn.Close()
		}
	}
	defer func() {
		if s.broken {
			s.forget(driver.ErrBadConn)
			s = nil
		} else if p.kept != nil {
			p.used(s)
		}
	}()
	return f(s)
}

// close closes the connections. It waits for those that are in use; when they come
// back they are not to be had again.
func (p *pool) close() error {
	for range cap(p.kept) {
		if s := <-p.kept; s != nil {
			s.forget(nil)
		}
	}
	err := p.db.Close()
	for range cap(p.kept) {
		p.kept <- nil // those who come too late are told that it is closed
	}
	return err
}

// Session is a connection, for one goroutine, while the function runs that was given it.
type Session struct {
	conn     *sql.Conn
	dialect  *dialect
	prepared map[string]*sql.Stmt
	broken   bool      // is not to be used again
	used     time.Time // last; 0 if it has no pages to give back
}

// Shared is [DB.Shared]: what is not in the SQL that both understand is chosen by it.
func (s *Session) Shared() bool { return s.dialect.shared }

// ForUpdate ends a SELECT of a writing transaction whose rows no other may change
// before it is over; ForShare one whose rows others may only read.
func (s *Session) ForUpdate() string { return s.dialect.forUpdate }

// ForShare: see [Session.ForUpdate].
func (s *Session) ForShare() string { return s.dialect.forShare }

// UUID is a UUID as an argument for a column {uuid}.
func (s *Session) UUID(id uuid.UUID) any {
	if s.dialect.shared {
		return id.String()
	}
	return id[:]
}

// forget closes the prepared statements, before the connection goes. With
// driver.ErrBadConn as the reason, database/sql does not keep it either. None of
// this can fail in a way that matters.
func (s *Session) forget(reason error) {
	for _, stmt := range s.prepared {
		stmt.Close()
	}
	s.prepared = nil
	s.conn.Raw(func(any) error { return reason })
	s.conn.Close()
}

// maxPrepared is the most statements that a connection keeps prepared.
const maxPrepared = 64

// prepare gives a statement that is prepared once per connection.
func (s *Session) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := s.prepared[query]; ok {
		return stmt, nil
	}
	if len(s.prepared) >= maxPrepared {
		for query, stmt := range s.prepared {
			stmt.Close()
			delete(s.prepared, query)
			break
		}
	}
	stmt, err := s.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, query)
	}
	if s.prepared == nil {
		s.prepared = map[string]*sql.Stmt{}
	}
	s.prepared[query] = stmt
	return stmt, nil
}

// Query runs a statement that gives rows, which are to be closed; [Each] does. The
// statement is prepared once, so its text should be one of not very many.
func (s *Session) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if s.dialect.shared {
		return s.QueryOnce(ctx, query, args...)
	}
	if err := checkArgs(args); err != nil {
		return nil, err
	}
	stmt, err := s.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// QueryOnce is [Session.Query] for a statement that is hardly ever the same.
func (s *Session) QueryOnce(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := checkArgs(args); err != nil {
		return nil, err
	}
	return s.conn.QueryContext(ctx, s.dialect.placed(query), args...)
}

// Exec runs a statement that gives no rows, and gives how many it changed. The
// statement is prepared as by [Session.Query].
func (s *Session) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := checkArgs(args); err != nil {
		return 0, err
	}
	var (
		r   sql.Result
		err error
	)
	if s.dialect.shared {
		r, err = s.conn.ExecContext(ctx, s.dialect.placed(query), args...)
	} else {
		var stmt *sql.Stmt
		if stmt, err = s.prepare(ctx, query); err == nil {
			r, err = stmt.ExecContext(ctx, args...)
		}
	}
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// One reads the only row of a query into variables; found is false without any.
func (s *Session) One(ctx context.Context, query string, args []any, into ...any) (found bool, err error) {
	rows, err := s.Query(ctx, query, args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	if !rows.Next() {
		return false, rows.Err()
	}
	if err := rows.Scan(into...); err != nil {
		return false, err
	}
	return true, rows.Close()
}

// Define runs statements of a schema, in which words in braces are replaced; see
// [DB.Migrate].
func (s *Session) Define(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if only, rest, ok := strings.Cut(statement, ":"); ok && (only == "{postgres}" || only == "{sqlite}") {
			if (only == "{postgres}") != s.dialect.shared {
				continue
			}
			statement = strings.TrimSpace(rest)
		}
		if _, err := s.conn.ExecContext(ctx, s.dialect.words.Replace(statement)); err != nil {
			return fmt.Errorf("%w in %s", err, statement)
		}
	}
	return nil
}

// Each calls f for each row, which scans it, and closes the rows. Its first two
// arguments are what [Session.Query] gives.
func Each(rows *sql.Rows, err error, f func(*sql.Rows) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Prepared gives the statements that connections keep prepared, so that their plans
// can be looked at: those of SQLite, for the driver of PostgreSQL has its own. It waits
// for what is under way.
func (d *DB) Prepared() []string {
	found := map[string]bool{}
	for _, p := range []*pool{d.writers, d.views} {
		for range cap(p.kept) {
			s := <-p.kept
			if s != nil {
				for query := range s.prepared {
					found[query] = true
				}
			}
			p.kept <- s
		}
	}
	return slices.Sorted(maps.Keys(found))
}
