package config

import (
	"iter"
	"math"
	"slices"
)

// Kind says what a Value holds.
type Kind uint8

// The kinds of values. The numbers are part of the wire form, do not renumber.
const (
	KindInvalid Kind = iota // a value that Expand could not expand; Decode passes over it
	KindString
	KindInt
	KindFloat
	KindBool
	KindTime // a TOML date, time or both, kept as text in Str
	KindList
	KindTable
)

// String returns the kind as an error message names it.
func (k Kind) String() string {
	switch k {
	case KindString:
		return "string"
	case KindInt:
		return "integer"
	case KindFloat:
		return "number"
	case KindBool:
		return "boolean"
	case KindTime:
		return "date"
	case KindList:
		return "list"
	case KindTable:
		return "table"
	default:
		return "nothing"
	}
}

// Value is one node of a configuration: a scalar, a list or a table, and where
// it was written. Only the field that belongs to Kind is set.
//
// A Value is not safe for use by several goroutines while one of them changes it.
type Value struct {
	Kind  Kind
	Str   string // KindString, and KindTime in RFC 3339 form
	Int   int64
	Float float64
	Bool  bool
	List  []*Value
	Table *Table

	// Pos is where the value's key was written; of a list's element, where the
	// element itself was.
	Pos Pos
	// Secret values are never printed: not by Text, not in a Problem.
	Secret bool
	// Inserted is set by Expand where it inserted an environment variable. Nobody
	// knows what that holds: the value is not printed in a Problem.
	Inserted bool
}

// untold reports whether a Problem must not tell what v holds.
func (v *Value) untold() bool { return v.Secret || v.Inserted }

// NewString returns a string value without a position.
func NewString(s string) *Value { return &Value{Kind: KindString, Str: s} }

// NewInt returns an integer value without a position.
func NewInt(i int64) *Value { return &Value{Kind: KindInt, Int: i} }

// NewFloat returns a floating-point value without a position.
func NewFloat(f float64) *Value { return &Value{Kind: KindFloat, Float: f} }

// NewBool returns a boolean value without a position.
func NewBool(b bool) *Value { return &Value{Kind: KindBool, Bool: b} }

// NewList returns a list value without a position.
func NewList(values ...*Value) *Value { return &Value{Kind: KindList, List: values} }

// NewTableValue returns a value that holds t, at t's position.
func NewTableValue(t *Table) *Value { return &Value{Kind: KindTable, Table: t, Pos: t.Pos} }

// Equal reports whether v and o hold the same, wherever it was written.
func (v *Value) Equal(o *Value) bool {
	if v == nil || o == nil {
		return v == o
	}
	if v.Kind != o.Kind {
		return false
	}
	switch v.Kind {
	case KindString, KindTime:
		return v.Str == o.Str
	case KindInt:
		return v.Int == o.Int
	case KindFloat:
		return v.Float == o.Float || math.IsNaN(v.Float) && math.IsNaN(o.Float)
	case KindBool:
		return v.Bool == o.Bool
	case KindList:
		return slices.EqualFunc(v.List, o.List, (*Value).Equal)
	case KindTable:
		return v.Table.Equal(o.Table)
	default:
		return true
	}
}

// Any returns v as plain Go values: string, int64, float64, bool, []any,
// map[string]any. A date is its text.
func (v *Value) Any() any {
	switch v.Kind {
	case KindString, KindTime:
		return v.Str
	case KindInt:
		return v.Int
	case KindFloat:
		return v.Float
	case KindBool:
		return v.Bool
	case KindList:
		list := make([]any, len(v.List))
		for i, e := range v.List {
			list[i] = e.Any()
		}
		return list
	case KindTable:
		return v.Table.Any()
	default:
		return nil
	}
}

// clone returns a deep copy of v.
func (v *Value) clone() *Value {
	c := *v
	if v.List != nil {
		c.List = make([]*Value, len(v.List))
		for i, e := range v.List {
			c.List[i] = e.clone()
		}
	}
	if v.Table != nil {
		c.Table = v.Table.Clone()
	}
	return &c
}

// Table is a TOML table: keys in the order of the file, each with its value.
// A nil *Table reads as an empty one.
type Table struct {
	// Pos is where the table's header or opening brace was written.
	Pos Pos
	// Path is the dotted name of the table from the root of its file, such as
	// "pollster.libvirt"; empty for the root itself. Problems name keys by it.
	Path string

	keys   []string
	values map[string]*Value
}

// NewTable returns an empty table of the given path.
func NewTable(path string) *Table { return &Table{Path: path} }

// Len returns how many keys the table has.
func (t *Table) Len() int {
	if t == nil {
		return 0
	}
	return len(t.keys)
}

// Keys returns the keys in the order of the file. The slice is a copy.
func (t *Table) Keys() []string {
	if t == nil {
		return nil
	}
	return slices.Clone(t.keys)
}

// Get returns the value of key, nil if there is none.
func (t *Table) Get(key string) *Value {
	if t == nil {
		return nil
	}
	return t.values[key]
}

// Set gives key a value, replacing the one it has.
func (t *Table) Set(key string, v *Value) {
	if _, has := t.values[key]; !has {
		if t.values == nil {
			t.values = make(map[string]*Value)
		}
		t.keys = append(t.keys, key)
	}
	t.values[key] = v
}

// Delete removes key, if the table has it.
func (t *Table) Delete(key string) {
	if t.Get(key) == nil {
		return
	}
	delete(t.values, key)
	t.keys = slices.DeleteFunc(t.keys, func(k string) bool { return k == key })
}

// Take removes key and returns its value, nil if there is none.
func (t *Table) Take(key string) *Value {
	v := t.Get(key)
	t.Delete(key)
	return v
}

// All iterates over keys and values in the order of the file. The table must not
// change meanwhile.
func (t *Table) All() iter.Seq2[string, *Value] {
	return func(yield func(string, *Value) bool) {
		if t == nil {
			return
		}
		for _, k := range t.keys {
			if !yield(k, t.values[k]) {
				return
			}
		}
	}
}

// Equal reports whether both tables have the same keys and values, whatever
// their order and wherever they were written.
func (t *Table) Equal(o *Table) bool {
	if t.Len() != o.Len() {
		return false
	}
	for k, v := range t.All() {
		if !v.Equal(o.Get(k)) {
			return false
		}
	}
	return true
}

// Any returns the table as a map of plain Go values, see [Value.Any].
func (t *Table) Any() map[string]any {
	m := make(map[string]any, t.Len())
	for k, v := range t.All() {
		m[k] = v.Any()
	}
	return m
}

// Clone returns a deep copy.
func (t *Table) Clone() *Table {
	if t == nil {
		return nil
	}
	c := &Table{Pos: t.Pos, Path: t.Path}
	for k, v := range t.All() {
		c.Set(k, v.clone())
	}
	return c
}

// KeyPath returns the dotted name of a key of this table, from the root of the file.
func (t *Table) KeyPath(key string) string { return joinKey(t.Path, key) }

func joinKey(path, key string) string {
	if path == "" {
		return quoteKey(key)
	}
	if key == "" {
		return path
	}
	return path + "." + quoteKey(key)
}
