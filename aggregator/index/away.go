package index

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrUnavailable is in the errors of an index whose database cannot be reached, or
// takes no statements at present. What was asked for may succeed later; whether a
// change was made is not known.
var ErrUnavailable = errors.New("the index is away")

// access is one way to use the database, to read or to change: either may be
// refused while the other is not. It tells the log once when it ends, and once when it
// is back.
type access struct {
	log     *slog.Logger
	what    string // reads, or changes
	refused atomic.Bool
}

func (a *access) given() {
	if a.refused.Load() && a.refused.Swap(false) {
		a.log.Info("the index is back", "for", a.what)
	}
}

// lost gives the error of a database that is away.
func (a *access) lost(cause error) error {
	if !a.refused.Swap(true) {
		a.log.Error("the index is away; what needs it is refused until it is back", "for", a.what, "error", cause)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
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
