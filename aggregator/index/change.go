package index

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/engine"
)

var errTimes = &InvalidError{"Start timestamp cannot be after end timestamp"}

// complete checks a resource's own fields, and gives a new one its times.
func (r *Resource) complete(now time.Time) error {
	for what, text := range map[string]*string{"id": &r.Original, "user_id": r.User, "project_id": r.Project} {
		if text == nil {
			continue
		}
		if err := checkText(what, *text); err != nil {
			return err
		}
	}
	if r.Started.IsZero() {
		r.Started = now
	}
	r.Started = micros(r.Started)
	if r.Ended != nil {
		ended := micros(*r.Ended)
		r.Ended = &ended
		if ended.Before(r.Started) {
			return errTimes
		}
	}
	return nil
}

// convert checks values of attributes, and converts them to their types. required
// asks for all that are required.
func (t *storedType) convert(values map[string]any, required bool) (map[string]any, error) {
	converted := make(map[string]any, len(values))
	for name, v := range values {
		a := t.find(name)
		if a == nil {
			return nil, &InvalidError{fmt.Sprintf("Resource type %s has no %s attribute", t.name, name)}
		}
		v, err := a.attribute().Value(v)
		if err != nil {
			return nil, &InvalidError{fmt.Sprintf("%v for attribute %s of resource type %s", err, name, t.name)}
		}
		converted[name] = v
	}
	if required {
		for i := range t.attributes {
			if a := &t.attributes[i]; a.Required && converted[a.Name] == nil {
				return nil, &InvalidError{fmt.Sprintf("resource type %s requires the attribute %s", t.name, a.Name)}
			}
		}
	}
	return converted, nil
}

// insertRows inserts resources of one type. It gives how many it could insert: not
// those whose ids were taken.
func (t *storedType) insertRows(ctx context.Context, u *update, list []*row) (int64, error) {
	inserted := int64(0)
	for _, chunk := range chunks(list) {
		var args []any
		for _, r := range chunk {
			args = append(args, u.UUID(r.ID), t.id, r.Original, r.creator, r.User, r.Project,
				r.Started.UnixMicro(), microsOrNil(r.Ended), r.RevisionStart.UnixMicro())
		}
		n, err := u.Exec(ctx, `INSERT INTO resource (id, type, original, creator, user_id, project_id, started_at, ended_at, revision_start)
			VALUES `+listed("(?,?,?,?,?,?,?,?,?)", len(chunk))+" ON CONFLICT DO NOTHING", args...)
		if err != nil {
			return 0, fmt.Errorf("cannot create resources: %w", err)
		}
		inserted += n
		if n < int64(len(chunk)) {
			return inserted, nil
		}
		if err := t.insertAttributes(ctx, u, chunk); err != nil {
			return 0, fmt.Errorf("cannot create resources: %w", err)
		}
	}
	return inserted, nil
}

func microsOrNil(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMicro()
}

func (t *storedType) insertAttributes(ctx context.Context, u *update, chunk []*row) error {
	if t.name == Generic {
		return nil
	}
	var args []any
	for _, r := range chunk {
		args = append(args, u.UUID(r.ID))
		for i := range t.attributes {
			a := &t.attributes[i]
			args = append(args, argument(u.Session, a.Type, r.Attributes[a.Name]))
		}
	}
	_, err := u.Exec(ctx, "INSERT INTO "+t.table(false)+" (id"+t.columns("")+") VALUES "+
		listed(places("?", 1+len(t.attributes)), len(chunk)), args...)
	return err
}

