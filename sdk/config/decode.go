package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Decode fills the struct that into points to from the table and returns all
// problems it finds, in the order of the table.
//
// A field is an option if it has a toml tag, which is the option's name; other
// fields are left alone, so a plugin's options may share a struct with its state.
// More tags refine the option:
//
//	default:"60s"     used if the key is absent; of a list, comma-separated
//	min:"1" max:"9"   bounds of numbers, durations and sizes, and of each one in a list
//	enum:"a|b|c"      the allowed values of a string, or of each string in a list
//	required:"true"   the key must be there, and not be empty
//	secret:"true"     the value is marked Secret in the table and never printed; a
//	                  string whose name looks like a secret is, even without the tag
//	doc:"..."         one sentence for the user, see [Options]
//
// Options may be strings, booleans, integers, floats (an integer will do),
// [time.Duration], [Size], anything with UnmarshalText, slices, maps with string
// keys, structs, embedded structs (whose options are the outer struct's),
// pointers (nil if the key is absent), *Table (the raw sub-table) and any (plain
// Go values). Durations and sizes are not negative unless min says so.
//
// A struct with a method Validate() error has it called after its fields are
// filled, if they could be. Joined errors become one problem each; [KeyError]
// says which key an error is about.
//
// Decode panics if into cannot be decoded into at all: that is a mistake in the
// program, not in the configuration.
func (t *Table) Decode(into any) []Problem {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("BUG: Decode needs a pointer to a struct, not %T", into))
	}
	if t == nil {
		t = &Table{}
	}
	d := &decoder{}
	d.structure(v.Elem(), t)
	return d.problems
}

type decoder struct {
	problems []Problem
	unfilled bool // a value was passed over
}

func (d *decoder) add(pos Pos, key, hint, format string, args ...any) {
	d.problems = append(d.problems, Problem{Pos: pos, Key: key, Hint: hint, Message: fmt.Sprintf(format, args...)})
}

// structure decodes a table into a struct.
func (d *decoder) structure(into reflect.Value, t *Table) {
	fields := fieldsOf(into.Type())
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.name
	}
	d.unknownKeys(t, known)

	// Validate may rely on every field having been filled.
	before, unfilled := len(d.problems), d.unfilled
	d.unfilled = false
	for _, f := range fields {
		d.option(into.FieldByIndex(f.index), f, t)
	}
	if len(d.problems) == before && !d.unfilled {
		d.validate(into, t)
	}
	d.unfilled = d.unfilled || unfilled
}

func (d *decoder) unknownKeys(t *Table, known []string) {
	isKnown := make(map[string]bool, len(known))
	for _, k := range known {
		isKnown[k] = true
	}
	for k, v := range t.All() {
		if !isKnown[k] {
			d.add(v.Pos, t.KeyPath(k), didYouMean(k, known, "known options"), "unknown option")
		}
	}
}

// option decodes one key of a table, or the option's default.
func (d *decoder) option(into reflect.Value, f field, t *Table) {
	v := t.Get(f.name)
	key := t.KeyPath(f.name)
	switch {
	case v != nil:
		if f.secret || v.Kind == KindString && looksSecret(f.name) {
			v.hide()
		}
		before := len(d.problems)
		d.value(into, v, key, f)
		if f.required && len(d.problems) == before && isEmpty(v) {
			d.add(v.Pos, key, "", "must not be empty")
		}
	case f.required:
		d.add(t.Pos, key, "", "required option is missing")
	case f.hasDefault:
		d.fallback(into, f)
	default:
		d.absent(into, t, f.name)
	}
}

func isEmpty(v *Value) bool {
	switch v.Kind {
	case KindString:
		return v.Str == ""
	case KindList:
		return len(v.List) == 0
	case KindTable:
		return v.Table.Len() == 0
	default:
		return false
	}
}

// absent gives the options of a sub-table that is not there their defaults.
func (d *decoder) absent(into reflect.Value, t *Table, name string) {
	if into.Kind() == reflect.Struct && !isText(into.Type()) {
		d.structure(into, &Table{Pos: t.Pos, Path: t.KeyPath(name)})
	}
}

// fallback decodes an option's default, which is text in a struct tag.
func (d *decoder) fallback(into reflect.Value, f field) {
	check := &decoder{}
	if into.Kind() == reflect.Slice && !isText(into.Type()) {
		list := NewList()
		if f.def != "" {
			for _, text := range strings.Split(f.def, ",") {
				list.List = append(list.List, valueOfText(into.Type().Elem(), strings.TrimSpace(text)))
			}
		}
		check.value(into, list, f.name, f)
	} else {
		// A default outside of min and max or the enum is allowed: 0 often
		// means "none" where what a user writes must be at least 1.
		f.min, f.max, f.enum = negative, "", nil
		check.value(into, valueOfText(into.Type(), f.def), f.name, f)
	}
	if len(check.problems) > 0 {
		panic(fmt.Sprintf("BUG: default of option %q: %v", f.name, check.problems[0]))
	}
}

// valueOfText makes a value of the kind that decodes into type t; a string if the
// text is none, which then does not decode.
func valueOfText(t reflect.Type, text string) *Value {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch typeName(t) {
	case "boolean":
		if b, err := strconv.ParseBool(text); err == nil {
			return NewBool(b)
		}
	case "integer":
		if i, err := strconv.ParseInt(text, 0, 64); err == nil {
			return NewInt(i)
		}
	case "number":
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return NewFloat(f)
		}
	}
	return NewString(text)
}

// validate calls a struct's own check.
func (d *decoder) validate(into reflect.Value, t *Table) {
	v, ok := into.Addr().Interface().(interface{ Validate() error })
	if ok {
		d.invalid(v.Validate(), t)
		return
	}
	// The methods of two embedded structs hide each other.
	for i := range into.NumField() {
		sf := into.Type().Field(i)
		_, tagged := sf.Tag.Lookup("toml")
		if sf.Anonymous && !tagged && sf.IsExported() && sf.Type.Kind() == reflect.Struct {
			d.validate(into.Field(i), t)
		}
	}
}

// invalid makes problems of what a Validate method returned.
func (d *decoder) invalid(err error, t *Table) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			d.invalid(e, t)
		}
		return
	}
	var ke *keyError
	if !errors.As(err, &ke) {
		d.add(t.Pos, t.Path, "", "%s", err)
		return
	}
	pos, path := t.locate(ke.key)
	message := err.Error()
	if err == error(ke) {
		message = ke.err.Error()
	}
	d.add(pos, path, "", "%s", message)
}

// locate finds the position of a key such as "servers[1].url", of the nearest
// table around it if it is not there, and its path from the root of the file.
func (t *Table) locate(key string) (Pos, string) {
	pos := t.Pos
	path := t.Path
	var v *Value
	for _, part := range strings.Split(key, ".") {
		name, index, indexed := strings.Cut(part, "[")
		path = joinKey(path, name)
		if v = t.Get(name); v != nil {
			pos = v.Pos
		}
		var i int
		if indexed {
			path += "[" + index
			if _, err := fmt.Sscanf(index, "%d]", &i); err != nil || v == nil || i < 0 || i >= len(v.List) {
				v = nil
			} else {
				v = v.List[i]
				pos = v.Pos
			}
		}
		t = nil
		if v != nil {
			t = v.Table
		}
	}
	return pos, path
}
