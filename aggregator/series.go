package aggregator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/api"
	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/definitions"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/search"
	"github.com/nephoscope/nepho/aggregator/window"
	"github.com/nephoscope/nepho/sdk"
)

var _ sdk.SeriesStorage = (*store)(nil)

// identity is who asks by a scope. Where there is no project there is nothing to list.
func identity(s sdk.Scope) auth.Identity {
	return auth.Identity{User: s.User, Project: s.Project, Everything: s.All, Tenant: true}
}

// FindSeries implements sdk.SeriesReader. A series is a metric; its number is the
// engine's, its ID the metric's.
func (s *store) FindSeries(ctx context.Context, q sdk.SeriesQuery) ([]sdk.FoundSeries, error) {
	f := seriesFinder{x: s.index, who: identity(q.Scope)}
	var err error
	switch {
	case q.Search != nil:
		err = f.search(ctx, q.Search)
	case len(q.Names) > 0:
		err = f.names(ctx, q.Names)
	default:
		for i, text := range q.IDs {
			if id, err := uuid.Parse(text); err == nil {
				f.add(id, i)
			}
		}
	}
	if err != nil {
		return nil, refuseQuestion(err)
	}
	return f.found(ctx)
}

// refuseQuestion says of errors of a question that it is wrong.
func refuseQuestion(err error) error {
	for _, is := range []any{new(*index.InvalidError), new(*index.NotFoundError), new(*index.PageError), new(*search.Error), new(*api.Error)} {
		if errors.As(err, is) {
			return sdk.Refuse(err)
		}
	}
	return err
}

// seriesFinder finds metrics for someone.
type seriesFinder struct {
	x   *index.Index
	who auth.Identity
	// ids are those of metrics, and positions where they were asked for.
	ids       []uuid.UUID
	positions map[uuid.UUID][]int
}

func (f *seriesFinder) add(id uuid.UUID, position int) {
	if f.positions == nil {
		f.positions = map[uuid.UUID][]int{}
	}
	if f.positions[id] == nil {
		f.ids = append(f.ids, id)
	}
	f.positions[id] = append(f.positions[id], position)
}

// found is what there is of the metrics, and may be seen.
func (f *seriesFinder) found(ctx context.Context) ([]sdk.FoundSeries, error) {
	metrics, err := f.x.SeriesByID(ctx, f.ids)
	if err != nil {
		return nil, err
	}
	var list []sdk.FoundSeries
	for _, m := range metrics {
		if !api.Sees(f.who, m.Creator, m.Project) {
			continue
		}
		for _, position := range f.positions[m.ID] {
			list = append(list, sdk.FoundSeries{Series: describeSeries(m), Position: position})
		}
	}
	slices.SortFunc(list, func(a, b sdk.FoundSeries) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.Number, b.Number))
	})
	return list, nil
}

func describeSeries(m *index.Series) sdk.Series {
	s := sdk.Series{
		Number: uint64(m.Ref), ID: m.ID.String(), Meter: m.Name, Unit: m.Unit, ResourceType: m.Type, Project: m.Project, Creator: m.Creator,
	}
	if m.Resource != uuid.Nil {
		s.Resource = cmp.Or(m.Original, m.Resource.String())
	}
	return s
}

// search adds metrics of resources that a search finds among those that the one who
// asks may see.
func (f *seriesFinder) search(ctx context.Context, by *sdk.ResourceSearch) error {
	if f.who.Project == "" && !f.who.Everything {
		return sdk.Refuse(errors.New("a search needs a project, or the right to see everything"))
	}
	q := index.ResourceQuery{Type: by.Type, Asker: f.who.Creator(), Page: index.Page{Limit: rows}}
	if !f.who.Everything {
		q.Scope.Project = f.who.Project
	}
	if _, err := f.x.Type(ctx, by.Type); err != nil {
		return err
	}
	var err error
	if q.Filter, err = parseFilter(by.Filter); err != nil {
		return err
	}
	meters := metricNames(by.Meters)
	for {
		part, err := f.x.Resources(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range part {
			for name, id := range r.Metrics {
				if meters == nil || meters[name] {
					f.add(id, 0)
				}
			}
		}
		switch {
		case len(f.ids) > sdk.MaxSeries:
			return sdk.Refuse(fmt.Errorf("more than %d series are found: search for fewer", sdk.MaxSeries))
		case len(part) < rows:
			return nil
		}
		q.Page.Marker = part[len(part)-1].ID.String()
	}
}

// parseFilter reads a search in either of its forms; "" is nil.
func parseFilter(text string) (search.Node, error) {
	for _, c := range text {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '{':
			return search.ParseJSON([]byte(text))
		}
		return search.Parse(text)
	}
	return nil, nil
}

