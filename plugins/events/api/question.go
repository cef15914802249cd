package api

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nephoscope/nepho/plugins/events/chunk"
	"github.com/nephoscope/nepho/plugins/events/store"
	"github.com/nephoscope/nepho/sdk"
)

// filter is one of the filters of a list of events: q of Panko.
type filter struct {
	Field *string `json:"field"`
	Op    string  `json:"op"`
	Type  string  `json:"type"`
	Value *string `json:"value"`
}

// arguments are those of a list of events, from the URL or from the body.
type arguments struct {
	Q      []filter    `json:"q"`
	Limit  json.Number `json:"limit"`
	Sort   []string    `json:"sort"`
	Marker string      `json:"marker"`
}

// maxFilters is the most filters of a question.
const maxFilters = 100

func (s *server) arguments(w http.ResponseWriter, r *http.Request) (*arguments, error) {
	a := &arguments{}
	if r.ContentLength != 0 {
		body, err := s.site.Body(w, r, "application/json")
		if err == nil && len(body) > 0 {
			err = a.fromBody(body)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := a.fromURL(r); err != nil {
		return nil, err
	}
	if len(a.Q) > maxFilters {
		return nil, bad("There are %d filters, at most %d are allowed", len(a.Q), maxFilters)
	}
	for i := range a.Q {
		if a.Q[i].Field == nil {
			return nil, invalid("field", "None", "Mandatory field missing.")
		}
		if a.Q[i].Value == nil {
			return nil, invalid("value", "None", "Mandatory field missing.")
		}
	}
	return a, nil
}

func (a *arguments) fromBody(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(a); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return bad("Unknown argument: %s", name)
		}
		return bad("Request is not in valid JSON format: expected an object such as {\"q\": [{\"field\": \"event_type\", \"value\": \"...\"}]}")
	}
	if d.More() {
		return bad("Request is not in valid JSON format: there is something after its end")
	}
	return nil
}

func (a *arguments) fromURL(r *http.Request) error {
	arguments, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad("The arguments can't be read: %v", err)
	}
	var set func(f *filter, value *string)
	for name, values := range arguments {
		switch name {
		case "limit":
			a.Limit = json.Number(values[0])
			continue
		case "marker":
			a.Marker = values[0]
			continue
		case "sort":
			a.Sort = values
			continue
		case "q.field":
			set = func(f *filter, value *string) { f.Field = value }
		case "q.value":
			set = func(f *filter, value *string) { f.Value = value }
		case "q.op":
			set = func(f *filter, value *string) { f.Op = *value }
		case "q.type":
			set = func(f *filter, value *string) { f.Type = *value }
		default:
			return bad("Unknown argument: %q", name)
		}
		for i := range values {
			if i == len(a.Q) {
				a.Q = append(a.Q, filter{})
			}
			set(&a.Q[i], &values[i])
		}
	}
	return nil
}

// question makes a question of arguments.
func (s *server) question(ctx context.Context, a *arguments, c caller) (store.Query, error) {
	q := store.Everything()
	for i := range a.Q {
		if err := a.Q[i].add(&q, &c); err != nil {
			return q, err
		}
	}
	c.limit(&q)
	if a.Limit != "" {
		n, err := strconv.Atoi(string(a.Limit))
		if err != nil {
			return q, invalid("limit", string(a.Limit), "unable to convert to int")
		}
		if n < 0 {
			return q, invalid("limit", string(a.Limit), "the limit should be a positive integer.")
		}
		q.Limit = n
	}
	if err := setOrder(&q.Order, a.Sort); err != nil {
		return q, err
	}
	if a.Marker != "" {
		only := ""
		all := store.Everything()
		c.limit(&all)
		all.Only = &only
		// Of several with that id, of other times, the last: or pages would begin again.
		all.Order.TimeDescends = !q.Order.TimeDescends
		e, err := s.o.Store.Get(ctx, a.Marker, all)
		if err != nil {
			return q, err
		}
		if e == nil {
			return q, bad("Marker %s not found.", a.Marker)
		}
		after := store.KeyOf(e)
		q.After = &after
	}
	return q, nil
}

