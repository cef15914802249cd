package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"modernc.org/sqlite"

	"github.com/nephoscope/nepho/aggregator/database"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/filter"
)

// table is a table that users search.
type table struct {
	name, columns string
	fields        map[string]column
	newest        string // the field by which the newest rows come first
	id            string // the field of markers
}

// column is where a field is, and how its values are stored.
type column struct {
	name string
	// words are the texts of small numbers; nil: the value itself. Rows are sorted by the
	// numbers, or alphabetically.
	words        []string
	alphabetical bool
	uuid         bool
	time         bool
}

var (
	stateWords    = []string{def.InsufficientData.String(), def.OK.String(), def.Alerting.String()}
	severityWords = []string{def.Low.String(), def.Moderate.String(), def.Critical.String()}
)

var alarmTable = table{
	name: "alarm", columns: columns, newest: "timestamp", id: "alarm_id",
	fields: map[string]column{
		"alarm_id": {name: "id", uuid: true}, "name": {name: "name"}, "description": {name: "description"}, "type": {name: "type"},
		"enabled": {name: "enabled"}, "state": {name: "state", words: stateWords, alphabetical: true}, "state_reason": {name: "reason"},
		"state_timestamp": {name: "since", time: true}, "timestamp": {name: "changed", time: true}, "evaluate_timestamp": {name: "evaluated", time: true},
		"severity": {name: "severity", words: severityWords}, "repeat_actions": {name: "repeat_actions"},
		"project_id": {name: "project"}, "user_id": {name: "owner"},
	},
}

var historyTable = table{
	name: "alarm_history", columns: "id, alarm, type, detail, owner, project, on_behalf_of, severity, at", newest: "timestamp", id: "event_id",
	fields: map[string]column{
		"event_id": {name: "id", uuid: true}, "alarm_id": {name: "alarm", uuid: true}, "type": {name: "type", words: kinds, alphabetical: true}, "detail": {name: "detail"},
		"user_id": {name: "owner"}, "project_id": {name: "project"}, "on_behalf_of": {name: "on_behalf_of"},
		"timestamp": {name: "at", time: true}, "severity": {name: "severity", words: severityWords},
	},
}

// sorted is what rows are sorted by.
func (c *column) sorted() string {
	if !c.alphabetical {
		return c.name
	}
	text := "CASE " + c.name
	for place, word := range slices.Sorted(slices.Values(c.words)) {
		text += fmt.Sprintf(" WHEN %d THEN %d", slices.Index(c.words, word), place)
	}
	return text + " END"
}

// query reads rows of a table. again is called before the first row, each time that
// the query is tried.
func (s *Store) query(ctx context.Context, t *table, q Query, again func(), row func(*sql.Rows) error) error {
	return s.db.View(ctx, func(db *database.Session) error {
		again()
		c := condition{table: t, db: db}
		if q.Where != nil {
			c.add(q.Where)
		} else {
			c.text.WriteString("1 = 1")
		}
		order, err := c.order(ctx, q)
		if err != nil {
			return err
		}
		text := "SELECT " + t.columns + " FROM " + t.name + " WHERE " + c.text.String() + " ORDER BY " + order
		if q.Limit > 0 {
			text += " LIMIT ?"
			c.args = append(c.args, q.Limit)
		}
		rows, err := db.QueryOnce(ctx, text, c.args...)
		return database.Each(rows, err, row)
	})
}

// condition is a condition in SQL while it is made.
type condition struct {
	table *table
	db    *database.Session
	text  strings.Builder
	args  []any
}

func (c *condition) add(e filter.Expr) {
	switch e := e.(type) {
	case filter.And:
		c.join(e, " AND ", "1 = 1")
	case filter.Or:
		c.join(e, " OR ", "1 = 0")
	case filter.Not:
		c.text.WriteString("NOT (")
		c.add(e.Expr)
		c.text.WriteString(")")
	case filter.In:
		list := make(filter.Or, len(e.Values))
		for i, v := range e.Values {
			list[i] = filter.Compare{Field: e.Field, Op: "=", Value: v}
		}
		c.add(list)
	case filter.Compare:
		c.compare(e)
	}
}

func (c *condition) join(parts []filter.Expr, word, none string) {
	if len(parts) == 0 {
		c.text.WriteString(none)
		return
	}
	c.text.WriteString("(")
	for i, e := range parts {
		if i > 0 {
			c.text.WriteString(word)
		}
		c.add(e)
	}
	c.text.WriteString(")")
}

// never is what no row fulfils, and always what all do.
const never, always = "1 = 0", "1 = 1"

