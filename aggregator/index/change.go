package index

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
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
	if x.changed != nil {
		x.changed(id)
	}
	return r.as(typ), x.remember(ctx, seen, metrics)
}

// OnChange has f called after each [Index.ChangeResource] that this process made. It is
// set before others use the index. f must not call the index.
func (x *Index) OnChange(f func(id uuid.UUID)) { x.changed = f }

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