// saveRevision makes the current revision of a resource a past one, and gives the
// start of the new one, which is later in any case.
func (u *update) saveRevision(ctx context.Context, t *storedType, old *row) (time.Time, error) {
	now := u.now
	if !now.After(old.RevisionStart) {
		now = old.RevisionStart.Add(time.Microsecond)
	}
	var revision int64
	found, err := u.One(ctx, `INSERT INTO resource_history (id, type, original, creator, user_id, project_id, started_at, ended_at, revision_start, revision_end)
		SELECT id, type, original, creator, user_id, project_id, started_at, ended_at, revision_start, ? FROM resource WHERE id = ? RETURNING revision`,
		[]any{now.UnixMicro(), u.UUID(old.ID)}, &revision)
	if err == nil && !found {
		err = database.ErrAgain
	}
	if err == nil && t.name != Generic {
		_, err = u.Exec(ctx, "INSERT INTO "+t.table(true)+" (revision"+t.columns("")+") SELECT "+place(u.Session, "bigint")+t.columns("")+
			" FROM "+t.table(false)+" WHERE id = ?", revision, u.UUID(old.ID))
	}
	if err != nil {
		return now, fmt.Errorf("cannot keep the revision of a resource: %w", err)
	}
	return now, nil
}

// saveRow writes what a resource has become.
func (u *update) saveRow(ctx context.Context, t *storedType, r *row) error {
	_, err := u.Exec(ctx, "UPDATE resource SET type = ?, user_id = ?, project_id = ?, started_at = ?, ended_at = ?, revision_start = ? WHERE id = ?",
		t.id, r.User, r.Project, r.Started.UnixMicro(), microsOrNil(r.Ended), r.RevisionStart.UnixMicro(), u.UUID(r.ID))
	if err == nil && len(t.attributes) > 0 {
		var set []string
		var args []any
		for i := range t.attributes {
			a := &t.attributes[i]
			set = append(set, a.column()+" = ?")
			args = append(args, argument(u.Session, a.Type, r.Attributes[a.Name]))
		}
		_, err = u.Exec(ctx, "UPDATE "+t.table(false)+" SET "+strings.Join(set, ", ")+" WHERE id = ?", append(args, u.UUID(r.ID))...)
	}
	if err != nil {
		return fmt.Errorf("cannot change a resource: %w", err)
	}
	return nil
}

// CreateResource creates a resource, attaches metrics that exist and have the same
// creator, and creates others, in one transaction. Started is now if it is zero. The
// error is an [*ExistsError], a [*NotFoundError] of the type, a metric or a policy,
// a [*NamedMetricError], a [*NoRuleError] or an [*InvalidError].
func (x *Index) CreateResource(ctx context.Context, r *Resource, attach map[string]uuid.UUID, create []NewMetric) (*Resource, error) {
	number, err := x.creator(ctx, r.Creator)
	if err != nil {
		return nil, err
	}
	metrics, err := x.newMetrics(ctx, r.ID, r.Creator, create)
	if err != nil {
		return nil, err
	}
	var made *row
	seen := x.cache.moments()
	err = x.update(ctx, func(u *update) error {
		made = &row{Resource: *r}
		if id, ok := number.(int64); ok {
			made.creator = sql.NullInt64{Int64: id, Valid: true}
		}
		made.RevisionStart, made.RevisionEnd, made.Revision = u.now, nil, current
		if err := made.complete(u.now); err != nil {
			return err
		}
		t, err := readType(ctx, u.Session, r.Type, u.ForShare())
		if err != nil {
			return err
		}
		if made.Attributes, err = t.convert(r.Attributes, true); err != nil {
			return err
		}
		for i := range t.attributes {
			if name := t.attributes[i].Name; made.Attributes[name] == nil {
				made.Attributes[name] = nil // which readers see where none is given
			}
		}
		n, err := t.insertRows(ctx, u, []*row{made})
		if err != nil {
			return err
		}
		if n == 0 {
			return &ExistsError{KindResource, r.ID.String()}
		}
		if err := x.setMetrics(ctx, u, made, attach, metrics); err != nil {
			return err
		}
		return readMetricNames(ctx, u.Session, []*row{made})
	})
	if err != nil {
		return nil, err
	}
	return &made.Resource, x.remember(ctx, seen, metrics)
}

