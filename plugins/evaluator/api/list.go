package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/filter"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// condition is a part of a simple query: q.field, q.op, q.value and q.type, which belong
// together by their places. A field's values are of its type, whatever q.type is.
type condition struct{ field, op, value string }

var conditionTypes = []string{"integer", "float", "string", "boolean", "datetime"}

// parameters are those of lists.
var parameters = []string{"q.field", "q.op", "q.value", "q.type", "sort", "limit", "marker"}

func conditionsOf(r *http.Request) ([]condition, url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, nil, bad("The query of the URL can't be read: %v", err)
	}
	for name := range values {
		if !slices.Contains(parameters, name) {
			return nil, nil, bad("Unknown argument: \"%s\"", name)
		}
	}
	at := func(name string, i int, byDefault string) string {
		if list := values[name]; i < len(list) && list[i] != "" {
			return list[i]
		}
		return byDefault
	}
	var list []condition
	for i, field := range values["q.field"] {
		c := condition{field: field, op: at("q.op", i, "eq"), value: at("q.value", i, "")}
		if t := at("q.type", i, "string"); !slices.Contains(conditionTypes, t) {
			return nil, nil, bad("The data type %s is not supported. The supported data type list is: ['%s']", t, strings.Join(conditionTypes, "', '"))
		}
		if !slices.Contains([]string{"lt", "le", "eq", "ne", "ge", "gt"}, c.op) {
			return nil, nil, bad("Invalid input for field/attribute op. Value: '%s'. Value should be one of: lt, le, eq, ne, ge, gt", c.op)
		}
		if i >= len(values["q.value"]) {
			return nil, nil, bad("Invalid input for field/attribute value. Value: 'None'. Mandatory field missing.")
		}
		list = append(list, c)
	}
	return list, values, nil
}

// truth reads a condition's value as a boolean.
func (c condition) truth() (bool, error) {
	v, ok := def.Truth(c.value)
	if !ok {
		return false, bad("Unable to convert the value %s to the expected data type boolean.", c.value)
	}
	return v, nil
}

// page reads sort, limit and marker into a query.
func page(values url.Values, keys []string, q *store.Query) error {
	for _, text := range values["sort"] {
		key, direction, _ := strings.Cut(text, ":")
		if !slices.Contains(keys, key) || direction != "" && direction != "asc" && direction != "desc" {
			return bad("Invalid input for field/attribute sort. Value: '%s'. the sort parameter should be a pair of sort key and sort dir combined with ':', or only sort key specified and sort dir will be default 'asc', the supported sort keys are: %s", text, strings.Join(keys, ", "))
		}
		q.Order = append(q.Order, filter.Order{Field: key, Descending: direction == "desc"})
	}
	if text := values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 {
			return bad("Invalid input for field/attribute limit. Value: '%s'. it should be a positive integer.", text)
		}
		q.Limit = n
	}
	if text := values.Get("marker"); text != "" {
		id, err := uuid.Parse(text)
		if err != nil || id == uuid.Nil {
			return badMarker(text)
		}
		q.Marker = id
	}
	return nil
}

func badMarker(text string) error {
	return bad("Invalid input for field/attribute marker. Value: '%s'. There is nothing of this id.", text)
}

var alarmKeys = []string{
	"alarm_id", "enabled", "name", "type", "severity", "timestamp", "user_id", "project_id", "state", "repeat_actions", "state_timestamp",
}

