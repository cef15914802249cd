package index

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/nephoscope/nepho/aggregator/database"
)

// Stores are the ids of the stores of measures whose metrics the index describes, in
// order. What it says of the metrics of others means nothing: see [Index.AddStore].
func (x *Index) Stores(ctx context.Context) ([]string, error) {
	var ids []string
	err := x.view(ctx, func(s *database.Session) error {
		ids = nil
		rows, err := s.Query(ctx, "SELECT id FROM store ORDER BY id")
		return database.Each(rows, err, func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			ids = append(ids, id)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read which stores the index describes: %w", err)
	}
	return ids, nil
}

// AddStore has the index describe the metrics of a store, too. A SQLite index is that of
// one store; it then describes no other any more.
func (x *Index) AddStore(ctx context.Context, id string) error {
	err := x.update(ctx, func(u *update) error {
		if !x.database.Shared() {
			if _, err := u.Exec(ctx, "DELETE FROM store WHERE id <> ?", id); err != nil {
				return err
			}
		}
		_, err := u.Exec(ctx, "INSERT INTO store (id) VALUES (?) ON CONFLICT DO NOTHING", id)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot note which store the index describes: %w", err)
	}
	return nil
}
