package index

import (
	"database/sql"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/search"
)

// plan is how SQLite does a statement, one step a line.
func plan(t *testing.T, s *database.Session, query string, args ...any) string {
	t.Helper()
	var steps []string
	rows, err := s.QueryOnce(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	ok(t, database.Each(rows, err, func(rows *sql.Rows) error {
		var a, b, c int
		var step string
		err := rows.Scan(&a, &b, &c, &step)
		steps = append(steps, step)
		return err
	}))
	return strings.Join(steps, "\n")
}

// No statement that is used again and again goes through a whole table in SQLite
// that may be large.
func TestStatementsUseIndexes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	x := open(t, where(t, "sqlite"))
	instances(t, x)
	ok(t, x.DeleteRule(ctx, "default"))
	ok(t, x.CreateRule(ctx, Rule{"r", "*", "low"}))
	r := must(x.CreateResource(ctx, &Resource{ID: id(1), Type: "instance", Creator: "c"}, nil, []NewMetric{{Name: "a", Labels: map[string]string{"a": "b"}}, {Name: "b"}}))(t)
	host := func(host string) Wanted {
		return Wanted{Resource{ID: id(2), Type: "instance", Attributes: map[string]any{"host": host}}, []NewMetric{{Name: "a"}}}
	}
	must(x.EnsureResources(ctx, []Wanted{host("a")}))(t)
	must(x.EnsureResources(ctx, []Wanted{host("b")}))(t)
	must(x.ChangeResource(ctx, "instance", id(1), Change{Project: ptr(ptr("p")), ReplaceMetrics: true, Attach: map[string]uuid.UUID{"a": r.Metrics["a"]}}))(t)
	ids := []uuid.UUID{id(5), id(6)}
	must(x.Lookup(ctx, ids, nil))(t)
	must(x.LookupRefs(ctx, []engine.Ref{77}, nil))(t)
	must(x.LookupNames(ctx, []Name{{id(7), "x"}}, nil))(t)
	must(x.Alive(ctx, []engine.Ref{1}))(t)
	must(x.ResourceMetrics(ctx, ids))(t)
	must(x.ResourceMetrics(ctx, ids, "x"))(t)
	must(x.Metric(ctx, r.Metrics["a"]))(t)
	must(x.MetricNames(ctx, Scope{}, "", 10))(t)
	must(x.LabelNames(ctx, nil, Scope{"p"}, "", 10))(t)
	must(x.LabelValues(ctx, "a", nil, Scope{"p"}, "", 10))(t)
	must(x.Labelled(ctx, []Matcher{{Name: "a", Value: "b"}}, Scope{}, 10))(t)
	must(x.History(ctx, "instance", id(1), Page{Limit: 10}))(t)
	ok(t, x.DeleteMetric(ctx, r.Metrics["b"]))
	ok(t, x.DeleteResource(ctx, "instance", id(1), time.Time{}))
	must(x.Purge(ctx, time.Now(), 10))(t)

	whole := regexp.MustCompile(`SCAN (m|r|a|l|p|metric|metric_label|label|resource|resource_history|attributes_\d+(_history)?)( |$)`)
	statements := map[string]bool{}
	for _, query := range x.database.Prepared() {
		statements[query] = true
	}
	if len(statements) < 40 {
		t.Fatalf("only %d statements were seen", len(statements))
	}
	ok(t, x.read(ctx, func(s *database.Session) error {
		for query := range statements {
			if strings.HasPrefix(query, "BEGIN") || query == "COMMIT" || query == "ROLLBACK" {
				continue
			}
			if steps := plan(t, s, query, make([]any, strings.Count(query, "?"))...); whole.MatchString(steps) {
				t.Errorf("%s\n%s", query, steps)
			}
		}
		return nil
	}))
}

