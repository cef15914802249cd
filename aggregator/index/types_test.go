package index

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestAttributeParse(t *testing.T) {
	text := Attribute{Type: String, Required: true, MinLength: 2, MaxLength: 5}
	number := Attribute{Type: Number, Required: true, Min: ptr(1.0), Max: ptr(10.0)}
	when := time.Date(2014, 1, 1, 0, 0, 0, 123456000, time.UTC)
	const uuidText = "8a8d1e9e-4b2c-4b0e-9a57-6f4f27a1c0de"
	for _, c := range []struct {
		a      Attribute
		json   string
		want   any
		reason string
	}{
		{text, `"é€"`, "é€", ""},
		{text, `"x"`, nil, "length of value must be at least 2"},
		{text, `"abcdef"`, nil, "length of value must be at most 5"},
		{text, `5`, nil, "expected str"},
		{text, `null`, nil, "expected str"},
		{text, `"a\u0000b"`, nil, "value is no text in UTF-8, or has a character of code 0"},
		{text, `{`, nil, "Expected object or value"},
		{Attribute{Type: String}, `null`, nil, ""},
		{number, `5`, 5.0, ""},
		{number, `1e1`, 10.0, ""},
		{number, `0`, nil, "value must be at least 1"},
		{number, `11`, nil, "value must be at most 10"},
		{number, `"5"`, nil, "expected Real"},
		{number, `true`, nil, "expected Real"},
		{number, `null`, nil, "expected Real"},
		{Attribute{Type: Bool}, `true`, true, ""},
		{Attribute{Type: Bool}, `1`, nil, "expected bool"},
		{Attribute{Type: UUID}, `"` + strings.ToUpper(uuidText) + `"`, uuidText, ""},
		{Attribute{Type: UUID}, `"` + strings.ReplaceAll(uuidText, "-", "") + `"`, uuidText, ""},
		{Attribute{Type: UUID}, `"x"`, nil, "badly formed hexadecimal UUID string"},
		{Attribute{Type: UUID}, `5`, nil, "badly formed hexadecimal UUID string"},
		{Attribute{Type: Datetime}, `"2014-01-01T00:00:00.123456789Z"`, when, ""},
		{Attribute{Type: Datetime}, `1388534400.123456`, when, ""},
		{Attribute{Type: Datetime}, `-5`, nil, "Timestamp must be after Epoch"},
		{Attribute{Type: Datetime}, `"x"`, nil, "Unable to convert timestamps"},
		{Attribute{Type: Datetime}, `true`, nil, "Unable to convert timestamps"},
	} {
		got, err := c.a.Parse(json.RawMessage(c.json))
		if c.reason == "" {
			ok(t, err)
			same(t, got, c.want)
		} else {
			wantError(t, err, &InvalidError{c.reason})
		}
	}
}

func TestAttributeValue(t *testing.T) {
	text, number := Attribute{Type: String, MaxLength: 255}, Attribute{Type: Number}
	when := time.Date(2014, 1, 1, 0, 0, 0, 1000, time.UTC)
	for _, c := range []struct {
		a       Attribute
		v, want any
	}{
		{text, 5.0, "5"}, {text, 1.5, "1.5"}, {text, 7, "7"}, {text, true, "True"}, {text, json.Number("1.0"), "1.0"}, {text, nil, nil},
		{text, when, "2014-01-01T00:00:00.000001Z"}, {text, id(1), id(1).String()},
		{number, "5", 5.0}, {number, " 1e3 ", 1000.0}, {number, int64(-3), -3.0}, {number, json.Number("2"), 2.0},
		{Attribute{Type: Bool}, "TRUE", true}, {Attribute{Type: Bool}, 0.0, false}, {Attribute{Type: Bool}, "1", true},
		{Attribute{Type: Datetime}, when.Add(5), when}, {Attribute{Type: Datetime}, 1.0, time.Unix(1, 0).UTC()},
		{Attribute{Type: UUID}, id(3), id(3).String()},
	} {
		same(t, must(c.a.Value(c.v))(t), c.want)
	}
	if zero := must(number.Value(math.Copysign(0, -1)))(t); math.Signbit(zero.(float64)) {
		t.Error("-0 stays")
	}
	for _, c := range []struct {
		a Attribute
		v any
	}{
		{text, []any{}}, {text, map[string]any{}}, {number, "x"}, {number, math.NaN()}, {number, "inf"}, {number, nil}, {number, []any{}},
		{Attribute{Type: Bool}, "maybe"}, {Attribute{Type: Bool}, 2.0}, {Attribute{Type: UUID}, "x"}, {Attribute{Type: Datetime}, []any{}}, {Attribute{}, 1},
	} {
		c.a.Required = true
		if v, err := c.a.Value(c.v); err == nil {
			t.Errorf("%v is a %s: %v", c.v, c.a.Type, v)
		}
	}
}

