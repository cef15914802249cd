package database

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrUnavailable is in the errors of a database that cannot be reached, or takes no
// statements at present, or no more of them since its disk is full. What was asked for
// may succeed later. A change was not made, unless [ErrUnknown] is in the error as well.
var ErrUnavailable = errors.New("the database is away")

// ErrUnknown is that the database went away when a transaction was to end, which it may have
// done before: nobody knows whether the change was made.
var ErrUnknown = errors.New("a change may have been made")

// ErrAgain, as the error of a function that was given to [DB.Write], undoes the
// transaction and starts it once more: what it had read was changed by another.
var ErrAgain = errors.New("the database was changed by others again and again")

// ErrText is in the errors of statements with a text that is no UTF-8, or has a
// character of code 0, which PostgreSQL can't hold: both refuse it.
var ErrText = errors.New("is no text in UTF-8, or has a character of code 0")

func checkArgs(args []any) error {
	for _, arg := range args {
		if text, ok := arg.(string); ok && (!utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0) {
			return fmt.Errorf("%.100q %w", text, ErrText)
		}
	}
	return nil
}

// IsUnique reports whether an error says that there is a row with the same unique
// values.
func IsUnique(err error) bool {
	c := sqliteCode(err)
	return c == sqlite3.SQLITE_CONSTRAINT_UNIQUE || c == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || postgresCode(err) == "23505"
}

// IsForeign reports whether an error says that a row refers to one that is not there,
// or that a row which is to go is referred to.
func IsForeign(err error) bool {
	return sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY || postgresCode(err) == "23503"
}

// Code is PostgreSQL's code of an error, of five characters, or "".
func Code(err error) string { return postgresCode(err) }

func sqliteCode(err error) int {
	var e *sqlitedriver.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

func postgresCode(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func postgresAgain(err error) bool {
	if errors.Is(err, driver.ErrBadConn) {
		return true // the server was restarted
	}
	switch postgresCode(err) {
	case "57P01", // likewise
		"40001", "40P01": // serialization failure, deadlock
		return true
	}
	return false
}

// postgresAway reports whether PostgreSQL was not reached, went away, or refuses all
// statements of a kind: the classes of its errors are in its manual's appendix A.
func postgresAway(err error) bool {
	var network net.Error
	code := postgresCode(err)
	switch {
	case errors.As(err, new(*pgconn.ConnectError)), errors.As(err, &network), errors.Is(err, pgconn.ErrConnClosed),
		errors.Is(err, driver.ErrBadConn), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return true
	case strings.HasPrefix(code, "08"), // connection exception
		strings.HasPrefix(code, "53"),  // too many connections, no space, no memory
		strings.HasPrefix(code, "57P"), // stopping, crashed, starting
		code == "25006":                // a standby, or a disk that takes no writes
		return true
	}
	return false
}

// sqliteAway reports whether the disk is full, or another process keeps the file.
func sqliteAway(err error) bool {
	primary := sqliteCode(err) & 0xff
	return primary == sqlite3.SQLITE_FULL || primary == sqlite3.SQLITE_BUSY
}

// explained adds to an error of an SQLite file what is to be done about it.
func (d *DB) explained(err error) error {
	var what string
	switch sqliteCode(err) & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		what = "is damaged; with nothing using it, put a backup in its place without the files FILE-wal and FILE-shm, or what \"sqlite3 FILE .recover\" still reads of it"
	case sqlite3.SQLITE_FULL:
		what = "has no more room; make some on its disk"
	case sqlite3.SQLITE_BUSY:
		what = fmt.Sprintf("was kept locked for %v by another process, such as a backup or an open sqlite3; end that", patience)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CANTOPEN:
		what = "cannot be written; it, the files FILE-wal and FILE-shm and its folder have to belong to the user that runs this"
	case sqlite3.SQLITE_IOERR:
		what = "cannot be read or written; look for faults of its disk in the kernel's log"
	default:
		return err
	}
	return fmt.Errorf("the file %q %s: %w", d.path, what, err)
}

// access is one way to use the database, to read or to change: either may be
// refused while the other is not. It tells the log once when it ends, and once when it
// is back.
type access struct {
	log     *slog.Logger
	of      string // Options.What
	what    string // reads, or changes
	refused atomic.Bool
}

func (a *access) given() {
	if a.refused.Load() && a.refused.Swap(false) {
		a.log.Info(a.of+" is back", "for", a.what)
	}
}

// lost gives the error of a database that is away.
func (a *access) lost(cause error) error {
	if !a.refused.Swap(true) {
		a.log.Error(a.of+" is away; what needs it is refused until it is back", "for", a.what, "error", cause)
	}
	return fmt.Errorf("%s: %w: %w", a.of, ErrUnavailable, cause)
}
