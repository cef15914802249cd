package index

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// database is an open SQLite file or a PostgreSQL database.
type database struct {
	*dialect
	path           string // of SQLite's file
	writers, views *pool
	reads, changes access
}

// Sizes of SQLite's page caches, which it fills as it needs them, and of its log: a
// page that is changed several times until the log is merged into the file is
// written there once.
const (
	writerCache = 32 << 10 // KiB
	viewCache   = 8 << 10  // KiB
	logPages    = 8 << 10  // of 4 KiB
)

// openDatabase opens what a URL or a path names.
func openDatabase(ctx context.Context, where string, log *slog.Logger) (*database, error) {
	if strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://") {
		return openPostgres(ctx, where, log)
	}
	return openSQLite(ctx, where, log)
}

func newDatabase(d *dialect, log *slog.Logger) *database {
	return &database{dialect: d, reads: access{log: log, what: "reads"}, changes: access{log: log, what: "changes"}}
}

func openPostgres(ctx context.Context, where string, log *slog.Logger) (*database, error) {
	config, err := pgx.ParseConfig(where)
	if err != nil {
		return nil, errors.New("cannot open the index: its URL is no URL of PostgreSQL") // the driver's error has the password
	}
	// A plan that was made when tables were small is not kept while they grow. None of
	// the statements is worth to be compiled.
	settle := func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SET plan_cache_mode = force_custom_plan; SET jit = off")
		return err
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(settle))
	// Writers wait for views of none and views for writers of none, so that both
	// may be taken from the same connections.
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	d := newDatabase(&postgresDialect, log)
	d.writers = &pool{db: db, dialect: d.dialect}
	d.views = d.writers
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("cannot reach the index in PostgreSQL: %w", err)
	}
	return d, nil
}

func openSQLite(ctx context.Context, path string, log *slog.Logger) (*database, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the index: %w", err)
	}
	// SQLite would let everybody read it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the index: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("cannot open the index: %w", err)
	}
	open := func(pragmas ...string) *sql.DB {
		q := url.Values{"_pragma": append([]string{"busy_timeout(10000)", "journal_mode(wal)", "foreign_keys(on)", "trusted_schema(off)"}, pragmas...)}
		db, openErr := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String())
		err = errors.Join(err, openErr)
		return db
	}
	// With synchronous=NORMAL a transaction would be durable only at the next
	// checkpoint of SQLite's log: a metric whose points were acknowledged, and are in
	// the engine's log, could be gone after a loss of power.
	writer := open("synchronous(full)", fmt.Sprintf("cache_size(-%d)", writerCache),
		fmt.Sprintf("wal_autocheckpoint(%d)", logPages), fmt.Sprintf("journal_size_limit(%d)", 2*4096*logPages))
	view := open("query_only(on)", fmt.Sprintf("cache_size(-%d)", viewCache))
	if err != nil {
		return nil, fmt.Errorf("cannot open the index: %w", err)
	}
	d := newDatabase(&sqliteDialect, log)
	d.path = path
	d.writers = newKeptPool(writer, d.dialect, 1)
	d.views = newKeptPool(view, d.dialect, max(4, 2*runtime.GOMAXPROCS(0)))
	if err := d.writers.with(ctx, func(*session) error { return nil }); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the index %q: %w", path, err), d.close())
	}
	return d, nil
}

func (d *database) close() error {
	err := d.writers.close()
	if d.views != d.writers {
		err = errors.Join(err, d.views.close())
	}
	return err
}

// pool is connections. Those of SQLite are kept together with the statements that
// were prepared on them; for PostgreSQL the driver does so.
type pool struct {
	db      *sql.DB
	dialect *dialect
	kept    chan *session // nil for PostgreSQL; holds nil where none is open
}

func newKeptPool(db *sql.DB, d *dialect, size int) *pool {
	p := &pool{db: db, dialect: d, kept: make(chan *session, size)}
	for range size {
		p.kept <- nil
	}
	return p
}

// with calls f with a connection of its own.
func (p *pool) with(ctx context.Context, f func(*session) error) (err error) {
	var s *session
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
		s = &session{conn: conn, dialect: p.dialect}
		if p.kept == nil {
			defer conn.Close()
		}
	}
	defer func() {
		if s.broken {
			s.forget(driver.ErrBadConn)
			s = nil
		}
	}()
	return f(s)
}