// newMetrics prepares metrics that a resource is to get.
func (x *Index) newMetrics(ctx context.Context, resource uuid.UUID, creator string, create []NewMetric) ([]*metricRow, error) {
	list := make([]*metricRow, len(create))
	for i, m := range create {
		m.Resource = resource
		if m.Creator == "" {
			m.Creator = creator
		}
		list[i] = &metricRow{NewMetric: m}
		if err := list[i].check(); err != nil {
			return nil, err
		}
	}
	return list, x.numberCreators(ctx, list)
}

// setMetrics attaches and creates metrics of a resource.
func (x *Index) setMetrics(ctx context.Context, u *update, r *row, attach map[string]uuid.UUID, create []*metricRow) error {
	for _, name := range slices.Sorted(maps.Keys(attach)) {
		if err := x.attach(ctx, u, r, name, attach[name]); err != nil {
			return err
		}
	}
	if len(create) == 0 {
		return nil
	}
	if err := x.place(ctx, u, create); err != nil {
		return err
	}
	taken, err := insertMetrics(ctx, u, create)
	switch {
	case database.IsForeign(err):
		return database.ErrAgain
	case err == nil && len(taken) > 0:
		return errTaken(ctx, u, taken[0])
	}
	return err
}

// attach gives a metric to a resource, under a name.
func (x *Index) attach(ctx context.Context, u *update, r *row, name string, id uuid.UUID) error {
	if err := checkText("name", name); err != nil {
		return err
	}
	old, err := readAttached(ctx, u, "id = ?", u.UUID(id))
	if err != nil {
		return err
	}
	if len(old) == 0 || old[0].creator != r.creator {
		return &NotFoundError{KindMetric, id.String()}
	}
	_, err = u.Exec(ctx, "UPDATE metric SET resource = ?, name = ? WHERE id = ?", u.UUID(r.ID), name, u.UUID(id))
	if database.IsUnique(err) {
		return &NamedMetricError{name}
	}
	x.forgetLater(u, old)
	return err
}

// attached is what memory may have of a metric.
type attached struct {
	id       uuid.UUID
	ref      engine.Ref
	resource uuid.UUID
	name     string
	creator  sql.NullInt64
}

