package index

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/engine"
)

// Cached is [Index.Lookup] of one metric in memory only. It does not allocate.
func (x *Index) Cached(id uuid.UUID) (*Entry, bool) { return x.cache.byID.get(id) }

// Removals counts what this process did since the index was opened after which a
// metric may be gone, or belong to another resource: when it stands still, metrics
// that were there are there.
func (x *Index) Removals() uint64 { return x.cache.forgotten.Load() }

// Lookup finds metrics by id and appends their entries to into. Those in memory
// cost a look into a map, others one query for all. Metrics that are not there, or
// were deleted, have a nil entry.
func (x *Index) Lookup(ctx context.Context, ids []uuid.UUID, into []*Entry) ([]*Entry, error) {
	return lookup(ctx, x, &x.cache.byID, ids, into, func(id uuid.UUID) uuid.UUID { return id },
		func(ctx context.Context, s *database.Session, missing []uuid.UUID, found func(uuid.UUID, *Entry)) error {
			query := entryQuery + "m.deleted_at IS NULL AND m.id IN " + places("?", len(missing))
			rows, err := s.Query(ctx, query, uuids(s, missing)...)
			return x.scanEntries(rows, err, func(e *Entry, _ Name) { found(e.ID, e) })
		})
}

// LookupRefs is [Index.Lookup] by the engine's numbers: the change feed tells of these.
func (x *Index) LookupRefs(ctx context.Context, refs []engine.Ref, into []*Entry) ([]*Entry, error) {
	return lookup(ctx, x, &x.cache.byRef, refs, into, func(r engine.Ref) engine.Ref { return r },
		func(ctx context.Context, s *database.Session, missing []engine.Ref, found func(engine.Ref, *Entry)) error {
			query := entryQuery + "m.deleted_at IS NULL AND m.ref IN " + places("?", len(missing))
			rows, err := s.Query(ctx, query, numberArgs(missing)...)
			return x.scanEntries(rows, err, func(e *Entry, _ Name) { found(e.Ref, e) })
		})
}

// Name is a metric by its resource.
type Name struct {
	Resource uuid.UUID
	Metric   string
}

// LookupNames is [Index.Lookup] by resource and name.
func (x *Index) LookupNames(ctx context.Context, names []Name, into []*Entry) ([]*Entry, error) {
	return lookup(ctx, x, &x.cache.byName, names, into,
		func(n Name) nameKey { return x.cache.nameKey(n.Resource, n.Metric) }, x.findNames)
}

// findNames reads entries by resource and name.
func (x *Index) findNames(ctx context.Context, s *database.Session, names []Name, found func(Name, *Entry)) error {
	rows, err := s.Query(ctx, "SELECT "+entryColumns+" FROM "+namesTable(s, len(names))+
		" CROSS JOIN metric m LEFT JOIN resource r ON r.id = m.resource WHERE m.resource = w.column1 AND m.name = w.column2", nameArgs(s, names)...)
	return x.scanEntries(rows, err, func(e *Entry, n Name) { found(n, e) })
}

// namesTable is a table w of n names of metrics: column1 is the resource, column2 the name.
// With CROSS JOIN SQLite takes these first, and looks for each.
func namesTable(s *database.Session, n int) string {
	return "(VALUES " + listed("("+uuidPlace(s)+","+textPlace(s)+")", n) + ") AS w"
}

func nameArgs(s *database.Session, names []Name) []any {
	args := make([]any, 0, 2*len(names))
	for _, n := range names {
		name := n.Metric
		if checkText("", name) != nil {
			name = "" // which no resource's metric has, nor that one
		}
		args = append(args, s.UUID(n.Resource), name)
	}
	return args
}

const (
	entryColumns = `m.id, m.ref, m.policy, (SELECT name FROM creator c WHERE c.id = m.creator), r.project_id, m.resource, m.name`
	entryQuery   = "SELECT " + entryColumns + " FROM metric m LEFT JOIN resource r ON r.id = m.resource WHERE "
)

func (x *Index) scanEntries(rows *sql.Rows, err error, f func(*Entry, Name)) error {
	return database.Each(rows, err, func(rows *sql.Rows) error {
		var (
			e                      Entry
			creator, project, name sql.NullString
			resource               uuid.NullUUID
		)
		if err := rows.Scan(&e.ID, &e.Ref, &e.PolicyID, &creator, &project, &resource, &name); err != nil {
			return err
		}
		e.Creator, e.Project = x.cache.texts.same(creator.String), x.cache.texts.same(project.String)
		e.name = x.cache.nameKey(resource.UUID, name.String)
		f(&e, Name{resource.UUID, name.String})
		return nil
	})
}

// lookup finds entries in a table, and what is not there with find, which is asked
// for a bounded number at a time.
func lookup[T, K comparable](ctx context.Context, x *Index, t *table[K], wanted []T, into []*Entry, key func(T) K,
	find func(context.Context, *database.Session, []T, func(T, *Entry)) error) ([]*Entry, error) {
	start, missing := len(into), []T(nil)
	for _, w := range wanted {
		e, ok := t.get(key(w))
		into = append(into, e)
		if !ok {
			missing = append(missing, w)
		}
	}
	if missing == nil {
		return into, nil
	}
	found := make(map[T]*Entry, len(missing))
	m := t.moment()
	err := x.read(ctx, func(s *database.Session) error {
		for _, chunk := range padded(missing) {
			if err := find(ctx, s, chunk, func(w T, e *Entry) { found[w] = e }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return into[:start], fmt.Errorf("cannot look up metrics: %w", err)
	}
	for _, e := range found {
		if err := x.know(ctx, e.PolicyID); err != nil {
			return into[:start], err
		}
	}
	for i, w := range wanted {
		if into[start+i] == nil {
			into[start+i] = found[w]
		}
	}
	for _, e := range found {
		t.put(m, e)
	}
	return into, nil
}

// Alive reports of each ref whether its metric is there. One that is marked as deleted is,
// until [Index.Purge] forgets it: so long its data stays.
func (x *Index) Alive(ctx context.Context, refs []engine.Ref) ([]bool, error) {
	alive := make(map[engine.Ref]bool, len(refs))
	err := x.read(ctx, func(s *database.Session) error {
		for _, chunk := range padded(refs) {
			rows, err := s.Query(ctx, "SELECT ref FROM metric WHERE ref IN "+places("?", len(chunk)), numberArgs(chunk)...)
			err = database.Each(rows, err, func(rows *sql.Rows) error {
				var r engine.Ref
				err := rows.Scan(&r)
				alive[r] = true
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot see which metrics are there: %w", err)
	}
	list := make([]bool, len(refs))
	for i, r := range refs {
		list[i] = alive[r]
	}
	return list, nil
}
