package database

import (
	"context"
	"time"
)

// rest is how long a connection to SQLite is not used until it gives back the pages that
// it has in memory. The operating system has them as well, as long as it has room.
const rest = time.Second

// used notes that a connection has just been used, and looks at it again when it may rest.
func (p *pool) used(s *Session) {
	s.used = time.Now()
	p.watch()
}

// watch has giveBack called, unless it will be.
func (p *pool) watch() {
	if p.watched.CompareAndSwap(false, true) {
		time.AfterFunc(rest, p.giveBack)
	}
}

// giveBack frees the pages of the connections that rest.
func (p *pool) giveBack() {
	p.watched.Store(false)
	for range cap(p.kept) {
		select {
		case s := <-p.kept:
			switch {
			case s == nil || s.used.IsZero(): // nothing to give
			case time.Since(s.used) < rest:
				p.watch()
			default:
				s.conn.ExecContext(context.Background(), "PRAGMA shrink_memory") //nolint:errcheck // whoever uses it next is told
				s.used = time.Time{}
			}
			p.kept <- s
		default: // the others are in use
			return
		}
	}
}
