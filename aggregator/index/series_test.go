package index

import (
	"cmp"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/engine"
)

func TestSeries(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		r := must(x.CreateResource(ctx, &Resource{ID: id(1), Original: "vm 1", Type: Generic, Creator: "u:p", Project: ptr("q")}, nil, []NewMetric{{Name: "a", Unit: "B"}, {Name: "gone"}}))(t)
		loose := must(x.CreateMetrics(ctx, []NewMetric{{Creator: "v"}}))(t)[0]
		a, gone := must(x.Metric(ctx, r.Metrics["a"]))(t), must(x.Metric(ctx, r.Metrics["gone"]))(t)
		if err := x.DeleteMetric(ctx, gone.ID); err != nil {
			t.Fatal(err)
		}
		want := []*Series{
			{Ref: a.Ref, ID: a.ID, Name: "a", Unit: "B", Creator: "u:p", Resource: id(1), Original: "vm 1", Type: Generic, Project: "q"},
			{Ref: loose.Ref, ID: loose.ID, Creator: "v"},
		}
		byRef := func(list []*Series) []*Series {
			slices.SortFunc(list, func(a, b *Series) int { return cmp.Compare(a.Ref, b.Ref) })
			return list
		}
		same(t, byRef(must(x.SeriesByRef(ctx, []engine.Ref{loose.Ref, 9999, a.Ref, gone.Ref, a.Ref}))(t)), byRef(slices.Clone(want)))
		same(t, byRef(must(x.SeriesByID(ctx, []uuid.UUID{loose.ID, id(5), a.ID, gone.ID, a.ID}))(t)), byRef(slices.Clone(want)))
		same(t, len(must(x.SeriesByRef(ctx, nil))(t)), 0)
		// More than one statement takes at a time.
		var refs []engine.Ref
		for _, m := range must(x.CreateMetrics(ctx, make([]NewMetric, 700)))(t) {
			refs = append(refs, m.Ref)
		}
		list := must(x.SeriesByRef(ctx, refs))(t)
		same(t, len(list), 700)
		for i, m := range byRef(list) {
			same(t, m.Ref, refs[i])
		}
	})
}
