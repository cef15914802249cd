package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
)

// Generic is the type that all resources have besides their own. It has no
// attributes, and can't be changed.
const Generic = "generic"

// storedType is a resource type with where its values are.
type storedType struct {
	id      int64
	name    string
	nextKey int
	// attributes are in the order of their keys, which is that of their columns.
	attributes []storedAttribute
}

type storedAttribute struct {
	Name string `json:"-"`
	// Key makes the column's name. One that was removed is not used again, so that
	// statements of other processes that still name it fail.
	Key       int           `json:"key"`
	Type      AttributeType `json:"type"`
	Required  bool          `json:"required,omitempty"`
	MinLength int           `json:"min_length,omitempty"`
	MaxLength int           `json:"max_length,omitempty"`
	Min       *float64      `json:"min,omitempty"`
	Max       *float64      `json:"max,omitempty"`
}

func (a *storedAttribute) column() string { return fmt.Sprintf("k%d", a.Key) }

func (a *storedAttribute) attribute() Attribute {
	return Attribute{a.Type, a.Required, a.MinLength, a.MaxLength, a.Min, a.Max}
}

// table is where the attributes' values of the current revisions are, or of the past ones.
func (t *storedType) table(history bool) string {
	if history {
		return fmt.Sprintf("attributes_%d_history", t.id)
	}
	return fmt.Sprintf("attributes_%d", t.id)
}

// columns are the columns of the attributes, each with a prefix, and a comma before.
func (t *storedType) columns(prefix string) string {
	var b strings.Builder
	for i := range t.attributes {
		b.WriteString(", " + prefix + t.attributes[i].column())
	}
	return b.String()
}

func (t *storedType) find(name string) *storedAttribute {
	for i := range t.attributes {
		if t.attributes[i].Name == name {
			return &t.attributes[i]
		}
	}
	return nil
}

func (t *storedType) resourceType() ResourceType {
	r := ResourceType{t.name, make(map[string]Attribute, len(t.attributes))}
	for i := range t.attributes {
		r.Attributes[t.attributes[i].Name] = t.attributes[i].attribute()
	}
	return r
}

// add gives a new attribute its key.
func (t *storedType) add(name string, a Attribute) *storedAttribute {
	t.attributes = append(t.attributes, storedAttribute{name, t.nextKey, a.Type, a.Required, a.MinLength, a.MaxLength, a.Min, a.Max})
	t.nextKey++
	return &t.attributes[len(t.attributes)-1]
}

func (t *storedType) encode() (string, error) {
	m := make(map[string]*storedAttribute, len(t.attributes))
	for i := range t.attributes {
		m[t.attributes[i].Name] = &t.attributes[i]
	}
	b, err := json.Marshal(m)
	return string(b), err
}