var ops = map[string]chunk.Op{"": chunk.Equal, "lt": chunk.Less, "le": chunk.AtMost, "eq": chunk.Equal, "ne": chunk.NotEqual, "ge": chunk.AtLeast, "gt": chunk.Greater}

// add adds a filter to a question.
func (f *filter) add(q *store.Query, c *caller) error {
	op, ok := ops[f.Op]
	if !ok {
		return bad("Operator %s is not supported. The supported operators are: ('lt', 'le', 'eq', 'ne', 'ge', 'gt')", f.Op)
	}
	only := func(name string) error {
		if f.Op != "" && f.Op != name {
			return bad("Operator %s is not supported. Only `%s' operator is available for field %s", f.Op, name, *f.Field)
		}
		return nil
	}
	switch *f.Field {
	case "event_type", "message_id":
		if err := only("eq"); err != nil {
			return err
		}
		if *f.Field == "event_type" {
			return both(&q.Type, f.Value, q)
		}
		return both(&q.ID, f.Value, q)
	case "start_timestamp", "end_timestamp":
		name := "ge"
		if *f.Field == "end_timestamp" {
			name = "le"
		}
		if err := only(name); err != nil {
			return err
		}
		t, ok := parseTime(*f.Value)
		if !ok {
			return bad("Unable to convert the value %s to the expected data type datetime.", *f.Value)
		}
		if name == "ge" {
			q.From = max(q.From, nanos(t))
		} else {
			q.To = min(q.To, nanos(t))
		}
		return nil
	case "all_tenants":
		if c.everything || c.admin {
			c.everything = c.everything || truth(*f.Value)
			return nil
		}
	}
	return f.addTrait(q, op)
}

// both sets a condition that there may be twice: nothing is two texts at once.
func both(to **string, value *string, q *store.Query) error {
	if *to != nil && **to != *value {
		q.From, q.To = math.MaxInt64, math.MinInt64
	}
	*to = value
	return nil
}

func (f *filter) addTrait(q *store.Query, op chunk.Op) error {
	w := chunk.Condition{Trait: *f.Field, Op: op}
	var err error
	switch f.Type {
	case "", "string":
		w.Type, w.Text = sdk.Text, *f.Value
	case "integer":
		w.Type = sdk.Integer
		w.Integer, err = strconv.ParseInt(strings.TrimSpace(*f.Value), 10, 64)
	case "float":
		w.Type = sdk.Float
		w.Float, err = strconv.ParseFloat(strings.TrimSpace(*f.Value), 64)
	case "datetime":
		w.Type = sdk.Datetime
		var ok bool
		if w.Time, ok = parseTime(*f.Value); !ok {
			err = strconv.ErrSyntax
		}
	default:
		return bad("The data type %s is not supported. The supported data type list is: ['integer', 'float', 'string', 'datetime']", f.Type)
	}
	if err != nil {
		return bad("Unable to convert the value %s to the expected data type %s.", *f.Value, f.Type)
	}
	q.Where = append(q.Where, w)
	return nil
}

// truth is what oslo takes for true.
func truth(text string) bool {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "1", "t", "true", "on", "y", "yes":
		return true
	}
	return false
}

// layouts of times, as ISO 8601 has them. Those without a zone are UTC.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02",
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "20060102T150405Z0700", "20060102T150405",
}

func parseTime(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// nanos is a time as events have it, or the first or last that one can have.
func nanos(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

const (
	sortHelp = "the sort parameter should be a pair of sort key and sort dir combined with ':', or only sort key specified and sort dir will be default 'asc', "
	sortKeys = sortHelp + "the supported sort keys are: ('message_id', 'generated')"
	sortDirs = sortHelp + "the supported sort directions are: ('asc', 'desc')"
)

// setOrder reads the sort keys. What is not named ascends, and decides last.
func setOrder(o *store.Order, list []string) error {
	for i, text := range list {
		key, direction, _ := strings.Cut(text, ":")
		descends := direction == "desc"
		switch key {
		case "generated":
			o.TimeDescends = descends
		case "message_id":
			o.IDDescends = descends
			o.ByID = i == 0
		default:
			return invalid("sort", text, sortKeys)
		}
		if direction != "" && direction != "asc" && !descends {
			return invalid("sort direction", text, sortDirs)
		}
	}
	return nil
}
