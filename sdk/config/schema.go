package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Option describes one option of a struct, for documentation and for a plugin's
// description of itself.
type Option struct {
	Name     string
	Type     string   // such as "string", "duration", "list of string", "table"
	Default  string   // as the struct tag has it; empty if there is none
	Min, Max string   // bounds, empty if there are none
	Enum     []string // the allowed values, nil if any is
	Required bool
	Secret   bool
	Doc      string
	Options  []Option // of a table, of a list's tables or a table's tables
}

// Options returns the options that Decode reads into a struct like of, which may
// be a struct, a pointer to one, or a nil pointer. It panics on struct tags that
// cannot work, as Decode does.
func Options(of any) []Option {
	return optionsOf(reflect.TypeOf(of), nil)
}

func optionsOf(t reflect.Type, outer []reflect.Type) []Option {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for _, o := range outer {
		if o == t { // a recursive type is described once
			return nil
		}
	}
	var options []Option
	for _, f := range fieldsOf(t) {
		o := Option{
			Name: f.name, Type: typeName(f.typ), Default: f.def, Min: f.min, Max: f.max, Enum: f.enum,
			Required: f.required, Secret: f.secret, Doc: f.doc,
		}
		if inner := structIn(f.typ); inner != nil {
			o.Options = optionsOf(inner, append(outer, t))
		}
		options = append(options, o)
	}
	return options
}

// MarkSecrets marks the values of secret options in the table, so that Text does
// not print them. Decode does so by itself.
func (t *Table) MarkSecrets(options []Option) {
	for _, o := range options {
		if v := t.Get(o.Name); v != nil {
			v.markSecrets(o)
		}
	}
}

func (v *Value) markSecrets(o Option) {
	if o.Secret {
		v.hide()
		return
	}
	for _, e := range v.List {
		e.markSecrets(o)
	}
	if v.Table == nil {
		return
	}
	if strings.HasPrefix(o.Type, "table of") {
		for _, e := range v.Table.All() {
			e.markSecrets(Option{Type: strings.TrimPrefix(o.Type, "table of "), Options: o.Options})
		}
		return
	}
	v.Table.MarkSecrets(o.Options)
}

// hide marks a value and all that it holds as secret.
func (v *Value) hide() {
	v.Secret = true
	for _, e := range v.List {
		e.hide()
	}
	if v.Table != nil {
		for _, e := range v.Table.All() {
			e.hide()
		}
	}
}

// field is a struct field that is an option.
type field struct {
	index      []int
	typ        reflect.Type
	name       string
	def        string
	hasDefault bool
	min, max   string
	enum       []string
	required   bool
	secret     bool
	doc        string
}

// fieldsOf lists the options of a struct type, those of embedded structs in place.
func fieldsOf(t reflect.Type) []field {
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("BUG: options are decoded into a struct, not into %s", t))
	}
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		sf := t.Field(i)
		name, tagged := sf.Tag.Lookup("toml")
		if !tagged {
			if sf.Anonymous && sf.Type.Kind() == reflect.Struct {
				for _, f := range fieldsOf(sf.Type) {
					f.index = append([]int{i}, f.index...)
					fields = append(fields, f)
				}
			}
			continue
		}
		if !sf.IsExported() || name == "" {
			panic(fmt.Sprintf("BUG: field %s.%s has a toml tag but no exported name or an empty option name", t, sf.Name))
		}
		f := field{index: []int{i}, typ: sf.Type, name: name, doc: sf.Tag.Get("doc")}
		f.def, f.hasDefault = sf.Tag.Lookup("default")
		f.min, f.max = sf.Tag.Get("min"), sf.Tag.Get("max")
		if enum := sf.Tag.Get("enum"); enum != "" {
			f.enum = strings.Split(enum, "|")
		}
		f.required, _ = strconv.ParseBool(sf.Tag.Get("required"))
		f.secret, _ = strconv.ParseBool(sf.Tag.Get("secret"))
		fields = append(fields, f)
	}
	return fields
}

// typeName returns the type of an option as documentation names it.
func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t == reflect.TypeFor[Size]():
		return "size"
	case t == reflect.TypeFor[time.Time]():
		return "date"
	case t == reflect.TypeFor[*Table]():
		return "table"
	case isText(t):
		return "string"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of " + typeName(t.Elem())
	case reflect.Map:
		return "table of " + typeName(t.Elem())
	case reflect.Struct:
		return "table"
	case reflect.Interface:
		return "any"
	default:
		return "integer"
	}
}

func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// structIn returns the struct type whose options a value of type t holds, nil if
// it holds none.
func structIn(t reflect.Type) reflect.Type {
	for {
		switch {
		case t == reflect.TypeFor[*Table](), isText(t):
			return nil
		case t.Kind() == reflect.Struct:
			return t
		case t.Kind() == reflect.Pointer, t.Kind() == reflect.Slice, t.Kind() == reflect.Map:
			t = t.Elem()
		default:
			return nil
		}
	}
}
