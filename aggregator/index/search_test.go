package index

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/search"
)

// zoo makes resources of three types with few different values, and past revisions
// of many of them.
func zoo(t *testing.T, x *Index, r *rand.Rand) {
	t.Helper()
	clock(x)
	instances(t, x)
	ok(t, x.CreateType(t.Context(), ResourceType{"port", map[string]Attribute{"host": {Type: String}, "speed": {Type: Number}}}))
	for n := range 120 {
		resource := &Resource{ID: id(n), Original: zooText(r), Creator: []string{"", "ann", "ann:p1", "bob:p2", "bob:p1"}[r.IntN(5)],
			Type: []string{Generic, "port", "instance", "instance"}[r.IntN(4)], Started: zooTime(r)}
		if r.IntN(2) == 0 {
			resource.ID = must(ResourceID(fmt.Sprintf("vm %d", n%10), fmt.Sprint(n)))(t)
		}
		if r.IntN(3) > 0 {
			resource.Project = ptr([]string{"p1", "p2", "P1"}[r.IntN(3)])
		}
		if r.IntN(2) > 0 {
			resource.User = ptr(zooText(r))
		}
		if r.IntN(2) > 0 {
			resource.Ended = ptr(resource.Started.Add(time.Duration(r.IntN(4)) * time.Hour))
		}
		resource.Attributes = zooAttributes(r, resource.Type)
		must(x.CreateResource(t.Context(), resource, nil, nil))(t)
		for range r.IntN(3) {
			must(x.ChangeResource(t.Context(), resource.Type, resource.ID, Change{User: ptr(ptr(zooText(r))), Attributes: zooAttributes(r, resource.Type)}))(t)
		}
	}
}

func zooText(r *rand.Rand) string {
	return []string{"", "a", "A", "ab", "aB", "b%", "a_b", `a\b`, "é", "*", "a*b", "[x]", "5", "True", "it's", "\U0010FFFF", "a\U0010FFFF", "\uD7FF"}[r.IntN(18)]
}

func zooTime(r *rand.Rand) time.Time {
	return time.Date(2026, 1, 1+r.IntN(3), r.IntN(2), 0, 0, r.IntN(2)*1000, time.UTC)
}

func zooAttributes(r *rand.Rand, typ string) map[string]any {
	all := map[string]map[string]any{
		Generic:    {},
		"port":     {"host": zooText(r), "speed": []float64{0, 0.1, -1e300, 1 << 53}[r.IntN(4)]},
		"instance": {"host": zooText(r), "flavor": id(r.IntN(4)), "vcpus": []any{1, 2.5, -3, 1e-7}[r.IntN(4)], "on": r.IntN(2) == 0, "booted": zooTime(r)},
	}[typ]
	for name := range all {
		if r.IntN(4) == 0 {
			all[name] = nil
		}
	}
	return all
}

// columns that the types have, and values that may be asked for.
var zooColumns = map[string][]string{
	Generic: {"id", "type", "original_resource_id", "creator", "created_by_user_id", "created_by_project_id", "user_id", "project_id",
		"started_at", "ended_at", "revision_start", "lifespan"},
	"port":     {"host", "speed"},
	"instance": {"host", "flavor", "vcpus", "on", "booted"},
}

func zooValue(r *rand.Rand, column string) any {
	if r.IntN(10) == 0 {
		return nil
	}
	switch column {
	case "id":
		return []any{id(r.IntN(120)).String(), strings.ToUpper(id(r.IntN(20)).String()), fmt.Sprintf("vm %d", r.IntN(10))}[r.IntN(3)]
	case "started_at", "ended_at", "booted":
		return zooTime(r).Format(time.RFC3339Nano)
	case "revision_start", "revision_end":
		return float64(time.Date(2026, 11, 22, 0, r.IntN(4), 0, 0, time.UTC).Unix())
	case "lifespan":
		return []any{"1 hour", 7200.0, "3:00:00"}[r.IntN(3)]
	case "flavor":
		return id(r.IntN(4)).String()
	case "vcpus", "speed":
		return []any{1.0, 2.5, "-3", "1e-7", true, 0.0, 0.1, float64(1 << 53)}[r.IntN(8)]
	case "on":
		return []any{true, false, "true", 0.0}[r.IntN(4)]
	case "type":
		return []any{Generic, "instance", "x"}[r.IntN(3)]
	case "creator", "created_by_user_id", "created_by_project_id", "project_id":
		return []any{"ann", "bob", "p1", "p2", "ann:p1", ""}[r.IntN(6)]
	}
	return []any{zooText(r), zooText(r), 5.0, true}[r.IntN(4)]
}