func (c *condition) compare(e filter.Compare) {
	col := c.table.fields[e.Field]
	value := e.Value
	switch {
	case col.words != nil:
		// The database has numbers in place of words, so the words are compared here.
		c.oneOf(col, e)
		return
	case col.uuid:
		text := fmt.Sprint(value)
		if id, err := uuid.Parse(text); err == nil && e.Op != "=~" {
			value = c.db.UUID(id)
		} else if e.Op == "!=" {
			c.text.WriteString(always)
			return
		} else {
			c.text.WriteString(never)
			return
		}
	case col.time:
		t, ok := value.(time.Time)
		if !ok {
			c.text.WriteString(never)
			return
		}
		value = micros(t)
	}
	op := e.Op
	if op == "=~" {
		if _, ok := value.(string); !ok {
			c.text.WriteString(never)
			return
		}
		if op = "~"; !c.db.Shared() {
			op = "REGEXP"
		}
	}
	c.text.WriteString(col.name + " " + op + " ?")
	c.args = append(c.args, value)
}

// oneOf selects the words that a comparison holds for.
func (c *condition) oneOf(col column, e filter.Compare) {
	text := fmt.Sprint(e.Value)
	var hits []string
	for i, word := range col.words {
		if holds(word, e.Op, text) {
			hits = append(hits, fmt.Sprint(i))
		}
	}
	if len(hits) == 0 {
		c.text.WriteString(never)
		return
	}
	c.text.WriteString(col.name + " IN (" + strings.Join(hits, ", ") + ")")
}

func holds(word, op, text string) bool {
	switch op {
	case "=":
		return word == text
	case "!=":
		return word != text
	case "<":
		return word < text
	case "<=":
		return word <= text
	case ">":
		return word > text
	case ">=":
		return word >= text
	}
	re, err := regexp.Compile(text)
	return err == nil && re.MatchString(word)
}

// order gives the order of rows, and limits them to those behind the marker. Rows that
// are equal otherwise have the order in which they were made.
func (c *condition) order(ctx context.Context, q Query) (string, error) {
	keys := slices.Clone(q.Order)
	if len(keys) == 0 {
		keys = []filter.Order{{Field: c.table.newest, Descending: true}}
	}
	names := make([]string, 0, len(keys)+1)
	var descending []bool
	for _, k := range keys {
		col := c.table.fields[k.Field]
		if name := col.sorted(); !slices.Contains(names, name) {
			names, descending = append(names, name), append(descending, k.Descending)
		}
	}
	names, descending = append(names, "ref"), append(descending, descending[0])
	if q.Marker != uuid.Nil {
		values := make([]any, len(names))
		into := make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		// It is one of those that are listed: a row that one may not see is none.
		text := "SELECT " + strings.Join(names, ", ") + " FROM " + c.table.name + " WHERE " + c.text.String() + " AND " + c.table.fields[c.table.id].name + " = ?"
		found, err := c.db.One(ctx, text, append(slices.Clone(c.args), c.db.UUID(q.Marker)), into...)
		if err != nil {
			return "", err
		}
		if !found {
			return "", ErrNotFound
		}
		c.behind(names, descending, values)
	}
	for i := range names {
		if descending[i] {
			names[i] += " DESC"
		}
	}
	return strings.Join(names, ", "), nil
}

// behind adds that a row comes after one with the given values: it is behind it by
// the first column, or equal by that and behind it by the second, and so on.
func (c *condition) behind(names []string, descending []bool, values []any) {
	c.text.WriteString(" AND (")
	for i := range names {
		if i > 0 {
			c.text.WriteString(" OR ")
		}
		c.text.WriteString("(")
		for j := range i {
			c.text.WriteString(names[j] + " = ? AND ")
			c.args = append(c.args, values[j])
		}
		op := " > ?"
		if descending[i] {
			op = " < ?"
		}
		c.text.WriteString(names[i] + op + ")")
		c.args = append(c.args, values[i])
	}
	c.text.WriteString(")")
}

// SQLite has the operator REGEXP, but leaves the function to us.
func init() {
	var patterns patterns
	sqlite.MustRegisterDeterministicScalarFunction("regexp", 2, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		pattern, ok := args[0].(string)
		text, isText := args[1].(string)
		if !ok || !isText {
			return int64(0), nil
		}
		re, err := patterns.compile(pattern)
		if err != nil {
			return nil, err
		}
		if re.MatchString(text) {
			return int64(1), nil
		}
		return int64(0), nil
	})
}

// patterns keeps the last regular expression: a query asks for the same one for each row.
type patterns struct {
	mu   sync.Mutex
	last *regexp.Regexp
}

func (p *patterns) compile(text string) (*regexp.Regexp, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil && p.last.String() == text {
		return p.last, nil
	}
	re, err := regexp.Compile(text)
	if err == nil {
		p.last = re
	}
	return re, err
}
