package index

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/search"
)

// instances makes a type with an attribute of each kind.
func instances(t testing.TB, x *Index) {
	t.Helper()
	ok(t, x.CreateType(t.Context(), ResourceType{"instance", map[string]Attribute{
		"host": {Type: String}, "flavor": {Type: UUID}, "vcpus": {Type: Number}, "on": {Type: Bool}, "booted": {Type: Datetime},
	}}))
}

func TestCreateResource(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		clock(x)
		instances(t, x)
		loose := must(x.CreateMetrics(ctx, []NewMetric{{Name: "old", Creator: "u:p", Policy: "high"}, {Creator: "other"}}))(t)
		started, ended := time.Date(2026, 1, 1, 0, 0, 0, 1999, time.UTC), time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
		r := &Resource{ID: id(1), Original: "vm/1", Type: "instance", Creator: "u:p", User: ptr("user"), Project: ptr("project"),
			Started: started, Ended: &ended, Attributes: map[string]any{"host": "h", "vcpus": 2, "on": "true", "flavor": id(7)}}
		got := must(x.CreateResource(ctx, r, map[string]uuid.UUID{"attached": loose[0].ID}, []NewMetric{{Name: "cpu", Unit: "ns"}, {Name: "mem", Policy: "bool"}}))(t)
		want := *r
		want.Started, want.Revision, want.RevisionStart = started.Truncate(time.Microsecond), current, got.RevisionStart
		want.Attributes = map[string]any{"host": "h", "vcpus": 2.0, "on": true, "flavor": id(7).String(), "booted": nil}
		want.Metrics = map[string]uuid.UUID{"attached": loose[0].ID, "cpu": got.Metrics["cpu"], "mem": got.Metrics["mem"]}
		same(t, got, &want)
		same(t, must(x.Resource(ctx, "instance", id(1)))(t), &want)
		cpu := must(x.Metric(ctx, got.Metrics["cpu"]))(t)
		same(t, []any{cpu.Name, cpu.Unit, cpu.Creator, cpu.Policy, cpu.Resource, cpu.Deleted}, []any{"cpu", "ns", "u:p", "low", id(1), false})

		asGeneric := want
		asGeneric.Attributes = nil
		same(t, must(x.Resource(ctx, Generic, id(1)))(t), &asGeneric)

		refused := func(want error, r Resource, attach map[string]uuid.UUID, create ...NewMetric) {
			t.Helper()
			_, err := x.CreateResource(ctx, &r, attach, create)
			wantError(t, err, want)
			// Nothing is left of it.
			_, err = x.Resource(ctx, Generic, id(2))
			wantError(t, err, &NotFoundError{KindResource, id(2).String()})
		}
		refused(&ExistsError{KindResource, id(1).String()}, Resource{ID: id(1), Type: Generic}, nil)
		refused(&NotFoundError{KindResourceType, "none"}, Resource{ID: id(2), Type: "none"}, nil)
		refused(errTimes, Resource{ID: id(2), Type: Generic, Started: ended, Ended: &started}, nil)
		refused(&InvalidError{"Resource type generic has no x attribute"}, Resource{ID: id(2), Type: Generic, Attributes: map[string]any{"x": 1}}, nil)
		refused(&InvalidError{"expected Real for attribute vcpus of resource type instance"}, Resource{ID: id(2), Type: "instance", Attributes: map[string]any{"vcpus": "x"}}, nil)
		refused(&NotFoundError{KindMetric, id(5).String()}, Resource{ID: id(2), Type: Generic}, map[string]uuid.UUID{"a": id(5)})
		refused(&NotFoundError{KindMetric, loose[1].ID.String()}, Resource{ID: id(2), Type: Generic, Creator: "u:p"}, map[string]uuid.UUID{"a": loose[1].ID})
		refused(&NotFoundError{KindPolicy, "none"}, Resource{ID: id(2), Type: Generic}, nil, NewMetric{Name: "a", Policy: "none"})
		refused(&NamedMetricError{"a"}, Resource{ID: id(2), Type: Generic}, nil, NewMetric{Name: "a"}, NewMetric{Name: "a"})
		refused(&ExistsError{KindMetric, cpu.ID.String()}, Resource{ID: id(2), Type: Generic}, nil, NewMetric{ID: cpu.ID, Name: "a"})
		_, err := x.Resource(ctx, "none", id(1))
		wantError(t, err, &NotFoundError{KindResourceType, "none"})
	})
}

