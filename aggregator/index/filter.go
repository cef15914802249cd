package index

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/search"
	"github.com/nephoscope/nepho/aggregator/timetext"
)

// statement is SQL that is being put together.
type statement struct {
	text strings.Builder
	args []any
}

func (s *statement) add(text string, args ...any) {
	s.text.WriteString(text)
	s.args = append(s.args, args...)
}

// kind is what values of a column are compared with.
type kind uint8

const (
	kindText kind = iota
	kindUUID
	kindResource // an id, or the text that it is made of
	kindNumber
	kindBool
	kindTime
	kindSpan
)

// column is what a list can be searched or sorted by.
type column struct {
	expr     string
	kind     kind
	nullable bool
	// within, of a column that is the number of a row elsewhere, is a condition that
	// this row is one of those for which the condition at %s holds, in terms of inner.
	within, inner string
	// attribute says that the table of the attributes is needed.
	attribute bool
	// indexed says that a value is found without looking at all rows.
	indexed bool
	// unsortable is for what Gnocchi does not sort by.
	unsortable bool
}

func byCreator(inner string) column {
	return column{expr: "r.creator", nullable: true, within: "r.creator IN (SELECT id FROM creator WHERE %s)", inner: inner, indexed: true, unsortable: true}
}

// resourceColumns are those of every resource. The names of alias r are those of
// the tables resource and resource_history.
var resourceColumns = map[string]column{
	"id":                    {expr: "r.id", kind: kindResource, indexed: true},
	"type":                  {expr: "(SELECT name FROM resource_type t WHERE t.id = r.type)", within: "r.type IN (SELECT id FROM resource_type WHERE %s)", inner: "name"},
	"original_resource_id":  {expr: "r.original"},
	"creator":               {expr: "(SELECT name FROM creator c WHERE c.id = r.creator)", nullable: true, within: byCreator("").within, inner: "name", indexed: true},
	"created_by_user_id":    byCreator("user_id"),
	"created_by_project_id": byCreator("project_id"),
	"user_id":               {expr: "r.user_id", nullable: true, indexed: true},
	"project_id":            {expr: "r.project_id", nullable: true, indexed: true},
	"started_at":            {expr: "r.started_at", kind: kindTime},
	"ended_at":              {expr: "r.ended_at", kind: kindTime, nullable: true},
	"revision_start":        {expr: "r.revision_start", kind: kindTime},
	"lifespan":              {expr: "(r.ended_at - r.started_at)", kind: kindSpan, nullable: true, unsortable: true},
}

// resourceColumn finds a column of resources of a type; history says where it is
// for, and past whether the table is that of the past revisions.
func resourceColumn(t *storedType, name string, history, past bool) (column, bool) {
	if c, ok := resourceColumns[name]; ok {
		return c, true
	}
	if history && name == "revision_end" {
		c := column{expr: "r.revision_end", kind: kindTime, nullable: true}
		if !past {
			c.expr = "CAST(NULL AS BIGINT)"
		}
		return c, true
	}
	if history && name == "revision" {
		c := column{expr: "r.revision", kind: kindNumber}
		if !past {
			c.expr = "CAST(-1 AS BIGINT)"
		}
		return c, true
	}
	a := t.find(name)
	if a == nil {
		return column{}, false
	}
	kinds := map[AttributeType]kind{String: kindText, UUID: kindUUID, Number: kindNumber, Bool: kindBool, Datetime: kindTime}
	return column{expr: "a." + a.column(), kind: kinds[a.Type], nullable: true, attribute: true, indexed: a.indexed()}, true
}

// filter makes SQL of a search.
type filter struct {
	*statement
	session *database.Session
	column  func(name string) (column, bool)
	missing func(name string) error // of a column that there is not
	asker   string
	now     time.Time
	// attributes is set when a condition needs the table of the attributes, others when
	// one needs that of the resources.
	attributes, others bool
	// negated is how many times what is being put together is negated.
	negated int
}

func (f *filter) node(n search.Node) error {
	switch n := n.(type) {
	case search.And:
		return f.join(n, " AND ", "1 = 1")
	case search.Or:
		return f.join(n, " OR ", "1 = 0")
	case search.Not:
		f.add("NOT (")
		f.negated++
		err := f.node(n.Node)
		f.negated--
		f.add(")")
		return err
	case search.Compare:
		return f.compare(n)
	case search.In:
		return f.in(n)
	}
	panic(fmt.Sprintf("BUG: a search holds a %T", n))
}

// join puts nodes together as a balanced tree, because databases limit its depth.
func (f *filter) join(nodes []search.Node, between, none string) error {
	switch len(nodes) {
	case 0:
		f.add(none)
		return nil
	case 1:
		return f.node(nodes[0])
	}
	f.add("(")
	if err := f.join(nodes[:len(nodes)/2], between, none); err != nil {
		return err
	}
	f.add(between)
	if err := f.join(nodes[len(nodes)/2:], between, none); err != nil {
		return err
	}
	f.add(")")
	return nil
}

