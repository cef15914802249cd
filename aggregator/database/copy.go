package database

import "context"

// Copy writes a consistent copy of an SQLite file to a path where there is none. It
// keeps nobody waiting.
func (d *DB) Copy(ctx context.Context, path string) error {
	return d.views.with(ctx, func(s *Session) error {
		s.broken = true // it may write from here on, so that it is not used again
		if err := s.Define(ctx, "PRAGMA query_only = off"); err != nil {
			return err
		}
		_, err := s.conn.ExecContext(ctx, "VACUUM INTO ?", path)
		return err
	})
}