// metricNames are those of meters; nil if there are none.
func metricNames(meters []string) map[string]bool {
	if len(meters) == 0 {
		return nil
	}
	names := make(map[string]bool, len(meters))
	for _, m := range meters {
		names[definitions.MetricName(m)] = true
	}
	return names
}

// originals is how many ids of resources one search is for.
const originals = 500

// names adds metrics by resource and name. A resource is named as samples do, or by
// its UUID.
func (f *seriesFinder) names(ctx context.Context, wanted []sdk.SeriesName) error {
	var names []index.Name
	var places []int // of names
	add := func(r uuid.UUID, at ...int) {
		for _, i := range at {
			names = append(names, index.Name{Resource: r, Metric: definitions.MetricName(wanted[i].Meter)})
			places = append(places, i)
		}
	}
	positions := map[string][]int{} // by the resource's original id
	for i, n := range wanted {
		// A text that is a UUID names the resource of that id only, and needs no search.
		original := definitions.ResourceID(n.Resource)
		if id, err := uuid.Parse(original); err == nil {
			add(id, i)
		} else if n.Resource != "" {
			positions[original] = append(positions[original], i)
		}
	}
	texts := make([]any, 0, len(positions))
	for original := range positions {
		texts = append(texts, original)
	}
	for chunk := range slices.Chunk(texts, originals) {
		q := index.ResourceQuery{Type: definitions.Generic, WithoutMetrics: true, Filter: search.In{Attribute: "original_resource_id", Values: chunk}, Page: index.Page{Limit: rows}}
		for {
			part, err := f.x.Resources(ctx, q)
			if err != nil {
				return err
			}
			for _, r := range part {
				add(r.ID, positions[r.Original]...)
			}
			if len(part) < rows {
				break
			}
			q.Page.Marker = part[len(part)-1].ID.String()
		}
	}
	entries, err := f.x.LookupNames(ctx, names, nil)
	if err != nil {
		return err
	}
	for i, e := range entries {
		if e != nil && !slices.Contains(f.positions[e.ID], places[i]) {
			f.add(e.ID, places[i])
		}
	}
	return nil
}

// Windows implements sdk.SeriesReader.
func (s *store) Windows(ctx context.Context, qs []sdk.WindowQuery) (*sdk.Windows, error) {
	rows := 0
	for _, q := range qs {
		rows += len(q.Series)
	}
	w := windowReader{
		counts: make([]int32, rows), starts: make([]int, rows),
		queries: make([]engine.Query, 0, rows), methods: make([]policy.Method, 0, rows), rows: make([]int, 0, rows),
	}
	row := 0
	var refs []engine.Ref
	var entries []*index.Entry
	for _, q := range qs {
		refs = refs[:0]
		for _, number := range q.Series {
			if number > engine.MaxRef {
				number = 0 // which is no metric's either
			}
			refs = append(refs, engine.Ref(number))
		}
		var err error
		if entries, err = s.index.LookupRefs(ctx, refs, entries[:0]); err != nil {
			return nil, err
		}
		method, wrong := policy.ParseMethod(q.Aggregation)
		ask := engine.Query{Granularity: q.Granularity, Methods: policy.SetOf(method), From: q.From.UnixNano(), To: q.To.UnixNano()}
		for i, e := range entries {
			absent := sdk.NoSeries
			if e != nil {
				p, ok := s.index.PolicyByID(e.PolicyID)
				if !ok {
					return nil, fmt.Errorf("the archive policy of metric %s is not known", e.ID)
				}
				absent = 0
				if _, kept := p.Definition(q.Granularity); !kept {
					absent = sdk.NoGranularity
				} else if wrong != nil || !p.Methods.Has(method) {
					absent = sdk.NoAggregation
				}
			}
			if absent != 0 {
				w.counts[row] = -int32(absent)
			} else {
				ask.Ref = refs[i]
				w.queries, w.methods, w.rows = append(w.queries, ask), append(w.methods, method), append(w.rows, row)
			}
			row++
		}
	}
	return w.read(ctx, s.engine)
}

// windowReader reads windows of many metrics.
type windowReader struct {
	counts []int32 // of rows, as in sdk.Windows
	starts []int   // of rows, in series

	queries []engine.Query
	methods []policy.Method
	rows    []int

	series window.Series // of all rows that were read, in the order of their coming
}

