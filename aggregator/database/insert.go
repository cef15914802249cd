package database

import (
	"context"
	"strings"
)

// maxArgs is the most arguments of one statement that inserts. SQLite allows 32,766
// and PostgreSQL 65,535; beyond some hundred rows nothing is gained.
const maxArgs = 4096

// Insert inserts rows, given by their values one after another, many by each
// statement: into is a table with its columns, such as "person (id, name)", and width
// their number. It gives how many were inserted. A suffix such as ON CONFLICT DO
// NOTHING may follow.
func (s *Session) Insert(ctx context.Context, into string, width int, values []any, suffix string) (int64, error) {
	var inserted int64
	for len(values) > 0 {
		// Powers of two, so that few different statements are prepared.
		rows := 1
		for 2*rows*width <= min(len(values), maxArgs) {
			rows *= 2
		}
		n, err := s.Exec(ctx, insertion(into, width, rows, suffix), values[:rows*width]...)
		if err != nil {
			return inserted, err
		}
		inserted += n
		values = values[rows*width:]
	}
	return inserted, nil
}

func insertion(into string, width, rows int, suffix string) string {
	var b strings.Builder
	b.Grow(len(into) + len(suffix) + 20 + rows*(2*width+2))
	b.WriteString("INSERT INTO ")
	b.WriteString(into)
	b.WriteString(" VALUES ")
	for r := range rows {
		if r > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for c := range width {
			if c > 0 {
				b.WriteByte(',')
			}
			b.WriteByte('?')
		}
		b.WriteByte(')')
	}
	if suffix != "" {
		b.WriteByte(' ')
		b.WriteString(suffix)
	}
	return b.String()
}
