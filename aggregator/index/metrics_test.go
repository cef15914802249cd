package index

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/engine"
)

func TestCreateMetrics(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		clock(x)
		must(x.CreateResource(ctx, &Resource{ID: id(1), Type: Generic, Project: ptr("p")}, nil, nil))(t)
		given := NewMetric{ID: id(9), Name: "cpu", Unit: "ns", Creator: "u:q", Policy: "high", Resource: id(1), Labels: map[string]string{"a": "b"}}
		list := must(x.CreateMetrics(ctx, []NewMetric{given, {}, {}, {Name: "cpu"}}))(t)
		want := &Metric{ID: id(9), Ref: list[0].Ref, Name: "cpu", Unit: "ns", Creator: "u:q", Policy: "high", PolicyID: list[0].PolicyID, Resource: id(1),
			Created: list[0].Created, Labels: map[string]string{"a": "b"}}
		same(t, list[0], want)
		for _, m := range list {
			same(t, must(x.Metric(ctx, m.ID))(t), m)
		}
		refused := func(want error, list ...NewMetric) {
			t.Helper()
			_, err := x.CreateMetrics(ctx, append([]NewMetric{{ID: id(99)}}, list...))
			wantError(t, err, want)
			_, err = x.Metric(ctx, id(99))
			wantError(t, err, &NotFoundError{KindMetric, id(99).String()})
		}
		refused(&ExistsError{KindMetric, id(9).String()}, NewMetric{ID: id(9)})
		refused(&ExistsError{KindMetric, id(99).String()}, NewMetric{ID: id(99)})
		refused(&NamedMetricError{"cpu"}, NewMetric{Name: "cpu", Resource: id(1)})
		refused(&NamedMetricError{"x"}, NewMetric{Name: "x", Resource: id(1)}, NewMetric{Name: "x", Resource: id(1)})
		refused(&NotFoundError{KindResource, id(2).String()}, NewMetric{Name: "cpu", Resource: id(2)})
		refused(&NotFoundError{KindPolicy, "none"}, NewMetric{Policy: "none"})
		refused(&InvalidError{"Name cannot be null if resource_id is not null"}, NewMetric{Resource: id(1)})
		refused(&InvalidError{"a metric's unit has at most 31 characters"}, NewMetric{Unit: strings.Repeat("é", 32)})
		refused(&InvalidError{"a metric's name has at most 4096 characters"}, NewMetric{Name: strings.Repeat("x", 4097)})
		refused(&InvalidError{"name is no text in UTF-8, or has a character of code 0"}, NewMetric{Name: "a\x00"})
		refused(&InvalidError{"label is no text in UTF-8, or has a character of code 0"}, NewMetric{Labels: map[string]string{"a": "\xff"}})
	})
}

func TestRefsAreNeverGivenAgain(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		seen := map[engine.Ref]bool{}
		create := func(n int) (last *Metric) {
			t.Helper()
			for _, m := range must(x.CreateMetrics(ctx, make([]NewMetric, n)))(t) {
				if seen[m.Ref] || m.Ref == 0 {
					t.Fatalf("ref %d was given again", m.Ref)
				}
				seen[m.Ref] = true
				last = m
			}
			return last
		}
		create(3)
		last := create(1)
		ok(t, x.DeleteMetric(ctx, last.ID))
		same(t, must(x.Purge(ctx, time.Now(), 10))(t), []engine.Ref{last.Ref})
		if next := create(1); next.Ref <= last.Ref {
			t.Errorf("ref %d follows %d, which was the last", next.Ref, last.Ref)
		}
		ok(t, x.Reserve(ctx, 1000))
		if m := create(1); m.Ref <= 1000 {
			t.Errorf("ref %d was given after those to 1000 were reserved", m.Ref)
		}
		ok(t, x.Reserve(ctx, 5))
		create(300)
	})
}

func TestReserveInNewIndex(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ok(t, x.Reserve(t.Context(), 70))
		if m := must(x.CreateMetrics(t.Context(), make([]NewMetric, 1)))(t)[0]; m.Ref <= 70 {
			t.Errorf("ref %d was given", m.Ref)
		}
	})
}