func TestTypes(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		same(t, must(x.Types(ctx))(t), []ResourceType{{Generic, map[string]Attribute{}}})
		instance := ResourceType{"instance", map[string]Attribute{
			"host": {Type: String, Required: true}, "a b'\"c": {Type: UUID}, "vcpus": {Type: Number, Min: ptr(0.0)},
		}}
		ok(t, x.CreateType(ctx, instance))
		wantError(t, x.CreateType(ctx, instance), &ExistsError{KindResourceType, "instance"})
		wantError(t, x.CreateType(ctx, ResourceType{Name: Generic}), &ExistsError{KindResourceType, Generic})
		host := Attribute{Type: String, Required: true, MaxLength: 255}
		instance.Attributes["host"] = host
		same(t, must(x.Type(ctx, "instance"))(t), instance)
		_, err := x.Type(ctx, "none")
		wantError(t, err, &NotFoundError{KindResourceType, "none"})
		for name, a := range map[string]Attribute{
			"creator": {Type: String}, "": {Type: String}, "_x": {Type: String}, strings.Repeat("x", 64): {Type: String}, "x": {Type: "text"},
			"y": {Type: String, MinLength: 2, MaxLength: 1}, "z": {Type: Number, Min: ptr(2.0), Max: ptr(1.0)}, "q": {Type: String, MaxLength: 256},
		} {
			if _, invalid := x.CreateType(ctx, ResourceType{"bad", map[string]Attribute{name: a}}).(*InvalidError); !invalid {
				t.Errorf("attribute %q of %+v was not refused", name, a)
			}
		}

		// Resources and their past revisions get what new attributes are filled with.
		create := func(n int) {
			t.Helper()
			must(x.CreateResource(ctx, &Resource{ID: id(n), Type: "instance", Attributes: map[string]any{"host": "h", "vcpus": 2.0}}, nil, nil))(t)
		}
		create(1)
		must(x.ChangeResource(ctx, "instance", id(1), Change{Attributes: map[string]any{"host": "i"}}))(t)
		add := map[string]Attribute{"rack": {Type: String, Required: true}, "host": {Type: Number}, "on": {Type: Bool}, "at": {Type: Datetime}, "project": {Type: UUID}}
		_, err = x.ChangeType(ctx, "instance", add, nil, nil)
		wantError(t, err, &InvalidError{"Option 'fill' of resource attribute rack is invalid: must not be empty if required=True"})
		_, err = x.ChangeType(ctx, "instance", add, map[string]any{"rack": 5}, nil)
		wantError(t, err, &InvalidError{"Option 'fill' of resource attribute rack is invalid: expected str"})
		_, err = x.ChangeType(ctx, "instance", add, map[string]any{"rack": "r", "host": 1}, []string{"what"})
		wantError(t, err, &InvalidError{"can't remove a non-existent object 'what'"})
		same(t, must(x.Type(ctx, "instance"))(t), instance)
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		fill := map[string]any{"rack": "r", "on": true, "at": at, "project": id(9).String(), "host": 5}
		changed := must(x.ChangeType(ctx, "instance", add, fill, []string{"vcpus"}))(t)
		want := ResourceType{"instance", map[string]Attribute{"host": host, "a b'\"c": {Type: UUID}, "on": {Type: Bool}, "at": {Type: Datetime},
			"project": {Type: UUID}, "rack": {Type: String, Required: true, MaxLength: 255}}}
		same(t, changed, want)
		same(t, must(x.Type(ctx, "instance"))(t), want)
		for i, r := range must(x.History(ctx, "instance", id(1), Page{Limit: 10}))(t) {
			same(t, r.Attributes, map[string]any{"host": string("hi"[i]), "a b'\"c": nil, "on": true, "at": at, "project": id(9).String(), "rack": "r"})
		}

		// What was removed does not come back with another attribute of the name.
		_, err = x.ChangeType(ctx, "instance", map[string]Attribute{"vcpus": {Type: String}}, nil, nil)
		ok(t, err)
		same(t, must(x.Resource(ctx, "instance", id(1)))(t).Attributes["vcpus"], nil)
		_, err = x.ChangeType(ctx, "none", nil, nil, nil)
		wantError(t, err, &NotFoundError{KindResourceType, "none"})
		if _, err = x.ChangeType(ctx, Generic, map[string]Attribute{"x": {Type: String}}, nil, nil); err == nil {
			t.Error("generic was changed")
		}

		wantError(t, x.DeleteType(ctx, "instance"), &InUseError{KindResourceType, "instance"})
		wantError(t, x.DeleteType(ctx, Generic), &InUseError{KindResourceType, Generic})
		wantError(t, x.DeleteType(ctx, "none"), &NotFoundError{KindResourceType, "none"})
		ok(t, x.DeleteResource(ctx, "instance", id(1), time.Time{}))
		ok(t, x.DeleteType(ctx, "instance"))
		same(t, len(must(x.Types(ctx))(t)), 1)
		ok(t, x.CreateType(ctx, instance))
		create(1)
	})
}

func TestResourceID(t *testing.T) {
	got := must(ResourceID("foo", "admin"))(t)
	same(t, got, uuid.MustParse("7acf4bc8-81de-5932-ab59-eda92e59b49a")) // as Gnocchi makes it
	same(t, must(ResourceID("8A8D1E9E-4B2C-4B0E-9A57-6F4F27A1C0DE", "x"))(t), uuid.MustParse("8a8d1e9e-4b2c-4b0e-9a57-6f4f27a1c0de"))
	if _, err := ResourceID(strings.Repeat("x", 256), ""); err == nil {
		t.Error("a long id was not refused")
	}
}