// Lists begin in SQLite with what selects least, or in their order.
func TestListsUseIndexes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	x := open(t, where(t, "sqlite"))
	instances(t, x)
	for n := range 30 {
		must(x.CreateResource(ctx, &Resource{ID: id(n), Type: "instance", Project: ptr("p"), User: ptr("u"), Creator: "c:d", Attributes: map[string]any{"host": "h", "flavor": id(n)}}, nil, nil))(t)
	}
	ok(t, x.view(ctx, func(s *database.Session) error {
		instance := must(readType(ctx, s, "instance", ""))(t)
		generic := must(readType(ctx, s, Generic, ""))(t)
		for _, c := range []struct {
			filter              string
			project             string
			history, past, page bool
			step                string // that comes first
		}{
			{filter: "", step: "SEARCH r USING INDEX resource_type_order (type=?)"},
			{filter: "", page: true, step: "SEARCH r USING INDEX resource_type_order (type=? AND (revision_start,started_at,id)>(?,?,?))"},
			{filter: "host = x", step: "SEARCH a USING INDEX attributes_2_k3 (k3=?)"},
			{filter: "host = h and flavor = " + id(3).String(), step: "SEARCH a USING INDEX attributes_2_k2 (k2=?)"},
			{filter: "host in [h, x]", step: "SEARCH a USING INDEX attributes_2_k3 (k3=?)"},
			{filter: "host like 'h%'", step: "SEARCH a USING INDEX attributes_2_k3 (k3>? AND k3<?)"},
			{filter: "host like '%h'", step: "SCAN a"},
			{filter: "vcpus = 1", step: "SCAN a"},
			{filter: "not vcpus > 1 or host = null", step: "SCAN a"},
			{filter: "host = x and vcpus = 2", step: "SEARCH a USING INDEX attributes_2_k3 (k3=?)"},
			{filter: "original_resource_id = x", step: "SCAN r"},
			{filter: "started_at > '2000-01-01'", step: "SEARCH r USING INDEX resource_type_order (type=?)"},
			{filter: "revision_start > '2000-01-01'", step: "SEARCH r USING INDEX resource_type_order (type=? AND revision_start>?)"},
			{filter: "vcpus = 1 and (vcpus != 2 and project_id = x)", page: true, step: "SEARCH r USING INDEX resource_project (project_id=?)"},
			{filter: "id = x or host = h", step: "SEARCH r USING INDEX resource_type_order (type=?)"},
			{filter: "id in [a, b]", step: "SEARCH r USING"},
			{filter: "created_by_project_id = d", step: "SEARCH r USING INDEX resource_creator (creator=?)"},
			{filter: "host = null", step: "SEARCH a USING INDEX attributes_2_k3 (k3=?)"},
			{filter: "host = h", project: "none", step: "MERGE (UNION)\nLEFT\nSEARCH r USING INDEX resource_project (project_id=?)"},
			{filter: "host = h", history: true, step: "SEARCH a USING INDEX attributes_2_k3 (k3=?)"},
			{filter: "host = h", history: true, past: true, step: "SCAN a"},
			{filter: "id = x and vcpus = 2", history: true, past: true, step: "SEARCH r USING"},
			{filter: "original_resource_id = x", history: true, past: true, step: "SEARCH r USING INDEX resource_history_type_order (type=?)"},
		} {
			q := ResourceQuery{Type: "instance", Scope: Scope{c.project}, History: c.history, Page: Page{Limit: 10}}
			if c.filter != "" {
				q.Filter = must(search.Parse(c.filter))(t)
			}
			l := &listing{s: s, q: q, t: instance, usual: resourceOrder, uniques: []string{"id"}, now: time.Now()}
			var err error
			l.advice, err = l.advise(ctx, c.past)
			ok(t, err)
			var marker []any
			if c.page {
				marker = []any{1, 1, s.UUID(id(1))}
			}
			var text statement
			_, err = l.arm(&text, c.past, marker)
			ok(t, err)
			steps := plan(t, s, text.text.String(), text.args...)
			steps = regexp.MustCompile(`^(CO-ROUTINE|MATERIALIZE) d\n`).ReplaceAllString(steps, "")
			if !strings.HasPrefix(steps, c.step) {
				t.Errorf("%s: want %s\n%s", c.filter, c.step, steps)
			}
		}
		l := &listing{s: s, q: ResourceQuery{Type: Generic, History: true, Page: Page{Limit: 10}}, t: generic, usual: resourceOrder, uniques: []string{"id", "revision"}}
		for past, want := range map[bool]string{false: "SCAN r USING INDEX resource_order", true: "SCAN r USING INDEX resource_history_order"} {
			var text statement
			_, err := l.arm(&text, past, nil)
			ok(t, err)
			if steps := plan(t, s, text.text.String(), text.args...); !strings.HasPrefix(steps, want) {
				t.Errorf("want %s\n%s", want, steps)
			}
		}
		return nil
	}))
}