func (f *filter) find(name string) (column, error) {
	c, ok := f.column(name)
	if !ok {
		return c, f.missing(name)
	}
	f.attributes = f.attributes || c.attribute
	f.others = f.others || !c.attribute
	return c, nil
}

func errValue(name string, v any) error {
	text, ok := plainText(v)
	if !ok {
		text = "None"
	}
	return &InvalidError{fmt.Sprintf("Invalid value: `%s' for field `%s'", text, name)}
}

func (f *filter) compare(n search.Compare) error {
	c, err := f.find(n.Attribute)
	if err != nil {
		return err
	}
	if n.Value == nil {
		switch n.Operator {
		case search.Equal:
			f.null(c, "IS NULL")
		case search.NotEqual:
			f.null(c, "IS NOT NULL")
		default:
			return errValue(n.Attribute, nil)
		}
		return nil
	}
	if n.Operator == search.Like {
		return f.likeText(c, n)
	}
	v, err := f.value(c, n.Attribute, n.Value)
	if err != nil {
		return err
	}
	if n.Operator != search.NotEqual {
		f.on(c, string(n.Operator)+" ?", v)
		return nil
	}
	f.add("(NOT ")
	f.on(c, "= ?", v)
	if c.nullable {
		f.add(" OR ")
		f.null(c, "IS NULL")
	}
	f.add(")")
	return nil
}

// null adds a test for null.
func (f *filter) null(c column, test string) { f.add(c.plain() + " " + test) }

// plain is the column itself, if it stands for a row elsewhere.
func (c column) plain() string {
	if c.within != "" {
		return c.within[:strings.IndexByte(c.within, ' ')]
	}
	return c.expr
}

// on adds a condition on a column that is not null.
func (f *filter) on(c column, condition string, args ...any) {
	if c.within == "" {
		f.add(c.expr+" "+condition, args...)
		return
	}
	text := fmt.Sprintf(c.within, c.inner+" "+condition)
	if f.negated > 0 && c.nullable {
		// NULL is not unknown to be in a list that is empty. It makes no difference what is
		// not true, but what is not false.
		text = "(" + text + " OR " + c.plain() + " <> " + c.plain() + ")"
	}
	f.add(text, args...)
}

// maxPattern is the most bytes of a pattern; SQLite knows a limit too, and no
// attribute is as long.
const maxPattern = 4096

func (f *filter) likeText(c column, n search.Compare) error {
	text, ok := plainText(n.Value)
	if !ok || c.kind != kindText || len(text) > maxPattern || checkText("", text) != nil {
		return errValue(n.Attribute, n.Value)
	}
	p := parseLike(text)
	operator, operand := p.like(f.session)
	condition, args := operator+" ?", []any{operand}
	of := c.expr
	if c.within != "" {
		of = c.inner
	}
	// The bounds add nothing but that an index can be used.
	from, to := p.bounds()
	if from != "" {
		condition += " AND " + of + " >= ?"
		args = append(args, from)
	}
	if to != "" {
		condition += " AND " + of + " < ?"
		args = append(args, to)
	}
	f.add("(")
	f.on(c, condition, args...)
	f.add(")")
	return nil
}

func (f *filter) in(n search.In) error {
	c, err := f.find(n.Attribute)
	if err != nil {
		return err
	}
	var values []any
	null := false
	for _, v := range n.Values {
		if v == nil {
			null = true
			continue
		}
		converted, err := f.value(c, n.Attribute, v)
		if err != nil {
			return err
		}
		values = append(values, converted)
	}
	if len(values) == 0 {
		if null {
			f.null(c, "IS NULL")
		} else {
			f.add("1 = 0")
		}
		return nil
	}
	f.add("(")
	f.on(c, "IN "+places("?", len(values)), values...)
	if null {
		f.add(" OR ")
		f.null(c, "IS NULL")
	}
	f.add(")")
	return nil
}

// value makes an argument of a value that is not nil.
func (f *filter) value(c column, name string, v any) (any, error) {
	text, _ := plainText(v)
	refused := errValue(name, v)
	if checkText("", text) != nil {
		return nil, refused
	}
	switch c.kind {
	case kindText:
		return text, nil
	case kindUUID:
		id, err := uuid.Parse(text)
		if err != nil {
			return nil, refused
		}
		return f.session.UUID(id), nil
	case kindResource:
		id, err := ResourceID(text, f.asker)
		if err != nil {
			return nil, err
		}
		return f.session.UUID(id), nil
	case kindNumber:
		if b, ok := v.(bool); ok {
			text = map[bool]string{true: "1", false: "0"}[b]
		}
		number, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || math.IsNaN(number) {
			return nil, refused
		}
		return number, nil
	case kindBool:
		b, err := boolOf(v)
		if err != nil {
			return nil, refused
		}
		return b, nil
	case kindTime:
		t, err := timetext.ParseTime(text, f.now)
		if err != nil {
			return nil, refused
		}
		return time.Unix(0, t).UnixMicro(), nil
	}
	span, err := timetext.ParseSpan(text)
	if err != nil {
		return nil, refused
	}
	return span.Microseconds(), nil
}