func (s *Server) listAlarms(w http.ResponseWriter, r *http.Request) error {
	conditions, values, err := conditionsOf(r)
	if err != nil {
		return err
	}
	var q store.Query
	if err := page(values, alarmKeys, &q); err != nil {
		return err
	}
	who := askerOf(r)
	where := filter.And{}
	all, project := false, false
	seen := map[string]bool{}
	for _, c := range conditions {
		_, field := filter.Alarms[c.field]
		if c.field != "all_projects" && (!field || !slices.Contains([]string{"user_id", "project_id", "type", "name", "enabled", "state", "severity", "timestamp", "repeat_actions"}, c.field)) {
			return bad("Invalid input for field/attribute field. Value: '%s'. only fields all_projects, enabled, name, project_id, repeat_actions, severity, state, timestamp, type, user_id are allowed", c.field)
		}
		if c.op != "eq" {
			return bad("Invalid input for field/attribute op. Value: '%s'. only operations eq are allowed", c.op)
		}
		if seen[c.field] {
			return bad("Invalid input for field/attribute field. Value: '%s'. duplicate query fields are not allowed", c.field)
		}
		seen[c.field] = true
		var value any = c.value
		switch c.field {
		case "all_projects":
			if all, err = c.truth(); err != nil {
				return err
			}
			if all && !who.admin {
				return errForbidden
			}
			continue
		case "enabled", "repeat_actions":
			value, err = c.truth()
		case "timestamp":
			value, err = filter.ParseTime(c.value)
		case "project_id":
			if project = true; !who.admin && c.value != who.Project {
				return notAuthorized(c.value)
			}
		}
		if err != nil {
			return err
		}
		where = append(where, filter.Compare{Field: c.field, Op: "=", Value: value})
	}
	if !all && !project {
		where = append(where, filter.Compare{Field: "project_id", Op: "=", Value: who.Project})
	}
	q.Where = where
	return s.writeAlarms(w, r, q)
}

// writeAlarms answers with alarms.
func (s *Server) writeAlarms(w http.ResponseWriter, r *http.Request, q store.Query) error {
	return known(q, list(s, w, r, func(ctx context.Context, f func([]*store.Alarm) error) error { return s.o.Store.EachAlarm(ctx, q, f) }, answer))
}

// known is the error of a list whose marker has to be known.
func known(q store.Query, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return badMarker(q.Marker.String())
	}
	return err
}

// complexQuery is the body of a complex query.
type complexQuery struct {
	Filter  *string `json:"filter"`
	OrderBy *string `json:"orderby"`
	Limit   *int    `json:"limit"`
}

// readComplex reads a complex query. visible is the field that says which project a row
// belongs to.
func (s *Server) readComplex(w http.ResponseWriter, r *http.Request, fields filter.Fields, visible string) (q store.Query, err error) {
	body, err := s.site.Body(w, r, "application/json")
	if err != nil {
		return q, err
	}
	var in complexQuery
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return q, bad("Request is not in valid JSON format: %v", err)
	}
	if in.Filter != nil && *in.Filter != "" {
		if q.Where, err = filter.Complex(*in.Filter, fields); err != nil {
			return q, err
		}
	}
	if q.Where, err = askerOf(r).only(q.Where, visible); err != nil {
		return q, err
	}
	if in.OrderBy != nil && *in.OrderBy != "" {
		if q.Order, err = filter.OrderBy(*in.OrderBy, fields); err != nil {
			return q, err
		}
	}
	if in.Limit != nil {
		if *in.Limit <= 0 {
			return q, bad("Limit should be positive")
		}
		q.Limit = *in.Limit
	}
	return q, nil
}

func (s *Server) queryAlarms(w http.ResponseWriter, r *http.Request) error {
	q, err := s.readComplex(w, r, filter.Alarms, "project_id")
	if err != nil {
		return err
	}
	return s.writeAlarms(w, r, q)
}

func (s *Server) queryHistory(w http.ResponseWriter, r *http.Request) error {
	q, err := s.readComplex(w, r, filter.Changes, "on_behalf_of")
	if err != nil {
		return err
	}
	return s.writeChanges(w, r, q)
}

var changeKeys = []string{"event_id", "alarm_id", "on_behalf_of", "project_id", "user_id", "type", "timestamp", "severity"}

