package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// FromStruct is the reverse of Decode: it returns the options of a struct, or of
// a pointer to one, as a table without positions. Options of nil pointers, slices
// and maps are left out. Values of secret options are marked so.
func FromStruct(from any) *Table {
	v := reflect.Indirect(reflect.ValueOf(from))
	return tableOf(v)
}

func tableOf(v reflect.Value) *Table {
	t := NewTable("")
	for _, f := range fieldsOf(v.Type()) {
		value := valueOf(v.FieldByIndex(f.index))
		if value == nil {
			continue
		}
		if f.secret {
			value.hide()
		}
		t.Set(f.name, value)
	}
	return t
}

// valueOf returns nil for nil.
func valueOf(v reflect.Value) *Value {
	switch x := v.Interface().(type) {
	case *Table:
		if x == nil {
			return nil
		}
		return NewTableValue(x.Clone())
	case time.Duration:
		return NewString(FormatDuration(x))
	case Size:
		return NewString(x.String())
	case encoding.TextMarshaler:
		if v.Kind() == reflect.Pointer && v.IsNil() {
			return nil
		}
		text, err := x.MarshalText()
		if err != nil {
			return nil
		}
		return NewString(string(text))
	}
	switch v.Kind() {
	case reflect.String:
		return NewString(v.String())
	case reflect.Bool:
		return NewBool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return NewInt(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return NewInt(int64(v.Uint()))
	case reflect.Float32, reflect.Float64:
		return NewFloat(v.Float())
	case reflect.Struct:
		return NewTableValue(tableOf(v))
	}
	if v.IsNil() {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return valueOf(v.Elem())
	case reflect.Slice:
		list := NewList()
		for i := range v.Len() {
			if e := valueOf(v.Index(i)); e != nil {
				list.List = append(list.List, e)
			}
		}
		return list
	case reflect.Map:
		t := NewTable("")
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			if e := valueOf(v.MapIndex(k)); e != nil {
				t.Set(k.String(), e)
			}
		}
		return NewTableValue(t)
	default:
		panic(fmt.Sprintf("BUG: the type %s cannot be an option", v.Type()))
	}
}
