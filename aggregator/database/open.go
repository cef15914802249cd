package database

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sys/unix"
)

// IsURL reports whether where is a URL of PostgreSQL, and not the path of a file.
func IsURL(where string) bool {
	return strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://")
}

// CheckURL reports what is wrong with a place that an operator gave, without its
// password.
func CheckURL(where string) error {
	if !strings.Contains(where, "://") {
		return nil
	}
	if IsURL(where) {
		if _, err := pgx.ParseConfig(where); err == nil {
			return nil
		}
	}
	return errors.New("is neither a path nor a URL such as postgres://nepho@127.0.0.1/nepho")
}

// Open opens what a URL or a path names. An SQLite file that is not there is made; the
// database of PostgreSQL has to be there, and to be reached.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &DB{
		retry:   o.Again,
		reads:   access{log: o.Log, of: o.What, what: "reads"},
		changes: access{log: o.Log, of: o.What, what: "changes"},
	}
	open := d.openSQLite
	if IsURL(o.URL) {
		open = d.openPostgres
	}
	if err := open(ctx, o); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *DB) openPostgres(ctx context.Context, o Options) error {
	d.dialect = &postgres
	config, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return fmt.Errorf("cannot open %s: its URL is no URL of PostgreSQL", o.What) // the driver's error has the password
	}
	// A plan that was made when tables were small is not kept while they grow. None of
	// the statements is worth to be compiled.
	settle := func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SET plan_cache_mode = force_custom_plan; SET jit = off")
		return err
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = patience
	}
	config.DialFunc = (&net.Dialer{KeepAlive: patience, Control: giveUp}).DialContext
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(settle))
	// Writers wait for views of none and views for writers of none, so that both
	// may be taken from the same connections.
	connections := cmp.Or(o.Connections, 16)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	d.writers = &pool{db: db, dialect: d.dialect}
	d.views = d.writers
	// More often than there are connections that a restart of the server may have broken.
	d.attempts = connections + 4
	if err := db.PingContext(ctx); err != nil {
		return errors.Join(fmt.Errorf("cannot reach %s in PostgreSQL: %w", o.What, err), db.Close())
	}
	return nil
}

// patience is how long an SQLite file may be locked by another process, and a
// server of PostgreSQL may take to answer a new connection.
const patience = 10 * time.Second

// silence is how long a server's machine may leave what was sent to it without
// an acknowledgement. By itself the kernel waits for a quarter of an hour.
const silence = 30 * time.Second

func giveUp(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
	})
	return errors.Join(err, failed)
}

func (d *DB) openSQLite(ctx context.Context, o Options) error {
	d.dialect = &sqlite
	failed := func(err error) error { return fmt.Errorf("cannot open %s in %q: %w", o.What, o.URL, d.explained(err)) }
	path, err := filepath.Abs(o.URL)
	if err != nil {
		return failed(err)
	}
	d.path = path
	// SQLite would let everybody read it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return failed(err)
	}
	if err := f.Close(); err != nil {
		return failed(err)
	}
	open := func(pragmas ...string) *sql.DB {
		q := url.Values{"_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", patience.Milliseconds()), "journal_mode(wal)", "foreign_keys(on)", "trusted_schema(off)"}, pragmas...)}
		db, openErr := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String())
		err = errors.Join(err, openErr)
		return db
	}
	cache := func(size, otherwise int) string {
		return fmt.Sprintf("cache_size(-%d)", cmp.Or(size, otherwise)>>10)
	}
	const page = 4096
	logSize := cmp.Or(o.LogSize, 32<<20)
	// With synchronous=NORMAL a transaction would be durable only at the next
	// checkpoint of SQLite's log.
	writer := open("synchronous(full)", cache(o.WriterCache, 32<<20),
		fmt.Sprintf("wal_autocheckpoint(%d)", logSize/page), fmt.Sprintf("journal_size_limit(%d)", 2*logSize))
	view := open("query_only(on)", cache(o.ViewCache, 8<<20))
	if err != nil {
		return failed(err)
	}
	d.writers = newKeptPool(writer, d.dialect, 1)
	d.views = newKeptPool(view, d.dialect, cmp.Or(o.Connections, max(4, 2*runtime.GOMAXPROCS(0))))
	d.attempts = 20
	if err := d.writers.with(ctx, func(*Session) error { return nil }); err != nil {
		return errors.Join(failed(err), d.Close())
	}
	return nil
}
