package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// negative as a lower bound allows durations and sizes below zero.
const negative = "negative"

// value decodes v into a field or an element of one; f has the option's rules.
func (d *decoder) value(into reflect.Value, v *Value, key string, f field) {
	t := into.Type()
	switch {
	case v.Kind == KindInvalid:
		d.unfilled = true
		return
	case t == reflect.TypeFor[*Table]():
		if d.isKind(v, key, KindTable, "a table") {
			into.Set(reflect.ValueOf(v.Table))
		}
		return
	case t.Kind() == reflect.Pointer:
		target := reflect.New(t.Elem())
		d.value(target.Elem(), v, key, f)
		into.Set(target)
		return
	case t == reflect.TypeFor[time.Duration]():
		d.duration(into, v, key, f)
		return
	case t == reflect.TypeFor[Size]():
		d.size(into, v, key, f)
		return
	case isText(t):
		d.text(into, v, key, f)
		return
	}
	switch t.Kind() {
	case reflect.String:
		if d.isKind(v, key, KindString, "a string") && d.inEnum(v, key, f) {
			into.SetString(v.Str)
		}
	case reflect.Bool:
		if d.isKind(v, key, KindBool, "true or false") {
			into.SetBool(v.Bool)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		d.integer(into, v, key, f)
	case reflect.Float32, reflect.Float64:
		d.float(into, v, key, f)
	case reflect.Slice:
		d.list(into, v, key, f)
	case reflect.Map:
		d.mapping(into, v, key, f)
	case reflect.Struct:
		if d.isKind(v, key, KindTable, "a table") {
			d.structure(into, v.Table)
		}
	case reflect.Interface:
		if t.NumMethod() > 0 {
			panic(fmt.Sprintf("BUG: option %q has the type %s, which cannot be decoded into", f.name, t))
		}
		into.Set(reflect.ValueOf(v.Any()))
	default:
		panic(fmt.Sprintf("BUG: option %q has the type %s, which cannot be decoded into", f.name, t))
	}
}

func (d *decoder) list(into reflect.Value, v *Value, key string, f field) {
	if v.Kind != KindList {
		hint := ""
		if v.Kind == KindString && into.Type().Elem().Kind() == reflect.String && !v.untold() {
			hint = fmt.Sprintf("write [%s]", show(v))
		}
		d.wrongKind(v, key, "a list", hint)
		return
	}
	list := reflect.MakeSlice(into.Type(), len(v.List), len(v.List))
	complete := true
	for i, e := range v.List {
		d.value(list.Index(i), e, indexKey(key, i), f)
		complete = complete && e.Kind != KindInvalid
	}
	if complete {
		into.Set(list)
	}
}

func (d *decoder) mapping(into reflect.Value, v *Value, key string, f field) {
	t := into.Type()
	if t.Key().Kind() != reflect.String {
		panic(fmt.Sprintf("BUG: option %q is a map whose keys are not strings", f.name))
	}
	if !d.isKind(v, key, KindTable, "a table") {
		return
	}
	m := reflect.MakeMapWithSize(t, v.Table.Len())
	for k, e := range v.Table.All() {
		target := reflect.New(t.Elem()).Elem()
		d.value(target, e, joinKey(key, k), f)
		m.SetMapIndex(reflect.ValueOf(k).Convert(t.Key()), target)
	}
	into.Set(m)
}

func (d *decoder) integer(into reflect.Value, v *Value, key string, f field) {
	hint := ""
	if _, err := strconv.ParseInt(v.Str, 10, 64); v.Kind == KindString && err == nil && !v.untold() {
		hint = "write " + v.Str + " without quotes"
	}
	if v.Kind != KindInt {
		d.wrongKind(v, key, "an integer", hint)
		return
	}
	if into.CanInt() {
		if into.OverflowInt(v.Int) {
			bits := into.Type().Bits()
			d.add(v.Pos, key, "", "%s is out of range, allowed are %d to %d", show(v), -1<<(bits-1), 1<<(bits-1)-1)
			return
		}
	} else if v.Int < 0 || into.OverflowUint(uint64(v.Int)) {
		if bits := into.Type().Bits(); bits < 64 {
			d.add(v.Pos, key, "", "%s is out of range, allowed are 0 to %d", show(v), uint64(1)<<bits-1)
		} else {
			d.add(v.Pos, key, "", "%s is out of range, it must not be negative", show(v))
		}
		return
	}
	bound := func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }
	if !inRange(d, v, key, v.Int, f, bound) {
		return
	}
	if into.CanInt() {
		into.SetInt(v.Int)
	} else {
		into.SetUint(uint64(v.Int))
	}
}

func (d *decoder) float(into reflect.Value, v *Value, key string, f field) {
	number := v.Float
	switch v.Kind {
	case KindInt:
		number = float64(v.Int)
	case KindFloat:
	default:
		d.wrongKind(v, key, "a number", "")
		return
	}
	if math.IsNaN(number) && (f.min != "" || f.max != "") {
		d.add(v.Pos, key, "", "nan is out of range")
		return
	}
	bound := func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }
	if inRange(d, v, key, number, f, bound) {
		into.SetFloat(number)
	}
}