func isText(column string) bool {
	return !slices.Contains([]string{"id", "started_at", "ended_at", "booted", "revision_start", "revision_end", "lifespan", "flavor", "vcpus", "speed", "on"}, column)
}

func zooFilter(r *rand.Rand, columns []string, depth int) search.Node {
	nodes := func() []search.Node {
		list := make([]search.Node, 1+r.IntN(3))
		for i := range list {
			list[i] = zooFilter(r, columns, depth-1)
		}
		return list
	}
	if depth > 0 {
		switch r.IntN(5) {
		case 0:
			return search.And(nodes())
		case 1:
			return search.Or(nodes())
		case 2:
			return search.Not{Node: zooFilter(r, columns, depth-1)}
		}
	}
	column := columns[r.IntN(len(columns))]
	if r.IntN(4) == 0 {
		n := search.In{Attribute: column}
		for range 1 + r.IntN(3) {
			n.Values = append(n.Values, zooValue(r, column))
		}
		return n
	}
	if isText(column) && r.IntN(3) == 0 {
		pattern := []string{"%", "a%", "_", "%b", `a\_%`, `%\`, "é", "a*%", "[x]", "A_", "\U0010FFFF%", "\uD7FF%", "p1", "p%", ""}
		return search.Compare{Operator: search.Like, Attribute: column, Value: pattern[r.IntN(len(pattern))]}
	}
	operators := []search.Operator{search.Equal, search.NotEqual, search.Less, search.LessOrEqual, search.Greater, search.GreaterOrEqual}
	n := search.Compare{Operator: operators[r.IntN(len(operators))], Attribute: column, Value: zooValue(r, column)}
	if n.Value == nil && n.Operator != search.NotEqual {
		n.Operator = search.Equal
	}
	return n
}

// truth is SQL's: 0 is false, 1 unknown, 2 true.
type truth int

func truthOf(b bool) truth { return map[bool]truth{false: 0, true: 2}[b] }

// holds evaluates a search, slowly and plainly. now and asker are those of the query.
func holds(t *testing.T, n search.Node, r *Resource, asker string) truth {
	switch n := n.(type) {
	case search.And:
		least := truth(2)
		for _, n := range n {
			least = min(least, holds(t, n, r, asker))
		}
		return least
	case search.Or:
		most := truth(0)
		for _, n := range n {
			most = max(most, holds(t, n, r, asker))
		}
		return most
	case search.Not:
		return 2 - holds(t, n.Node, r, asker)
	case search.In:
		any := search.Or{}
		for _, v := range n.Values {
			any = append(any, search.Compare{Operator: search.Equal, Attribute: n.Attribute, Value: v})
		}
		return holds(t, any, r, asker)
	}
	c := n.(search.Compare)
	has := field(r, c.Attribute)
	switch {
	case c.Value == nil:
		return truthOf((has == nil) == (c.Operator == search.Equal))
	case has == nil && c.Operator == search.NotEqual:
		return 2
	case has == nil:
		return 1
	case c.Operator == search.Like:
		return truthOf(likeRegexp(c.Value.(string)).MatchString(has.(string)))
	}
	order := compareValues(has, convert(t, c.Attribute, has, c.Value, asker))
	switch c.Operator {
	case search.Equal:
		return truthOf(order == 0)
	case search.NotEqual:
		return truthOf(order != 0)
	case search.Less:
		return truthOf(order < 0)
	case search.LessOrEqual:
		return truthOf(order <= 0)
	case search.Greater:
		return truthOf(order > 0)
	}
	return truthOf(order >= 0)
}

func likeRegexp(pattern string) *regexp.Regexp {
	var b strings.Builder
	runes := []rune(pattern)
	for i := 0; i < len(runes); i++ {
		switch {
		case runes[i] == '%':
			b.WriteString(".*")
		case runes[i] == '_':
			b.WriteString(".")
		case runes[i] == '\\' && i+1 < len(runes):
			i++
			fallthrough
		default:
			b.WriteString(regexp.QuoteMeta(string(runes[i])))
		}
	}
	return regexp.MustCompile("(?s)^" + b.String() + "$")
}

// field is a resource's value of a column: nil, string, float64, bool, time.Time or time.Duration.
func field(r *Resource, column string) any {
	text := func(s *string) any {
		if s == nil {
			return nil
		}
		return *s
	}
	user, project, _ := strings.Cut(r.Creator, ":")
	switch column {
	case "id":
		return r.ID.String()
	case "type":
		return r.Type
	case "original_resource_id":
		return r.Original
	case "user_id":
		return text(r.User)
	case "project_id":
		return text(r.Project)
	case "started_at":
		return r.Started
	case "revision_start":
		return r.RevisionStart
	case "revision":
		return float64(r.Revision)
	}
	switch {
	case strings.HasPrefix(column, "creat") && r.Creator == "":
		return nil
	case column == "creator":
		return r.Creator
	case column == "created_by_user_id":
		return user
	case column == "created_by_project_id":
		return project
	case column == "ended_at" && r.Ended != nil:
		return *r.Ended
	case column == "revision_end" && r.RevisionEnd != nil:
		return *r.RevisionEnd
	case column == "lifespan" && r.Ended != nil:
		return r.Ended.Sub(r.Started)
	}
	return r.Attributes[column]
}

// convert makes a value of a search one of the kind of what is compared with it.
func convert(t *testing.T, column string, has, v any, asker string) any {
	t.Helper()
	switch has.(type) {
	case float64:
		if b, isBool := v.(bool); isBool {
			return map[bool]float64{true: 1}[b]
		}
		return must(Attribute{Type: Number}.Value(v))(t)
	case bool:
		return must(Attribute{Type: Bool}.Value(v))(t)
	case time.Time:
		return must(Attribute{Type: Datetime}.Value(v))(t)
	case time.Duration:
		return map[any]time.Duration{"1 hour": time.Hour, 7200.0: 2 * time.Hour, "3:00:00": 3 * time.Hour}[v]
	}
	if column == "id" {
		return must(ResourceID(v.(string), asker))(t).String()
	}
	return must(Attribute{Type: String, MaxLength: 255}.Value(v))(t)
}

func compareValues(a, b any) int {
	switch a := a.(type) {
	case float64:
		return cmp.Compare(a, b.(float64))
	case bool:
		return cmp.Compare(truthOf(a), truthOf(b.(bool)))
	case time.Time:
		return a.Compare(b.(time.Time))
	case time.Duration:
		return cmp.Compare(a, b.(time.Duration))
	}
	return bytes.Compare([]byte(a.(string)), []byte(b.(string)))
}

// compareResources compares resources by a page's order.
func compareResources(a, b *Resource, order []SortKey) int {
	return compareBy(order, func(key string) (any, any) { return field(a, key), field(b, key) })
}

func compareBy(order []SortKey, values func(key string) (any, any)) int {
	for _, k := range order {
		a, b := values(k.Name)
		nullsFirst := k.Nulls == "first" || k.Nulls == "" && k.Desc
		switch {
		case a == nil && b == nil:
			continue
		case a == nil || b == nil:
			return map[bool]int{true: -1, false: 1}[(a == nil) == nullsFirst]
		}
		if c := compareValues(a, b); c != 0 {
			return map[bool]int{true: -c, false: c}[k.Desc]
		}
	}
	return 0
}

func TestRandomSearches(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		r := random(1)
		zoo(t, x, r)
		all := map[string][]*Resource{}
		for _, typ := range []string{Generic, "port", "instance"} {
			for _, history := range []bool{false, true} {
				all[fmt.Sprint(typ, history)] = must(x.Resources(t.Context(), ResourceQuery{Type: typ, History: history, Details: true, WithoutMetrics: true, Page: Page{Limit: 10_000}}))(t)
			}
		}
		found := 0
		for range 50 {
			found += searchOnce(t, x, r, all)
		}
		if found == 0 {
			t.Fatal("nothing was ever found")
		}
	})
}

// searchOnce lists by pages what a random search finds, and compares that with all.
func searchOnce(t *testing.T, x *Index, r *rand.Rand, all map[string][]*Resource) int {
	t.Helper()
	q := ResourceQuery{Type: []string{Generic, "port", "instance"}[r.IntN(3)], Asker: "3", History: r.IntN(3) == 0, Details: true, WithoutMetrics: true}
	columns := slices.Clone(zooColumns[Generic])
	if q.Type != Generic {
		columns = append(columns, zooColumns[q.Type]...)
		columns = append(columns, zooColumns[q.Type]...) // twice as likely
	}
	sortable := slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return c == "lifespan" || strings.HasPrefix(c, "created_by") })
	uniques := []SortKey{{Name: "id"}}
	if q.History {
		columns = append(columns, "revision_end")
		sortable = append(sortable, "revision_end", "revision")
		uniques = append(uniques, SortKey{Name: "revision"})
	}
	if r.IntN(5) > 0 {
		q.Filter = zooFilter(r, columns, 3)
	}
	if r.IntN(4) == 0 {
		q.Scope.Project = "p1"
	}
	for range r.IntN(3) {
		q.Page.Sort = append(q.Page.Sort, SortKey{sortable[r.IntN(len(sortable))], r.IntN(2) == 0, []string{"", "first", "last"}[r.IntN(3)]})
	}
	order := q.Page.Sort
	if len(order) == 0 {
		order = resourceOrder
	}
	order = append(slices.Clone(order), uniques...)

	var want []*Resource
	for _, resource := range all[fmt.Sprint(q.Type, q.History)] {
		mine := q.Scope.Project == "" || resource.Project != nil && *resource.Project == "p1" || strings.HasSuffix(resource.Creator, ":p1")
		if mine && (q.Filter == nil || holds(t, q.Filter, resource, q.Asker) == 2) {
			want = append(want, resource)
		}
	}
	slices.SortFunc(want, func(a, b *Resource) int { return compareResources(a, b, order) })

	var got []*Resource
	for q.Page.Limit = 5 + r.IntN(60); ; {
		page := must(x.Resources(t.Context(), q))(t)
		got = append(got, page...)
		if len(page) < q.Page.Limit || len(got) > len(want) {
			break
		}
		last := page[len(page)-1]
		q.Page.Marker = last.ID.String()
		if q.History {
			q.Page.Marker += fmt.Sprintf("@%d", last.Revision)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v\nfilter %v\ngot  %s\nwant %s", q, q.Filter, ids(got), ids(want))
	}
	return len(want)
}

func ids(list []*Resource) string {
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, " %s@%d", r.ID, r.Revision)
	}
	return b.String()
}

func TestSearchRefuses(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		instances(t, x)
		for filter, reason := range map[string]string{
			"none = 1":                     "Resource type instance has no none attribute",
			"revision_end = 1":             "Resource type instance has no revision_end attribute",
			"revision = 1":                 "Resource type instance has no revision attribute",
			"host = 'a' and vcpus = x":     "Invalid value: `x' for field `vcpus'",
			"vcpus = nan":                  "Invalid value: `nan' for field `vcpus'",
			"on = 7":                       "Invalid value: `7' for field `on'",
			"flavor in [x]":                "Invalid value: `x' for field `flavor'",
			"booted > y":                   "Invalid value: `y' for field `booted'",
			"lifespan > 0":                 "Invalid value: `0' for field `lifespan'",
			"not vcpus < null":             "Invalid value: `None' for field `vcpus'",
			"vcpus like '1%'":              "Invalid value: `1%' for field `vcpus'",
			"host like null":               "Invalid value: `None' for field `host'",
			"started_at >= 'a week hence'": "Invalid value: `a week hence' for field `started_at'",
		} {
			n := must(search.Parse(filter))(t)
			_, err := x.Resources(t.Context(), ResourceQuery{Type: "instance", Filter: n, Page: Page{Limit: 1}})
			wantError(t, err, &InvalidError{reason})
		}
		list := func(p Page, history bool) error {
			p.Limit = 1
			_, err := x.Resources(t.Context(), ResourceQuery{Type: "instance", Page: p, History: history})
			return err
		}
		wantError(t, list(Page{Sort: []SortKey{{Name: "none"}}}, false), &PageError{"Sort key supplied is invalid: none"})
		wantError(t, list(Page{Sort: []SortKey{{Name: "revision"}}}, false), &PageError{"Sort key supplied is invalid: revision"})
		wantError(t, list(Page{Sort: []SortKey{{Name: "lifespan"}}}, false), &PageError{"Sort key supplied is invalid: lifespan"})
		wantError(t, list(Page{Marker: "x"}, false), &PageError{"Invalid marker: `x'"})
		wantError(t, list(Page{Marker: id(1).String()}, false), &PageError{"Invalid marker: `" + id(1).String() + "'"})
		for _, marker := range []string{id(1).String(), id(1).String() + "@-1", id(1).String() + "@5", "x@1", id(1).String() + "@x"} {
			wantError(t, list(Page{Marker: marker}, true), &PageError{"Invalid marker: `" + marker + "'"})
		}
		_, err := x.Resources(t.Context(), ResourceQuery{Type: "none"})
		wantError(t, err, &NotFoundError{KindResourceType, "none"})
		_, err = x.History(t.Context(), "instance", id(1), Page{Limit: 1})
		wantError(t, err, &NotFoundError{KindResource, id(1).String()})
	})
}