// readAttached reads metrics, and locks them.
func readAttached(ctx context.Context, u *update, condition string, args ...any) ([]attached, error) {
	var list []attached
	rows, err := u.Query(ctx, "SELECT id, ref, resource, name, creator FROM metric WHERE deleted_at IS NULL AND "+condition+u.ForUpdate(), args...)
	err = database.Each(rows, err, func(rows *sql.Rows) error {
		var (
			a        attached
			resource uuid.NullUUID
			name     sql.NullString
		)
		err := rows.Scan(&a.id, &a.ref, &resource, &name, &a.creator)
		a.resource, a.name = resource.UUID, name.String
		list = append(list, a)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read metrics: %w", err)
	}
	return list, nil
}

// forgetLater drops metrics from memory when the transaction is over.
func (x *Index) forgetLater(u *update, list []attached) {
	u.afterwards(func() {
		for _, a := range list {
			x.cache.forget(a.id, a.ref, a.resource, a.name)
		}
	})
}

// Change is a change of a resource: nil fields stay. A changed attribute makes a new
// revision; metrics alone do not.
type Change struct {
	// Revision is the start of the revision that is changed, if that must be no other:
	// [ErrRevision] tells that it was. The zero time is any.
	Revision time.Time

	User, Project  **string // to null by a pointer to nil
	Started        *time.Time
	Ended          **time.Time
	Attributes     map[string]any // these are set, others stay
	ReplaceMetrics bool           // metrics that are neither attached nor created are detached
	Attach         map[string]uuid.UUID
	Create         []NewMetric

	becomes *storedType // of a generic resource; nil: it stays as it is
}

// apply changes a resource, and reports whether that made a difference.
func (c *Change) apply(t *storedType, r *row) (bool, error) {
	before := r.Resource
	before.Attributes = maps.Clone(r.Attributes)
	if c.User != nil {
		r.User = *c.User
	}
	if c.Project != nil {
		r.Project = *c.Project
	}
	if c.Started != nil {
		r.Started = *c.Started
	}
	if c.Ended != nil {
		r.Ended = *c.Ended
	}
	if err := r.complete(before.Started); err != nil {
		return false, err
	}
	values, err := t.convert(c.Attributes, false)
	if err != nil {
		return false, err
	}
	if len(values) > 0 && r.Attributes == nil {
		r.Attributes = map[string]any{}
	}
	maps.Copy(r.Attributes, values)
	return !samePointer(before.User, r.User) || !samePointer(before.Project, r.Project) || !before.Started.Equal(r.Started) ||
		!samePointer(before.Ended, r.Ended) || !maps.Equal(before.Attributes, r.Attributes), nil
}

// samePointer reports whether both are nil, or point to equal values.
func samePointer[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// ChangeResource changes a resource of a type; as one of [Generic] it has no
// attributes to change. The error is as that of [Index.CreateResource], and a
// [*NotFoundError] of the resource.
func (x *Index) ChangeResource(ctx context.Context, typ string, id uuid.UUID, c Change) (*Resource, error) {
	creator := ""
	if slices.ContainsFunc(c.Create, func(m NewMetric) bool { return m.Creator == "" }) {
		r, err := x.Resource(ctx, typ, id)
		if err != nil {
			return nil, err
		}
		creator = r.Creator
	}
	metrics, err := x.newMetrics(ctx, id, creator, c.Create)
	if err != nil {
		return nil, err
	}
	var r *row
	seen := x.cache.moments()
	err = x.update(ctx, func(u *update) error {
		if r, err = readResource(ctx, u.Session, typ, id, u.ForUpdate()); err != nil {
			return err
		}
		if !c.Revision.IsZero() && !c.Revision.Equal(r.RevisionStart) {
			return ErrRevision
		}
		if typ == Generic && len(c.Attributes) > 0 {
			_, err := (&storedType{name: Generic}).convert(c.Attributes, false)
			return err
		}
		if _, err := x.changeRow(ctx, u, r, &c); err != nil {
			return err
		}
		if c.ReplaceMetrics {
			if err := x.detach(ctx, u, r, c.Attach); err != nil {
				return err
			}
		}
		if err := x.setMetrics(ctx, u, r, c.Attach, metrics); err != nil {
			return err
		}
		return readMetricNames(ctx, u.Session, []*row{r})
	})
	if err != nil {
		return nil, err
	}
	return r.as(typ), x.remember(ctx, seen, metrics)
}

// changeRow changes a resource that was read and locked, with a new revision if that
// makes a difference, and reports whether it does.
func (x *Index) changeRow(ctx context.Context, u *update, r *row, c *Change) (bool, error) {
	t, err := readType(ctx, u.Session, r.Type, u.ForShare())
	if err != nil {
		return false, err
	}
	was, before := t, project(r)
	becomes := c.becomes != nil && r.Type == Generic
	if becomes {
		t = c.becomes
	}
	changed, err := c.apply(t, r)
	if err != nil || !changed && !becomes {
		return false, err
	}
	if r.RevisionStart, err = u.saveRevision(ctx, was, r); err != nil {
		return false, err
	}
	if project(r) != before {
		if err := x.forgetMetricsOf(ctx, u, r.ID); err != nil {
			return false, err
		}
	}
	if becomes {
		r.Type, r.typeID = t.name, t.id
		if err := t.insertAttributes(ctx, u, []*row{r}); err != nil {
			return false, fmt.Errorf("cannot change the type of a resource: %w", err)
		}
	}
	return true, u.saveRow(ctx, t, r)
}

// forgetMetricsOf has the metrics of a resource dropped from memory.
func (x *Index) forgetMetricsOf(ctx context.Context, u *update, resource uuid.UUID) error {
	list, err := readAttached(ctx, u, "resource = ?", u.UUID(resource))
	if err == nil {
		x.forgetLater(u, list)
	}
	return err
}

// detach takes a resource's metrics away from it, but for those that it is to have
// under the very name.
func (x *Index) detach(ctx context.Context, u *update, r *row, keep map[string]uuid.UUID) error {
	list, err := readAttached(ctx, u, "resource = ?", u.UUID(r.ID))
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(a attached) bool { return keep[a.name] == a.id })
	for _, chunk := range chunks(list) {
		args := make([]any, len(chunk))
		for i, a := range chunk {
			args[i] = int64(a.ref)
		}
		if _, err := u.Exec(ctx, "UPDATE metric SET resource = NULL WHERE ref IN "+places("?", len(chunk)), args...); err != nil {
			return fmt.Errorf("cannot detach metrics: %w", err)
		}
	}
	x.forgetLater(u, list)
	return nil
}

// DeleteResource deletes a resource of a type with its history, and marks its
// metrics as deleted. The error is a [*NotFoundError].
func (x *Index) DeleteResource(ctx context.Context, typ string, id uuid.UUID) error {
	return x.update(ctx, func(u *update) error {
		r, err := readResource(ctx, u.Session, typ, id, u.ForUpdate())
		if err != nil {
			return err
		}
		return x.deleteRow(ctx, u, r)
	})
}

func (x *Index) deleteRow(ctx context.Context, u *update, r *row) error {
	list, err := readAttached(ctx, u, "resource = ?", u.UUID(r.ID))
	if err != nil {
		return err
	}
	x.forgetLater(u, list)
	id := u.UUID(r.ID)
	if _, err := u.Exec(ctx, "UPDATE metric SET deleted_at = ?, resource = NULL WHERE resource = ?", u.now.UnixMicro(), id); err != nil {
		return fmt.Errorf("cannot delete the metrics of a resource: %w", err)
	}
	var statements []string
	if r.Type != Generic {
		t := storedType{id: r.typeID}
		statements = append(statements,
			"DELETE FROM "+t.table(true)+" WHERE revision IN (SELECT revision FROM resource_history WHERE id = ?)",
			"DELETE FROM "+t.table(false)+" WHERE id = ?")
	}
	statements = append(statements, "DELETE FROM resource_history WHERE id = ?", "DELETE FROM resource WHERE id = ?")
	for _, statement := range statements {
		if _, err := u.Exec(ctx, statement, id); err != nil {
			return fmt.Errorf("cannot delete a resource: %w", err)
		}
	}
	return nil
}

// DeleteResources deletes the resources that a query selects, all of them, whatever
// its page says, and gives how many there were. It does so in several transactions,
// so that others need not wait: when it fails, some are deleted.
func (x *Index) DeleteResources(ctx context.Context, q ResourceQuery) (int, error) {
	q.History = false
	q.Page = Page{Limit: 500}
	deleted := 0
	for {
		n, removed := 0, 0
		err := x.update(ctx, func(u *update) error {
			list, err := x.list(ctx, u.Session, q, nil)
			if err != nil {
				return err
			}
			ids := make([]uuid.UUID, len(list))
			for i, r := range list {
				ids[i] = r.ID
			}
			n = len(list)
			// Those that others deleted meanwhile are not among the locked ones.
			rows, err := readRows(ctx, u.Session, ids, u.ForUpdate())
			if err != nil {
				return err
			}
			for _, r := range rows {
				if err := x.deleteRow(ctx, u, r); err != nil {
					return err
				}
			}
			removed = len(rows)
			return nil
		})
		if err != nil {
			return deleted, err
		}
		deleted += removed
		if n < q.Page.Limit {
			return deleted, nil
		}
	}
}