func TestDeleteAndPurge(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		clock(x)
		r := must(x.CreateResource(ctx, &Resource{ID: id(1), Type: Generic}, nil, []NewMetric{{Name: "a", Labels: map[string]string{"n": "1"}}, {Name: "b"}, {Name: "c"}}))(t)
		deleted := time.Time{}
		var refs []engine.Ref
		for _, name := range []string{"a", "b"} {
			refs = append(refs, must(x.Metric(ctx, r.Metrics[name]))(t).Ref)
			ok(t, x.DeleteMetric(ctx, r.Metrics[name]))
			deleted = x.now()
			wantError(t, x.DeleteMetric(ctx, r.Metrics[name]), &NotFoundError{KindMetric, r.Metrics[name].String()})
		}
		same(t, must(x.Resource(ctx, Generic, id(1)))(t).Metrics, map[string]uuid.UUID{"c": r.Metrics["c"]})
		// The name is free.
		must(x.CreateMetrics(ctx, []NewMetric{{Name: "a", Resource: id(1)}}))(t)
		kept := must(x.Metric(ctx, r.Metrics["c"]))(t).Ref
		// Its data stays until it is purged.
		same(t, must(x.Alive(ctx, []engine.Ref{refs[0], kept, 999, refs[1]}))(t), []bool{true, true, false, true})

		changes := x.Changes()
		same(t, len(must(x.Purge(ctx, deleted.Add(-time.Hour), 10))(t)), 0)
		same(t, x.Changes(), changes)
		same(t, must(x.Purge(ctx, deleted, 1))(t), refs[:1])
		same(t, must(x.Alive(ctx, []engine.Ref{refs[0], kept, refs[1]}))(t), []bool{false, true, true})
		same(t, must(x.Purge(ctx, deleted, 10))(t), refs[1:])
		same(t, must(x.Alive(ctx, []engine.Ref{refs[0], kept, refs[1]}))(t), []bool{false, true, false})
		same(t, len(must(x.Metrics(ctx, MetricQuery{Deleted: true, Page: Page{Limit: 10}}))(t)), 0)
		same(t, must(x.LabelNames(ctx, nil, Scope{}, "", 10))(t), []string(nil))
	})
}