// The largest searches that can be read can be run.
func TestLargestSearches(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		instances(t, x)
		must(x.CreateResource(t.Context(), &Resource{ID: id(1), Type: "instance", Attributes: map[string]any{"host": "h"}}, nil, nil))(t)
		values := strings.TrimSuffix(strings.Repeat("x, ", search.MaxValues), ", ")
		many := strings.TrimSuffix(strings.Repeat("host = x or ", search.MaxConditions), " or ")
		for name, filter := range map[string]string{
			"list":       "host in [" + values + "]",
			"half":       "id in [" + values[:len(values)/2] + "x]",
			"conditions": many,
			"chain":      strings.ReplaceAll(many, "or", "and"),
			"deep":       strings.Repeat("not (host = h and ", search.MaxDepth/2-1) + "host = y" + strings.Repeat(")", search.MaxDepth/2-1),
		} {
			n, err := search.Parse(filter)
			ok(t, err)
			// All values are said once more in the second part of a list of history.
			_, err = x.Resources(t.Context(), ResourceQuery{Type: "instance", Filter: n, History: name == "half", Page: Page{Limit: 10}})
			if err != nil {
				t.Errorf("%s: %.200v", name, err)
			}
		}
		long := search.Compare{Operator: search.Like, Attribute: "host", Value: strings.Repeat("%a", maxPattern/2)}
		_, err := x.Resources(t.Context(), ResourceQuery{Type: "instance", Filter: long, Page: Page{Limit: 10}})
		ok(t, err)
		long.Value = long.Value.(string) + "%"
		if _, err = x.Resources(t.Context(), ResourceQuery{Type: "instance", Filter: long, Page: Page{Limit: 10}}); err == nil {
			t.Error("a pattern above the limit was taken")
		}
	})
}

func TestLikePattern(t *testing.T) {
	for _, c := range []struct{ pattern, like, glob, from, to string }{
		{"", "", "", "", ""},
		{"a%b_", "a%b_", "a*b?", "a", "b"},
		{`a\%\_\\\x`, `a\%\_\\x`, `a%_\x`, `a%_\x`, `a%_\y`},
		{`x\`, `x\\`, `x\`, `x\`, "x]"},
		{"[*?]", "[*?]", "[[][*][?]]", "[*?]", "[*?^"},
		{"\uD7FF%", "\uD7FF%", "\uD7FF*", "\uD7FF", "\uE000"},
		{"a\U0010FFFF%", "a\U0010FFFF%", "a\U0010FFFF*", "a\U0010FFFF", "b"},
		{"\U0010FFFF%", "\U0010FFFF%", "\U0010FFFF*", "\U0010FFFF", ""},
	} {
		p := parseLike(c.pattern)
		from, to := p.bounds()
		same(t, []string{p.sql(), p.glob(), from, to}, []string{c.like, c.glob, c.from, c.to})
	}
}