// readTypes reads the types that a condition selects, by name.
func readTypes(ctx context.Context, s *database.Session, condition string, args ...any) ([]*storedType, error) {
	var list []*storedType
	rows, err := s.Query(ctx, "SELECT id, name, next_key, attributes FROM resource_type "+condition, args...)
	err = database.Each(rows, err, func(rows *sql.Rows) error {
		t := &storedType{}
		var text string
		if err := rows.Scan(&t.id, &t.name, &t.nextKey, &text); err != nil {
			return err
		}
		var m map[string]storedAttribute
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			return fmt.Errorf("attributes of type %q: %w", t.name, err)
		}
		for name, a := range m {
			a.Name = name
			t.attributes = append(t.attributes, a)
		}
		slices.SortFunc(t.attributes, func(a, b storedAttribute) int { return a.Key - b.Key })
		list = append(list, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the resource types: %w", err)
	}
	slices.SortFunc(list, func(a, b *storedType) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// readType reads a type; lock is "", or one of the session's.
func readType(ctx context.Context, s *database.Session, name, lock string) (*storedType, error) {
	list, err := readTypes(ctx, s, "WHERE name = ?"+lock, name)
	if err == nil && len(list) == 0 {
		err = &NotFoundError{KindResourceType, name}
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Types are all resource types, by name.
func (x *Index) Types(ctx context.Context) ([]ResourceType, error) {
	var list []ResourceType
	err := x.read(ctx, func(s *database.Session) error {
		stored, err := readTypes(ctx, s, "")
		for _, t := range stored {
			list = append(list, t.resourceType())
		}
		return err
	})
	return list, err
}

// Type is the resource type of a name. The error is a [*NotFoundError].
func (x *Index) Type(ctx context.Context, name string) (t ResourceType, err error) {
	err = x.read(ctx, func(s *database.Session) error {
		stored, err := readType(ctx, s, name, "")
		if err == nil {
			t = stored.resourceType()
		}
		return err
	})
	return t, err
}

// CreateType creates a resource type. A string without a MaxLength gets one of 255.
// The error is an [*ExistsError] or an [*InvalidError].
func (x *Index) CreateType(ctx context.Context, t ResourceType) error {
	if err := checkText("name", t.Name); err != nil {
		return err
	}
	attributes := make(map[string]Attribute, len(t.Attributes))
	for name, a := range t.Attributes {
		normal, err := a.normal(name)
		if err != nil {
			return err
		}
		attributes[name] = normal
	}
	return x.update(ctx, func(u *update) error {
		stored := &storedType{name: t.Name, nextKey: 1}
		for _, name := range slices.Sorted(maps.Keys(attributes)) {
			stored.add(name, attributes[name])
		}
		text, err := stored.encode()
		if err != nil {
			return err
		}
		created, err := u.One(ctx, "INSERT INTO resource_type (name, next_key, attributes) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
			[]any{t.Name, stored.nextKey, text}, &stored.id)
		if err != nil {
			return err
		}
		if !created {
			return &ExistsError{KindResourceType, t.Name}
		}
		var columns strings.Builder
		for i := range stored.attributes {
			columns.WriteString(", " + stored.attributes[i].define())
		}
		err = u.Define(ctx,
			"CREATE TABLE "+stored.table(false)+" (id {uuid} NOT NULL PRIMARY KEY"+columns.String()+"){strict}",
			"CREATE TABLE "+stored.table(true)+" (revision {int} NOT NULL PRIMARY KEY"+columns.String()+"){strict}")
		for i := range stored.attributes {
			if err == nil {
				err = stored.createIndex(ctx, u, &stored.attributes[i])
			}
		}
		return err
	})
}

// define is the definition of the attribute's column.
func (a *storedAttribute) define() string {
	kind := map[AttributeType]string{String: "{text}", UUID: "{uuid}", Bool: "{bool}", Datetime: "{int}", Number: "{number}"}[a.Type]
	return a.column() + " " + kind
}

// indexed says whether a value is found without looking at all: texts and UUIDs are.
// Others mostly have few different values, or are compared with what none has.
func (a *storedAttribute) indexed() bool { return a.Type == String || a.Type == UUID }

func (t *storedType) createIndex(ctx context.Context, u *update, a *storedAttribute) error {
	if !a.indexed() {
		return nil
	}
	return u.Define(ctx, fmt.Sprintf("CREATE INDEX %s_%s ON %s (%s)", t.table(false), a.column(), t.table(false), a.column()))
}

// ChangeType adds and removes attributes, in one step. Attributes that are there
// stay as they are when they are added. fill has the values that existing resources
// get; an attribute that is required needs one. The error is a [*NotFoundError], or
// an [*InvalidError] with Gnocchi's words.
func (x *Index) ChangeType(ctx context.Context, name string, add map[string]Attribute, fill map[string]any, remove []string) (ResourceType, error) {
	normal, values := map[string]Attribute{}, map[string]any{}
	for attribute, a := range add {
		a, err := a.normal(attribute)
		if err != nil {
			return ResourceType{}, err
		}
		normal[attribute] = a
		if values[attribute], err = fillValue(attribute, a, fill[attribute]); err != nil {
			return ResourceType{}, err
		}
	}
	var changed ResourceType
	err := x.update(ctx, func(u *update) error {
		t, err := readType(ctx, u.Session, name, u.ForUpdate())
		if err != nil {
			return err
		}
		if t.name == Generic && len(add)+len(remove) > 0 {
			return &InvalidError{"Resource type generic can't be changed"}
		}
		for _, attribute := range remove {
			if err := t.drop(ctx, u, attribute); err != nil {
				return err
			}
		}
		for _, attribute := range slices.Sorted(maps.Keys(normal)) {
			if t.find(attribute) != nil {
				continue
			}
			if err := t.extend(ctx, u, t.add(attribute, normal[attribute]), values[attribute]); err != nil {
				return err
			}
		}
		changed = t.resourceType()
		text, err := t.encode()
		if err == nil {
			_, err = u.Exec(ctx, "UPDATE resource_type SET next_key = ?, attributes = ? WHERE id = ?", t.nextKey, text, t.id)
		}
		return err
	})
	return changed, err
}

func fillValue(name string, a Attribute, fill any) (any, error) {
	refuse := func(why string) error {
		return &InvalidError{fmt.Sprintf("Option 'fill' of resource attribute %s is invalid: %s", name, why)}
	}
	if fill == nil {
		if a.Required {
			return nil, refuse("must not be empty if required=True")
		}
		return nil, nil
	}
	// Strictly, if it came by JSON.
	text, err := json.Marshal(fill)
	if err != nil {
		return nil, refuse(err.Error())
	}
	v, err := a.Parse(text)
	if err != nil {
		return nil, refuse(err.Error())
	}
	return v, nil
}

// extend makes the columns of a new attribute.
func (t *storedType) extend(ctx context.Context, u *update, a *storedAttribute, fill any) error {
	for _, history := range []bool{false, true} {
		if err := u.Define(ctx, "ALTER TABLE "+t.table(history)+" ADD COLUMN "+a.define()); err != nil {
			return err
		}
		if fill != nil {
			if _, err := u.Exec(ctx, "UPDATE "+t.table(history)+" SET "+a.column()+" = ?", argument(u.Session, a.Type, fill)); err != nil {
				return err
			}
		}
	}
	return t.createIndex(ctx, u, a)
}

// drop removes an attribute and its columns.
func (t *storedType) drop(ctx context.Context, u *update, name string) error {
	a := t.find(name)
	if a == nil {
		return &InvalidError{fmt.Sprintf("can't remove a non-existent object '%s'", name)}
	}
	if err := u.Define(ctx, fmt.Sprintf("DROP INDEX IF EXISTS %s_%s", t.table(false), a.column())); err != nil {
		return err
	}
	for _, history := range []bool{false, true} {
		if err := u.Define(ctx, "ALTER TABLE "+t.table(history)+" DROP COLUMN "+a.column()); err != nil {
			return err
		}
	}
	t.attributes = slices.DeleteFunc(t.attributes, func(a storedAttribute) bool { return a.Name == name })
	return nil
}

// DeleteType deletes a resource type. It is in use, and the error an [*InUseError],
// while there are resources of it, or if it is [Generic]; or it is a [*NotFoundError].
func (x *Index) DeleteType(ctx context.Context, name string) error {
	if name == Generic {
		return &InUseError{KindResourceType, name}
	}
	return x.update(ctx, func(u *update) error {
		t, err := readType(ctx, u.Session, name, u.ForUpdate())
		if err != nil {
			return err
		}
		_, err = u.Exec(ctx, "DELETE FROM resource_type WHERE id = ?", t.id)
		if database.IsForeign(err) {
			return &InUseError{KindResourceType, name}
		}
		if err != nil {
			return err
		}
		return u.Define(ctx, "DROP TABLE "+t.table(false), "DROP TABLE "+t.table(true))
	})
}

// argument is an attribute's value as an argument of a statement.
func argument(s *database.Session, kind AttributeType, v any) any {
	switch v := v.(type) {
	case time.Time:
		return v.UnixMicro()
	case string:
		if kind == UUID {
			return s.UUID(uuid.MustParse(v))
		}
	}
	return v
}

// value is an attribute's value of what a database gave.
func value(kind AttributeType, v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch kind {
	case String:
		var s sql.NullString
		err := s.Scan(v)
		return s.String, err
	case UUID:
		var id uuid.UUID
		err := id.Scan(v)
		return id.String(), err
	case Bool:
		var b sql.NullBool
		err := b.Scan(v)
		return b.Bool, err
	case Datetime:
		var n sql.NullInt64
		err := n.Scan(v)
		return time.UnixMicro(n.Int64).UTC(), err
	}
	var f sql.NullFloat64
	err := f.Scan(v)
	return f.Float64, err
}
