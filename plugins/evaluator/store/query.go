package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"regexp"
	"slices"
	"strconv"
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

// page is how many rows are read at once. Each may have a rule of a megabyte.
const page = 100

// each reads rows of a table, and calls f with some of them at a time, in their order. The
// database shows which they are first, so that nobody is waited for while it is read, and each
// is given once whatever is changed meanwhile: one that is gone by then, or is not asked for any
// more, is left out. Nothing was given before an error of q itself: [ErrNotFound], or a [*filter.Error].
func each[T any](ctx context.Context, s *Store, t *table, q Query, scan func(*sql.Rows) (T, error), f func([]T) error) error {
	names, descending := t.order(q.Order)
	order := orderBy(names, descending)
	var refs []int64
	err := s.db.View(ctx, func(db *database.Session) error {
		refs = refs[:0]
		c := t.where(db, q.Where)
		if q.Marker != uuid.Nil {
			if err := c.behind(ctx, q.Marker, names, descending); err != nil {
				return err
			}
		}
		text := "SELECT ref FROM " + t.name + " WHERE " + c.text.String() + order
		if q.Limit > 0 {
			text += " LIMIT ?"
			c.args = append(c.args, q.Limit)
		}
		rows, err := db.QueryOnce(ctx, text, c.args...)
		return database.Each(rows, err, func(rows *sql.Rows) error {
			refs = append(refs, 0)
			return rows.Scan(&refs[len(refs)-1])
		})
	})
	if database.Code(err) == invalidPattern {
		return &filter.Error{Message: fmt.Sprintf("Filter expression not valid: PostgreSQL refuses a regular expression: %v", err)}
	}
	if err != nil {
		return err
	}
	for part := range slices.Chunk(refs, page) {
		list := make([]T, 0, len(part))
		err := s.db.Read(ctx, func(db *database.Session) error {
			list = list[:0]
			c := t.where(db, q.Where)
			c.text.WriteString(" AND ref")
			c.in(len(part))
			for _, ref := range part {
				c.args = append(c.args, ref)
			}
			rows, err := db.QueryOnce(ctx, "SELECT "+t.columns+" FROM "+t.name+" WHERE "+c.text.String()+order, c.args...)
			return database.Each(rows, err, func(rows *sql.Rows) error {
				row, err := scan(rows)
				switch {
				case err == nil:
					list = append(list, row)
				case ctx.Err() != nil:
					return err
				default:
					s.o.Log.Error("a row of "+t.name+" can't be read and is not listed", "error", err)
				}
				return nil
			})
		})
		if err == nil && len(list) > 0 {
			err = f(list)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// invalidPattern is PostgreSQL's code of a regular expression that it does not know.
const invalidPattern = "2201B"

// condition is a condition in SQL while it is made.
type condition struct {
	table *table
	db    *database.Session
	text  strings.Builder
	args  []any
}

// where begins a condition; nil is fulfilled by all rows.
func (t *table) where(db *database.Session, e filter.Expr) *condition {
	c := &condition{table: t, db: db}
	if e == nil {
		e = filter.And{}
	}
	c.add(e)
	return c
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
		c.oneOf(e)
	case filter.Compare:
		c.compare(e)
	}
}

// join joins conditions in halves, since SQLite nests no deeper than a thousand, and takes a
// chain for as deep as it is long.
func (c *condition) join(parts []filter.Expr, word, none string) {
	switch n := len(parts); n {
	case 0:
		c.text.WriteString(none)
	case 1:
		c.add(parts[0])
	default:
		c.text.WriteString("(")
		c.join(parts[:n/2], word, none)
		c.text.WriteString(word)
		c.join(parts[n/2:], word, none)
		c.text.WriteString(")")
	}
}

// never is what no row fulfils, and always what all do.
const never, always = "1 = 0", "1 = 1"

func (c *condition) compare(e filter.Compare) {
	col := c.table.fields[e.Field]
	if col.words != nil {
		// The database has numbers in place of words, so the words are compared here.
		c.words(col, func(word string) bool { return holds(word, e.Op, fmt.Sprint(e.Value)) })
		return
	}
	if e.Op == "=~" {
		c.matches(col, e.Value)
		return
	}
	value, ok := c.value(col, e.Value)
	switch {
	case ok:
		c.text.WriteString(col.name + " " + e.Op + " ?")
		c.args = append(c.args, value)
	case e.Op == "!=":
		c.text.WriteString(always)
	default:
		c.text.WriteString(never)
	}
}

// value is a value as a column has it; one that no row can have is none.
func (c *condition) value(col column, value any) (any, bool) {
	switch {
	case col.uuid:
		id, err := uuid.Parse(fmt.Sprint(value))
		return c.db.UUID(id), err == nil
	case col.time:
		t, ok := value.(time.Time)
		return micros(t), ok
	}
	return value, true
}

// matches adds that a column's text has a match of a regular expression.
func (c *condition) matches(col column, pattern any) {
	text, ok := pattern.(string)
	switch {
	case !ok || col.time:
		c.text.WriteString(never)
		return
	case !c.db.Shared():
		c.text.WriteString(col.name + " REGEXP ?")
	case col.uuid:
		c.text.WriteString("CAST(" + col.name + " AS text) ~ ?")
	default:
		c.text.WriteString(col.name + " ~ ?")
	}
	c.args = append(c.args, text)
}

// oneOf adds that a column has one of some values.
func (c *condition) oneOf(e filter.In) {
	col := c.table.fields[e.Field]
	if col.words != nil {
		c.words(col, func(word string) bool { return slices.Contains(e.Values, any(word)) })
		return
	}
	n := 0
	for _, v := range e.Values {
		if value, ok := c.value(col, v); ok {
			c.args = append(c.args, value)
			n++
		}
	}
	if n == 0 {
		c.text.WriteString(never)
		return
	}
	c.text.WriteString(col.name)
	c.in(n)
}

// in adds a list of n values.
func (c *condition) in(n int) {
	c.text.WriteString(" IN (?" + strings.Repeat(", ?", n-1) + ")")
}

// words adds that a column has one of the words for which f holds.
func (c *condition) words(col column, f func(word string) bool) {
	var hits []string
	for i, word := range col.words {
		if f(word) {
			hits = append(hits, strconv.Itoa(i))
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

// order gives the columns that rows are sorted by. Rows that are equal otherwise have the
// order in which they were made.
func (t *table) order(keys []filter.Order) (names []string, descending []bool) {
	if len(keys) == 0 {
		keys = []filter.Order{{Field: t.newest, Descending: true}}
	}
	for _, k := range keys {
		col := t.fields[k.Field]
		if name := col.sorted(); !slices.Contains(names, name) {
			names, descending = append(names, name), append(descending, k.Descending)
		}
	}
	return append(names, "ref"), append(descending, descending[0])
}

func orderBy(names []string, descending []bool) string {
	list := slices.Clone(names)
	for i := range list {
		if descending[i] {
			list[i] += " DESC"
		}
	}
	return " ORDER BY " + strings.Join(list, ", ")
}

// behind adds that a row comes after the one of an id, which is one of those that fulfil the
// condition: a row that one may not see is none. It is behind it by the first column, or equal
// by that and behind it by the second, and so on.
func (c *condition) behind(ctx context.Context, id uuid.UUID, names []string, descending []bool) error {
	values := make([]any, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	text := "SELECT " + strings.Join(names, ", ") + " FROM " + c.table.name + " WHERE " + c.text.String() + " AND " + c.table.fields[c.table.id].name + " = ?"
	found, err := c.db.One(ctx, text, append(slices.Clone(c.args), c.db.UUID(id)), into...)
	if err != nil {
		return err
	}
	if !found {
		return ErrNotFound
	}
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
	return nil
}

// SQLite has the operator REGEXP, but leaves the function to us. Ids are compared as texts.
func init() {
	patterns := patterns{compiled: map[string]*regexp.Regexp{}}
	sqlite.MustRegisterDeterministicScalarFunction("regexp", 2, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		pattern, ok := args[0].(string)
		text, isText := args[1].(string)
		if id, isID := args[1].([]byte); isID && len(id) == len(uuid.UUID{}) {
			text, isText = uuid.UUID(id).String(), true
		}
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

// patterns keeps regular expressions: queries ask for theirs for each row.
type patterns struct {
	mu       sync.Mutex
	compiled map[string]*regexp.Regexp
}

// maxCompiled is more than the queries that are under way at a time have.
const maxCompiled = 1000

func (p *patterns) compile(text string) (*regexp.Regexp, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if re := p.compiled[text]; re != nil {
		return re, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	if len(p.compiled) >= maxCompiled {
		clear(p.compiled)
	}
	p.compiled[text] = re
	return re, nil
}