func (w *windowReader) read(ctx context.Context, e *engine.Engine) (*sdk.Windows, error) {
	err := e.Frames(ctx, w.queries, func(i int, frame *window.Frame) error {
		row, before := w.rows[i], w.series.Len()
		if err := frame.Series(w.methods[i], &w.series); err != nil {
			return err
		}
		if w.series.Len() > sdk.MaxWindows {
			return sdk.Refuse(fmt.Errorf("the answer has more than %d windows: ask for fewer series, or for a shorter time", sdk.MaxWindows))
		}
		w.starts[row], w.counts[row] = before, int32(w.series.Len()-before)
		return nil
	})
	if err := w.absent(err); err != nil {
		return nil, err
	}
	all := &sdk.Windows{Counts: w.counts, Times: make([]int64, 0, w.series.Len()), Values: make([]float64, 0, w.series.Len())}
	for row, n := range w.counts {
		if n > 0 {
			at := w.starts[row]
			all.Times, all.Values = append(all.Times, w.series.Times[at:at+int(n)]...), append(all.Values, w.series.Values[at:at+int(n)]...)
		}
	}
	return all, nil
}

// absent notes of which rows an error is, or gives it back.
func (w *windowReader) absent(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	for _, e := range joined.Unwrap() {
		var failed *engine.QueryError
		if !errors.As(e, &failed) {
			return err
		}
		absent := sdk.Unreadable
		switch {
		case errors.As(e, new(*engine.LostError)):
		case errors.As(e, new(*engine.GranularityError)): // the policy was changed just now
			absent = sdk.NoGranularity
		case errors.As(e, new(*engine.MethodError)):
			absent = sdk.NoAggregation
		default:
			return err
		}
		w.counts[w.rows[failed.Index]] = -int32(absent)
	}
	return nil
}

// Follow implements sdk.SeriesReader.
func (s *store) Follow(ctx context.Context, q sdk.FollowQuery) iter.Seq2[*sdk.Advance, error] {
	return func(yield func(*sdk.Advance, error) bool) {
		feed := s.engine.Subscribe()
		defer feed.Close()
		f := seriesFollower{x: s.index, meters: metricNames(q.Meters), describe: !q.Undescribed}
		if !yield(new(sdk.Advance), nil) {
			return
		}
		for {
			advances, err := feed.Next(ctx)
			var a *sdk.Advance
			if err == nil {
				a, err = f.advance(ctx, advances)
			}
			switch {
			case err != nil:
				yield(nil, err)
				return
			case len(a.Numbers) > 0 && !yield(a, nil):
				return
			}
		}
	}
}

// seriesFollower knows which metrics one who follows wants, and was told of.
type seriesFollower struct {
	x        *index.Index
	meters   map[string]bool // nil is all
	describe bool
	known    bits // looked at
	wanted   bits // of these
}

// advance makes an Advance of what the engine tells.
func (f *seriesFollower) advance(ctx context.Context, advances []engine.Advance) (*sdk.Advance, error) {
	a := &sdk.Advance{Numbers: make([]uint64, 0, len(advances)), Times: make([]int64, 0, len(advances))}
	all := f.meters == nil && !f.describe
	if !all {
		var unknown []engine.Ref
		for _, one := range advances {
			if !f.known.has(one.Ref) {
				unknown = append(unknown, one.Ref)
			}
		}
		metrics, err := f.x.SeriesByRef(ctx, unknown)
		if err != nil {
			return nil, err
		}
		for _, m := range metrics {
			f.known.add(m.Ref)
			if f.meters != nil && !f.meters[m.Name] {
				continue
			}
			f.wanted.add(m.Ref)
			if f.describe {
				a.New = append(a.New, describeSeries(m))
			}
		}
	}
	for _, one := range advances {
		if all || f.wanted.has(one.Ref) {
			a.Numbers, a.Times = append(a.Numbers, uint64(one.Ref)), append(a.Times, one.Time)
		}
	}
	return a, nil
}

// bits is a set of metrics, a bit for each.
type bits []uint64

func (b bits) has(r engine.Ref) bool {
	word := r / 64
	return word < engine.Ref(len(b)) && b[word]&(1<<(r%64)) != 0
}

func (b *bits) add(r engine.Ref) {
	if word := int(r / 64); word >= len(*b) {
		*b = append(*b, make([]uint64, word+1-len(*b))...)
	}
	(*b)[r/64] |= 1 << (r % 64)
}