func TestRequiredAttributes(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ok(t, x.CreateType(t.Context(), ResourceType{"t", map[string]Attribute{"a": {Type: String, Required: true}}}))
		_, err := x.CreateResource(t.Context(), &Resource{ID: id(1), Type: "t"}, nil, nil)
		wantError(t, err, &InvalidError{"resource type t requires the attribute a"})
		must(x.CreateResource(t.Context(), &Resource{ID: id(1), Type: "t", Attributes: map[string]any{"a": ""}}, nil, nil))(t)
		_, err = x.ChangeResource(t.Context(), "t", id(1), Change{Attributes: map[string]any{"a": nil}})
		wantError(t, err, &InvalidError{"a value is required for attribute a of resource type t"})
	})
}

func TestChangeResource(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		clock(x)
		instances(t, x)
		first := must(x.CreateResource(ctx, &Resource{ID: id(1), Type: "instance", Creator: "u", Attributes: map[string]any{"host": "a", "vcpus": 1}}, nil, []NewMetric{{Name: "cpu"}}))(t)
		change := func(c Change) *Resource {
			t.Helper()
			r := must(x.ChangeResource(ctx, "instance", id(1), c))(t)
			same(t, must(x.Resource(ctx, "instance", id(1)))(t), r)
			return r
		}
		revisions := func() []*Resource { return must(x.History(ctx, "instance", id(1), Page{Limit: 100}))(t) }

		// What makes no difference makes no revision.
		nobody := (*string)(nil)
		same(t, change(Change{}), first)
		same(t, change(Change{User: &nobody, Started: &first.Started, Attributes: map[string]any{"host": "a", "on": nil, "vcpus": "1"}}), first)
		same(t, len(revisions()), 1)

		ended := first.Started.Add(time.Hour)
		endedAt := &ended
		second := change(Change{Project: ptr(ptr("p")), Ended: &endedAt, Attributes: map[string]any{"host": "b", "on": true}})
		if !second.RevisionStart.After(first.RevisionStart) {
			t.Error("the new revision does not start later")
		}
		want := *first
		want.Project, want.Ended, want.RevisionStart = ptr("p"), &ended, second.RevisionStart
		want.Attributes = map[string]any{"host": "b", "vcpus": 1.0, "on": true, "flavor": nil, "booted": nil}
		same(t, second, &want)
		old := *first
		old.RevisionEnd = &second.RevisionStart
		list := revisions()
		old.Revision = list[0].Revision
		same(t, list, []*Resource{&old, second})

		// As a generic resource it keeps its attributes.
		r := must(x.ChangeResource(ctx, Generic, id(1), Change{User: ptr(ptr("me"))}))(t)
		same(t, r.Attributes, map[string]any(nil))
		same(t, must(x.Resource(ctx, "instance", id(1)))(t).Attributes, want.Attributes)
		_, err := x.ChangeResource(ctx, Generic, id(1), Change{Attributes: map[string]any{"host": "x"}})
		wantError(t, err, &InvalidError{"Resource type generic has no host attribute"})
		nulled := change(Change{Ended: ptr((*time.Time)(nil)), Attributes: map[string]any{"host": nil}})
		same(t, nulled.Ended == nil && nulled.Attributes["host"] == nil, true)
		same(t, len(revisions()), 4)

		early := first.Started.Add(-time.Hour)
		earlyAt := &early
		_, err = x.ChangeResource(ctx, "instance", id(1), Change{Ended: &earlyAt})
		wantError(t, err, errTimes)
		_, err = x.ChangeResource(ctx, "instance", id(1), Change{Attributes: map[string]any{"none": 1}})
		wantError(t, err, &InvalidError{"Resource type instance has no none attribute"})
		_, err = x.ChangeResource(ctx, "instance", id(2), Change{})
		wantError(t, err, &NotFoundError{KindResource, id(2).String()})
		must(x.CreateResource(ctx, &Resource{ID: id(3), Type: Generic}, nil, nil))(t)
		_, err = x.ChangeResource(ctx, "instance", id(3), Change{})
		wantError(t, err, &NotFoundError{KindResource, id(3).String()})

		// A clock that stands still makes revisions that follow each other all the same.
		x.now = func() time.Time { return first.Started }
		for _, host := range []string{"x", "y", "z"} {
			before := must(x.Resource(ctx, "instance", id(1)))(t).RevisionStart
			if now := change(Change{Attributes: map[string]any{"host": host}}).RevisionStart; !now.After(before) {
				t.Errorf("a revision starts at %v after one of %v", now, before)
			}
		}
	})
}

