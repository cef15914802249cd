package index

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed schema/*.sql
var schemas embed.FS

// migrate brings the database to the newest schema. It is safe when several
// processes do so at once.
func (d *database) migrate(ctx context.Context) error {
	names, err := fs.Glob(schemas, "schema/*.sql")
	if err != nil {
		return err
	}
	return d.transact(ctx, d.writers, d.begin, func(s *session) error {
		if d.exclusive != "" {
			if _, err := s.exec(ctx, d.exclusive); err != nil {
				return err
			}
		}
		if err := s.define(ctx, "CREATE TABLE IF NOT EXISTS schema_version (one {int} PRIMARY KEY, version {int} NOT NULL){strict}"); err != nil {
			return err
		}
		if _, err := s.exec(ctx, "INSERT INTO schema_version (one, version) VALUES (1, 0) ON CONFLICT DO NOTHING"); err != nil {
			return err
		}
		var version int
		if _, err := s.one(ctx, "SELECT version FROM schema_version WHERE one = 1"+d.forUpdate, nil, &version); err != nil {
			return err
		}
		if version > len(names) {
			return fmt.Errorf("the index has schema version %d, and this program knows those up to %d: it was written by a newer one, use that", version, len(names))
		}
		for i, name := range names[version:] {
			text, err := schemas.ReadFile(name)
			if err != nil {
				return err
			}
			if err := s.define(ctx, statements(string(text))...); err != nil {
				return fmt.Errorf("cannot bring the index to schema version %d: %w", version+i+1, err)
			}
		}
		_, err := s.exec(ctx, "UPDATE schema_version SET version = ? WHERE one = 1", len(names))
		return err
	})
}

// statements cuts the text of a schema at the semicolons that end lines.
func statements(text string) []string {
	var list []string
	for _, statement := range strings.Split(text, ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			list = append(list, statement)
		}
	}
	return list
}