func (d *decoder) duration(into reflect.Value, v *Value, key string, f field) {
	if v.Kind != KindString {
		hint := ""
		if v.Kind == KindInt && !v.untold() {
			hint = fmt.Sprintf("write %q", show(v)+"s")
		}
		d.wrongKind(v, key, `a duration such as "10s"`, hint)
		return
	}
	duration, err := ParseDuration(v.Str)
	if err != nil {
		hint := ""
		if _, e := strconv.ParseFloat(v.Str, 64); e == nil && !v.untold() {
			hint = fmt.Sprintf("write %q", v.Str+"s")
		}
		d.add(v.Pos, key, hint, "%s, got %s", err, shown(v))
		return
	}
	if duration < 0 && f.min == "" {
		d.add(v.Pos, key, "", "%s must not be negative", show(v))
		return
	}
	if inRange(d, v, key, duration, f, ParseDuration) {
		into.SetInt(int64(duration))
	}
}

func (d *decoder) size(into reflect.Value, v *Value, key string, f field) {
	var size Size
	switch v.Kind {
	case KindInt:
		size = Size(v.Int)
	case KindString:
		var err error
		if size, err = ParseSize(v.Str); err != nil {
			d.add(v.Pos, key, "", "%s, got %s", err, shown(v))
			return
		}
	default:
		d.wrongKind(v, key, `a size such as "64MiB"`, "")
		return
	}
	if size < 0 && f.min == "" {
		d.add(v.Pos, key, "", "%s must not be negative", show(v))
		return
	}
	if inRange(d, v, key, size, f, ParseSize) {
		into.SetInt(int64(size))
	}
}

// text decodes into a type that reads text by itself.
func (d *decoder) text(into reflect.Value, v *Value, key string, f field) {
	if v.Kind != KindTime && !d.isKind(v, key, KindString, "a string") || !d.inEnum(v, key, f) {
		return
	}
	err := into.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(v.Str))
	switch {
	case err == nil:
	case v.untold(): // the error's text may hold the value
		d.add(v.Pos, key, "", "the value cannot be used")
	default:
		d.add(v.Pos, key, "", "%s cannot be used: %s", show(v), err)
	}
}

func (d *decoder) inEnum(v *Value, key string, f field) bool {
	if f.enum == nil || slices.Contains(f.enum, v.Str) {
		return true
	}
	hint := ""
	if s := Suggest(v.Str, f.enum); s != "" && !v.untold() {
		hint = fmt.Sprintf("did you mean %q?", s)
	}
	d.add(v.Pos, key, hint, "%s is not one of %s", show(v), strings.Join(f.enum, ", "))
	return false
}

// inRange checks a value against the option's bounds.
func inRange[T int64 | float64 | time.Duration | Size](d *decoder, v *Value, key string, value T, f field, parse func(string) (T, error)) bool {
	low, high := value, value
	for _, bound := range []struct {
		text string
		to   *T
	}{{f.min, &low}, {f.max, &high}} {
		if bound.text == "" || bound.text == negative {
			continue
		}
		var err error
		if *bound.to, err = parse(bound.text); err != nil {
			panic(fmt.Sprintf("BUG: bound %q of option %q: %v", bound.text, f.name, err))
		}
	}
	switch {
	case value >= low && value <= high:
		return true
	case f.max == "":
		d.add(v.Pos, key, "", "%s is out of range, it must be at least %s", show(v), f.min)
	case f.min == "" || f.min == negative:
		d.add(v.Pos, key, "", "%s is out of range, it must be at most %s", show(v), f.max)
	default:
		d.add(v.Pos, key, "", "%s is out of range, allowed are %s to %s", show(v), f.min, f.max)
	}
	return false
}

func (d *decoder) isKind(v *Value, key string, kind Kind, want string) bool {
	if v.Kind == kind {
		return true
	}
	d.wrongKind(v, key, want, "")
	return false
}

func (d *decoder) wrongKind(v *Value, key, want, hint string) {
	d.add(v.Pos, key, hint, "expected %s, got %s", want, shown(v))
}

// shown returns a value's kind and text, as in `integer 10`.
func shown(v *Value) string {
	if v.Kind == KindList || v.Kind == KindTable {
		return "a " + v.Kind.String()
	}
	return v.Kind.String() + " " + show(v)
}

// show returns a value as the file has it, shortened, and never a secret or what
// a variable holds.
func show(v *Value) string {
	const longest = 60
	if v.untold() {
		return Redacted
	}
	if v.Kind == KindString {
		s := v.Str
		if r := []rune(s); len(r) > longest {
			s = string(r[:longest]) + "..."
		}
		return quoteString(redactURL(s))
	}
	var b strings.Builder
	writeValue(&b, v, false)
	return b.String()
}