// close closes the connections that are not in use; the caller sees to it that none is.
func (p *pool) close() error {
	for range cap(p.kept) {
		if s := <-p.kept; s != nil {
			s.forget(nil)
		}
	}
	return p.db.Close()
}

// session is a connection, for one goroutine at a time.
type session struct {
	conn     *sql.Conn
	dialect  *dialect
	prepared map[string]*sql.Stmt
	broken   bool // is not to be used again
}

// forget closes the prepared statements, before the connection goes. With
// driver.ErrBadConn as the reason, database/sql does not keep it either. None of
// this can fail in a way that matters.
func (s *session) forget(reason error) {
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
func (s *session) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
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

// checkArgs refuses texts that PostgreSQL can't hold, for both.
func checkArgs(args []any) error {
	for _, arg := range args {
		if text, ok := arg.(string); ok {
			if err := checkText(fmt.Sprintf("%q", text), text); err != nil {
				return err
			}
		}
	}
	return nil
}

// query runs a statement that gives rows. Its text is one of not very many.
func (s *session) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := checkArgs(args); err != nil {
		return nil, err
	}
	if s.dialect.numbered {
		return s.queryOnce(ctx, query, args...)
	}
	stmt, err := s.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// queryOnce runs a statement that is hardly ever the same.
func (s *session) queryOnce(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := checkArgs(args); err != nil {
		return nil, err
	}
	if s.dialect.numbered {
		query = number(query)
	}
	return s.conn.QueryContext(ctx, query, args...)
}

// exec runs a statement that gives no rows, and gives how many it changed.
func (s *session) exec(ctx context.Context, query string, args ...any) (int64, error) {
	var (
		r   sql.Result
		err error
	)
	if err := checkArgs(args); err != nil {
		return 0, err
	}
	if s.dialect.numbered {
		r, err = s.conn.ExecContext(ctx, number(query), args...)
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

// define runs statements of a schema.
func (s *session) define(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := s.conn.ExecContext(ctx, s.dialect.words.Replace(statement)); err != nil {
			return fmt.Errorf("%w in %s", err, statement)
		}
	}
	return nil
}

// one reads the only row of a query; found is false without any.
func (s *session) one(ctx context.Context, query string, args []any, into ...any) (found bool, err error) {
	rows, err := s.query(ctx, query, args...)
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

// each calls f for each row; f scans it.
func each(rows *sql.Rows, err error, f func(*sql.Rows) error) error {
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

// errAgain undoes a transaction and starts it once more: what it had read was
// changed by another.
var errAgain = errors.New("the index was changed by others again and again")

// attempts is how often a transaction is tried: more often than there are
// connections that a restart of the server may have broken.
const attempts = connections + 4

// connections is how many there are to PostgreSQL at most.
const connections = 16

// transact calls f in a transaction, again if others were in its way.
func (d *database) transact(ctx context.Context, p *pool, begin string, f func(*session) error) error {
	a := &d.reads
	if begin == d.begin {
		a = &d.changes
	}
	return d.try(ctx, p, a, func(s *session) error { return s.transact(ctx, begin, f) })
}

// read calls f with a connection that reads.
func (d *database) read(ctx context.Context, f func(*session) error) error {
	return d.try(ctx, d.views, &d.reads, f)
}

func (d *database) try(ctx context.Context, p *pool, a *access, f func(*session) error) error {
	for attempt := 1; ; attempt++ {
		err := p.with(ctx, f)
		switch {
		case err == nil:
			a.given()
			return nil
		case ctx.Err() != nil:
			return ctx.Err() // which drivers have other words for
		case attempt < attempts && (errors.Is(err, errAgain) || d.again(err)):
		case d.away(err):
			return a.lost(err)
		default:
			return err
		}
	}
}

func (s *session) transact(ctx context.Context, begin string, f func(*session) error) error {
	if _, err := s.exec(ctx, begin); err != nil {
		return err
	}
	// From here on the connection has to leave the transaction, also when the one who asked is gone.
	always := context.WithoutCancel(ctx)
	done := false
	defer func() {
		if !done {
			if _, err := s.exec(always, "ROLLBACK"); err != nil {
				s.broken = true
			}
		}
	}()
	if err := f(s); err != nil {
		return err
	}
	if _, err := s.exec(always, "COMMIT"); err != nil {
		return err
	}
	done = true
	return nil
}
