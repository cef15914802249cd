package database

import (
	"context"
	"fmt"
	"hash/fnv"
	"io/fs"
	"strings"
)

// Migrate brings the tables of one user of the database to the newest schema, by files
// whose names end in .sql, in the order of their names: the first makes version 1, and
// files are only ever added. Their statements end with a semicolon at the end of a
// line. version is the table in which the version is kept: users that share a database
// have a table each. It is safe when several processes do so at once; a database that a
// newer program wrote is refused.
//
// These words are replaced in schemas:
//
//	{key}        primary key that counts by itself
//	{int}        integer of 64 bits
//	{number}     float of 64 bits
//	{bool}       truth
//	{text}       text, compared by its bytes
//	{bytes}      bytes
//	{uuid}       UUID
//	{strict}     end of a table
//	{clustered}  end of a table whose rows are kept in the order of the primary key, if small
//
// A statement that begins with {postgres}: or {sqlite}: is for that database only.
func (d *DB) Migrate(ctx context.Context, version string, files fs.FS) error {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return err
	}
	lock := fnv.New64a()
	lock.Write([]byte(version))
	return d.Write(ctx, func(s *Session) error {
		if s.Shared() {
			if _, err := s.Exec(ctx, "SELECT pg_advisory_xact_lock(?)", int64(lock.Sum64())); err != nil {
				return err
			}
		}
		if err := s.Define(ctx, "CREATE TABLE IF NOT EXISTS "+version+" (one {int} PRIMARY KEY, version {int} NOT NULL){strict}"); err != nil {
			return err
		}
		if _, err := s.Exec(ctx, "INSERT INTO "+version+" (one, version) VALUES (1, 0) ON CONFLICT DO NOTHING"); err != nil {
			return err
		}
		var is int
		if _, err := s.One(ctx, "SELECT version FROM "+version+" WHERE one = 1"+s.ForUpdate(), nil, &is); err != nil {
			return err
		}
		if is > len(names) {
			return fmt.Errorf("%s has schema version %d, and this program knows those up to %d: it was written by a newer one, use that", d.changes.of, is, len(names))
		}
		for i, name := range names[is:] {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				return err
			}
			if err := s.Define(ctx, statements(string(text))...); err != nil {
				return fmt.Errorf("cannot bring %s to schema version %d: %w", d.changes.of, is+i+1, err)
			}
		}
		_, err := s.Exec(ctx, "UPDATE "+version+" SET version = ? WHERE one = 1", len(names))
		return err
	})
}

// statements cuts the text of a schema at the semicolons that end lines, and drops
// comments that are lines of their own.
func statements(text string) []string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			kept.WriteString(line)
		}
	}
	var list []string
	for _, statement := range strings.Split(kept.String()+"\n", ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			list = append(list, statement)
		}
	}
	return list
}