func (s *Server) getHistory(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), s.o.Web.Timeout)
	defer cancel()
	a, err := s.alarm(r.WithContext(ctx))
	if err != nil {
		return err
	}
	conditions, values, err := conditionsOf(r)
	if err != nil {
		return err
	}
	var q store.Query
	if err := page(values, changeKeys, &q); err != nil {
		return err
	}
	who := askerOf(r)
	where := filter.And{filter.Compare{Field: "alarm_id", Op: "=", Value: a.ID.String()}}
	if !who.admin {
		where = append(where, filter.Compare{Field: "on_behalf_of", Op: "=", Value: who.Project})
	}
	times, offset, err := spanOf(conditions)
	if err != nil {
		return err
	}
	for _, t := range times {
		where = append(where, t.moved(offset))
	}
	for _, c := range conditions {
		switch c.field {
		case "timestamp", "search_offset":
			continue
		case "type", "user_id", "project_id", "severity":
		default:
			return bad("Unknown argument: \"%s\": unrecognized field in query, valid keys: project_id, search_offset, severity, timestamp, type, user_id", c.field)
		}
		if c.op != "eq" {
			return bad("Invalid input for field/attribute op. Value: '%s'. unimplemented operator for %s", c.op, c.field)
		}
		if c.field == "project_id" && !who.admin && c.value != who.Project {
			return notAuthorized(c.value)
		}
		where = append(where, filter.Compare{Field: c.field, Op: "=", Value: c.value})
	}
	q.Where = where
	return s.writeChanges(w, r, q)
}

// bound is a limit of the time of history.
type bound struct {
	op string
	at time.Time
}

// moved widens the span by an offset.
func (b bound) moved(offset time.Duration) filter.Expr {
	if b.op[0] == '>' {
		offset = -offset
	}
	return filter.Compare{Field: "timestamp", Op: b.op, Value: b.at.Add(offset)}
}

// spanOf reads the limits of time, and by how many minutes they are widened.
func spanOf(conditions []condition) (list []bound, offset time.Duration, err error) {
	ops := map[string]string{"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
	asked := false
	for _, c := range conditions {
		switch c.field {
		case "timestamp":
			op := ops[c.op]
			if op == "" {
				return nil, 0, bad("Invalid input for field/attribute op. Value: '%s'. unimplemented operator for timestamp", c.op)
			}
			t, err := filter.ParseTime(c.value)
			if err != nil {
				return nil, 0, bad("Invalid input for field/attribute timestamp. Value: '%s'. invalid timestamp format", c.value)
			}
			list = append(list, bound{op, t})
		case "search_offset":
			n, err := strconv.Atoi(c.value)
			if err != nil || n < 0 || n > 1<<20 {
				return nil, 0, bad("Invalid input for field/attribute search_offset. Value: '%s'. It is a number of minutes.", c.value)
			}
			asked, offset = true, time.Duration(n)*time.Minute
		}
	}
	if asked && len(list) == 0 {
		return nil, 0, bad("Invalid input for field/attribute field. Value: 'search_offset'. search_offset cannot be used without timestamp")
	}
	return list, offset, nil
}

// writeChanges answers with lines of history.
func (s *Server) writeChanges(w http.ResponseWriter, r *http.Request, q store.Query) error {
	return known(q, list(s, w, r, func(ctx context.Context, f func([]*store.Change) error) error { return s.o.Store.EachChange(ctx, q, f) }, line))
}

// line gives a line of history as Aodh has it.
func line(c *store.Change) def.Object {
	return def.Object{
		{Name: "event_id", Value: c.ID.String()}, {Name: "alarm_id", Value: c.Alarm.String()}, {Name: "type", Value: c.Kind.String()},
		{Name: "detail", Value: c.Detail}, {Name: "project_id", Value: c.Project}, {Name: "user_id", Value: c.User},
		{Name: "on_behalf_of", Value: c.OnBehalfOf}, {Name: "timestamp", Value: def.TimeText(c.At)},
	}
}