func TestMetricsOfResource(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		r := must(x.CreateResource(ctx, &Resource{ID: id(1), Type: Generic, Creator: "u"}, nil, []NewMetric{{Name: "a"}, {Name: "b"}, {Name: "c"}}))(t)
		other := must(x.CreateResource(ctx, &Resource{ID: id(2), Type: Generic, Creator: "u"}, nil, []NewMetric{{Name: "d"}}))(t)

		added := must(x.ChangeResource(ctx, Generic, id(1), Change{Create: []NewMetric{{Name: "e", Unit: "B"}}}))(t)
		same(t, len(added.Metrics), 4)
		same(t, added.RevisionStart, r.RevisionStart)
		_, err := x.ChangeResource(ctx, Generic, id(1), Change{Create: []NewMetric{{Name: "z"}, {Name: "e"}}})
		wantError(t, err, &NamedMetricError{"e"})
		_, err = x.ChangeResource(ctx, Generic, id(1), Change{Attach: map[string]uuid.UUID{"a": other.Metrics["d"]}})
		wantError(t, err, &NamedMetricError{"a"})

		// a stays, b becomes x, d comes from another resource, c is made anew; all others are detached.
		set := must(x.ChangeResource(ctx, Generic, id(1), Change{ReplaceMetrics: true,
			Attach: map[string]uuid.UUID{"a": r.Metrics["a"], "x": r.Metrics["b"], "d": other.Metrics["d"]}, Create: []NewMetric{{Name: "c"}}}))(t)
		same(t, set.Metrics, map[string]uuid.UUID{"a": r.Metrics["a"], "x": r.Metrics["b"], "d": other.Metrics["d"], "c": set.Metrics["c"]})
		same(t, must(x.Resource(ctx, Generic, id(2)))(t).Metrics, map[string]uuid.UUID{})
		detached := must(x.Metric(ctx, r.Metrics["c"]))(t)
		same(t, []any{detached.Resource, detached.Deleted}, []any{uuid.Nil, false})
		same(t, must(x.Metric(ctx, r.Metrics["b"]))(t).Name, "x")
		none := must(x.ChangeResource(ctx, Generic, id(1), Change{ReplaceMetrics: true}))(t)
		same(t, none.Metrics, map[string]uuid.UUID{})
	})
}

func TestDeleteResource(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		instances(t, x)
		for n := 1; n <= 3; n++ {
			must(x.CreateResource(ctx, &Resource{ID: id(n), Type: "instance", Attributes: map[string]any{"host": "h"}}, nil, []NewMetric{{Name: "a"}, {Name: "b"}}))(t)
			must(x.ChangeResource(ctx, "instance", id(n), Change{Attributes: map[string]any{"vcpus": n}}))(t)
		}
		must(x.CreateResource(ctx, &Resource{ID: id(4), Type: Generic}, nil, []NewMetric{{Name: "a"}}))(t)
		m := must(x.Resource(ctx, Generic, id(1)))(t).Metrics["a"]
		wantError(t, x.DeleteResource(ctx, "instance", id(4), time.Time{}), &NotFoundError{KindResource, id(4).String()})
		ok(t, x.DeleteResource(ctx, "instance", id(1), time.Time{}))
		wantError(t, x.DeleteResource(ctx, "instance", id(1), time.Time{}), &NotFoundError{KindResource, id(1).String()})
		_, err := x.Metric(ctx, m)
		wantError(t, err, &NotFoundError{KindMetric, m.String()})
		same(t, len(must(x.Metrics(ctx, MetricQuery{Deleted: true, Page: Page{Limit: 10}}))(t)), 2)
		same(t, len(must(x.Resources(ctx, ResourceQuery{Type: Generic, History: true, Page: Page{Limit: 100}}))(t)), 5)

		n := must(x.DeleteResources(ctx, ResourceQuery{Type: "instance", Filter: search.Compare{Operator: search.Greater, Attribute: "vcpus", Value: 2.0}}))(t)
		same(t, n, 1)
		n = must(x.DeleteResources(ctx, ResourceQuery{Type: Generic, Filter: search.In{Attribute: "id", Values: []any{id(2).String(), id(4).String(), id(3).String()}}}))(t)
		same(t, n, 2)
		same(t, len(must(x.Resources(ctx, ResourceQuery{Type: Generic, History: true, Page: Page{Limit: 100}}))(t)), 0)
		ok(t, x.DeleteType(ctx, "instance"))
	})
}

// More than a page of them goes as well.
func TestDeleteManyResources(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		var wanted []Wanted
		for n := range 600 {
			wanted = append(wanted, Wanted{Resource: Resource{ID: id(n), Type: Generic}})
		}
		must(x.EnsureResources(ctx, wanted))(t)
		same(t, must(x.DeleteResources(ctx, ResourceQuery{Type: Generic}))(t), 600)
		same(t, must(x.DeleteResources(ctx, ResourceQuery{Type: Generic}))(t), 0)
	})
}