func TestMetricLists(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		r := random(5)
		for n := range 4 {
			must(x.CreateResource(ctx, &Resource{ID: id(n), Type: Generic, Creator: "c", Project: [](*string){nil, ptr("p"), ptr("q"), ptr("p")}[n]}, nil, nil))(t)
		}
		var create []NewMetric
		for n := range 120 {
			m := NewMetric{Name: []string{"", "a", "b", "ü"}[r.IntN(4)], Unit: []string{"", "B"}[r.IntN(2)], Creator: []string{"", "x", "u:p", "v:p", "u:q"}[r.IntN(5)], Policy: []string{"low", "high"}[r.IntN(2)]}
			if r.IntN(2) == 0 {
				m.Resource, m.Name = id(r.IntN(4)), fmt.Sprintf("m%d", n)
			}
			create = append(create, m)
		}
		all := must(x.CreateMetrics(ctx, create))(t)
		projects := map[uuid.UUID]string{id(1): "p", id(2): "q", id(3): "p"}
		for n, m := range all {
			if n%10 == 3 {
				ok(t, x.DeleteMetric(ctx, m.ID))
				m.Deleted, m.Resource = true, uuid.Nil
			}
		}
		valueOf := func(m *Metric, key string) any {
			text := map[string]string{"id": m.ID.String(), "name": m.Name, "unit": m.Unit, "creator": m.Creator, "archive_policy_name": m.Policy, "resource_id": m.Resource.String()}[key]
			if text == "" || text == uuid.Nil.String() {
				return nil
			}
			return text
		}
		for range 60 {
			q := MetricQuery{Deleted: r.IntN(5) == 0}
			if r.IntN(3) == 0 {
				q.Name = ptr([]string{"", "a", "ü", "z\x00"}[r.IntN(4)])
			}
			if r.IntN(4) == 0 {
				q.Unit = ptr([]string{"", "B"}[r.IntN(2)])
			}
			if r.IntN(4) == 0 {
				q.Creator = ptr([]string{"", "x", "u:p", "none"}[r.IntN(4)])
			}
			q.Policy = []string{"", "", "low", "none"}[r.IntN(4)]
			q.Scope.Project = []string{"", "", "p", "q"}[r.IntN(4)]
			if r.IntN(6) == 0 {
				q.Resource = id(r.IntN(5))
			}
			if r.IntN(10) == 0 {
				q.ID = all[r.IntN(len(all))].ID
			}
			for range r.IntN(3) {
				q.Page.Sort = append(q.Page.Sort, SortKey{[]string{"id", "name", "unit", "creator", "archive_policy_name", "resource_id"}[r.IntN(6)], r.IntN(2) == 0, []string{"", "first", "last"}[r.IntN(3)]})
			}
			var want []*Metric
			for _, m := range all {
				mine := q.Scope.Project == "" || projects[m.Resource] == q.Scope.Project || strings.HasSuffix(m.Creator, ":"+q.Scope.Project)
				if m.Deleted == q.Deleted && mine && (q.Name == nil || *q.Name == m.Name) && (q.Unit == nil || *q.Unit == m.Unit) && (q.Creator == nil || *q.Creator == m.Creator) &&
					(q.Policy == "" || q.Policy == m.Policy) && (q.Resource == uuid.Nil || q.Resource == m.Resource) && (q.ID == uuid.Nil || q.ID == m.ID) {
					want = append(want, m)
				}
			}
			slices.SortFunc(want, func(a, b *Metric) int {
				return compareBy(append(slices.Clone(q.Page.Sort), SortKey{Name: "id"}), func(key string) (any, any) { return valueOf(a, key), valueOf(b, key) })
			})
			var got []*Metric
			for q.Page.Limit = 1 + r.IntN(30); ; {
				page := must(x.Metrics(ctx, q))(t)
				got = append(got, page...)
				if len(page) < q.Page.Limit {
					break
				}
				q.Page.Marker = page[len(page)-1].ID.String()
			}
			same(t, got, want)
		}
		_, err := x.Metrics(ctx, MetricQuery{Page: Page{Limit: 1, Sort: []SortKey{{Name: "ref"}}}})
		wantError(t, err, &PageError{"Sort key supplied is invalid: ref"})
		_, err = x.Metrics(ctx, MetricQuery{Page: Page{Limit: 1, Marker: id(77).String()}})
		wantError(t, err, &PageError{"Invalid marker: `" + id(77).String() + "'"})
	})
}

func TestResourceMetrics(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		for n := range 3 {
			must(x.CreateResource(ctx, &Resource{ID: id(n), Type: Generic, Project: []*string{ptr("p"), nil, nil}[n]}, nil, []NewMetric{{Name: "b"}, {Name: "a"}, {Name: "series", Labels: map[string]string{"x": "y"}}}))(t)
		}
		must(x.CreateMetrics(ctx, []NewMetric{{Name: "loose"}}))(t)
		names := func(list []*Metric) (names []string) {
			for _, m := range list {
				names = append(names, m.Name)
			}
			return names
		}
		got := must(x.ResourceMetrics(ctx, []uuid.UUID{id(0), id(2), id(7)}))(t)
		same(t, len(got), 2)
		same(t, names(got[id(2)]), []string{"a", "b", "series"})
		got = must(x.ResourceMetrics(ctx, []uuid.UUID{id(0), id(1), id(0)}, "b", "none", "b", "\x00"))(t)
		same(t, []any{names(got[id(0)]), names(got[id(1)]), len(got)}, []any{[]string{"b"}, []string{"b"}, 2})
		same(t, len(must(x.ResourceMetrics(ctx, nil))(t)), 0)

		same(t, must(x.MetricNames(ctx, Scope{}, "", 10))(t), []string{"a", "b"})
		same(t, must(x.MetricNames(ctx, Scope{}, "a", 10))(t), []string{"b"})
		same(t, must(x.MetricNames(ctx, Scope{}, "", 1))(t), []string{"a"})
		same(t, must(x.MetricNames(ctx, Scope{"p"}, "", 10))(t), []string{"a", "b"})
		same(t, must(x.MetricNames(ctx, Scope{"q"}, "", 10))(t), []string(nil))
		byID := must(x.ResourcesByID(ctx, []uuid.UUID{id(0), id(9), id(1)}))(t)
		same(t, []any{len(byID), byID[id(0)].Project}, []any{2, ptr("p")})
	})
}
