package promql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/search"
)

// page is how many rows the index is asked for at once.
const page = 1000

// finder finds metrics by their labels.
type finder struct {
	x     *index.Index
	limit int // of metrics
	now   func() time.Time

	mu    sync.Mutex
	names map[index.Scope]nameList
}

// nameList is the names of metrics that a scope sees.
type nameList struct {
	names   []string
	changes uint64 // of the index when they were read
	read    time.Time
}

// stale is how long names of metrics may be missing from lists, and from selectors that
// other names satisfy, while the index keeps changing.
const stale = 5 * time.Second

// series is a metric and its labels.
type series struct {
	metric *index.Metric
	labels labels.Labels
}

// find gives the metrics that satisfy all matchers and whose measures the one who asks
// may read. At most so many as the limit: an error says that there are more.
func (f *finder) find(ctx context.Context, matchers []*labels.Matcher) ([]series, error) {
	s, err := scope(ctx)
	if err != nil {
		return nil, err
	}
	own, err := f.findOwn(ctx, s, matchers)
	if err != nil {
		return nil, err
	}
	named, err := f.findNamed(ctx, s, matchers, f.limit-len(own))
	if err != nil {
		return nil, err
	}
	return distinct(append(own, named...)), nil
}

func (f *finder) tooMany() error {
	return badData("the selector means more than %d metrics: narrow it down by labels, or raise max_series of the aggregator's option promql", f.limit)
}

// findOwn finds metrics that came with labels of their own.
func (f *finder) findOwn(ctx context.Context, s index.Scope, matchers []*labels.Matcher) ([]series, error) {
	metrics, err := f.x.Labelled(ctx, indexMatchers(matchers), s, f.limit+1)
	if err != nil {
		return nil, err
	}
	if len(metrics) > f.limit {
		return nil, f.tooMany()
	}
	var found []series
	for _, m := range metrics {
		if reads(ctx, m) {
			found = append(found, series{m, ownLabels(m)})
		}
	}
	return found, nil
}

func indexMatchers(matchers []*labels.Matcher) []index.Matcher {
	made := make([]index.Matcher, len(matchers))
	for i, m := range matchers {
		made[i] = index.Matcher{
			Name: m.Name, Value: m.Value,
			Not:    m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp,
			Regexp: m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp,
		}
	}
	return made
}

// findNamed finds metrics of resources by their names and what is known of the
// resources.
func (f *finder) findNamed(ctx context.Context, s index.Scope, matchers []*labels.Matcher, limit int) ([]series, error) {
	names, all, err := f.matchingNames(ctx, s, matchers)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	g := gatherer{f: f, matchers: matchers, limit: limit, bases: map[uuid.UUID]labels.Labels{}}
	narrow, err := f.narrow(ctx, matchers)
	switch {
	case err != nil || narrow != nil && len(narrow) == 0:
		return nil, err
	case narrow != nil:
		if all {
			names = nil
		}
		for _, q := range narrow {
			if err := g.byResources(ctx, s, q, names); err != nil {
				return nil, err
			}
		}
	default:
		for _, name := range names {
			if err := g.byName(ctx, s, name); err != nil {
				return nil, err
			}
		}
	}
	return g.found, nil
}

// matchingNames gives the names of metrics that satisfy the matchers on names; all
// is set when these are all names that there are.
func (f *finder) matchingNames(ctx context.Context, s index.Scope, matchers []*labels.Matcher) (names []string, all bool, err error) {
	for _, longest := range []time.Duration{stale, 0} {
		known, err := f.metricNames(ctx, s, longest)
		if err != nil {
			return nil, false, err
		}
		for _, name := range known {
			if nameMatches(name, matchers) {
				names = append(names, name)
			}
		}
		// A name that is not found may be one that is new.
		if all = len(names) == len(known); len(names) > 0 {
			break
		}
	}
	return names, all, nil
}

// nameMatches reports whether a metric's name satisfies the matchers on it. The
// original name is as good as the one that Prometheus can write.
func nameMatches(name string, matchers []*labels.Matcher) bool {
	shown := metricName(name)
	other := ""
	if shown != name {
		other = name
	}
	for _, m := range matchers {
		switch m.Name {
		case labelMetricName:
			if !m.Matches(shown) && !(m.Type == labels.MatchEqual && m.Matches(name)) {
				return false
			}
		case labelMetric:
			if !m.Matches(other) {
				return false
			}
		}
	}
	return true
}

// metricNames gives all names of metrics of resources, those of changes in the index
// perhaps not for so long.
func (f *finder) metricNames(ctx context.Context, s index.Scope, stale time.Duration) ([]string, error) {
	changes := f.x.Changes()
	f.mu.Lock()
	l, ok := f.names[s]
	f.mu.Unlock()
	if ok && (l.changes == changes || f.now().Sub(l.read) < stale) {
		return l.names, nil
	}
	l = nameList{changes: changes, read: f.now()}
	for after := ""; ; after = l.names[len(l.names)-1] {
		part, err := f.x.MetricNames(ctx, s, after, page)
		if err != nil {
			return nil, err
		}
		l.names = append(l.names, part...)
		if len(part) < page {
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.names) > 1000 || f.names == nil { // one for each project that asks
		f.names = map[index.Scope]nameList{}
	}
	f.names[s] = l
	return l.names, nil
}

// narrow makes queries of resources of those matchers that the index can answer.
// nil says that there are none of these; an empty list that no resource fits.
func (f *finder) narrow(ctx context.Context, matchers []*labels.Matcher) ([]index.ResourceQuery, error) {
	var conditions search.And
	attributes := map[string][]string{} // by label
	var types []string
	typed := false
	for _, m := range matchers {
		values := wanted(m)
		if values == nil {
			continue
		}
		switch m.Name {
		case labelMetricName, labelMetric, labelMethod, labelGranularity, labelID:
		case labelType:
			types, typed = values, true
		case labelResource:
			conditions = append(conditions, in("original_resource_id", values))
		case labelProject, labelUser:
			conditions = append(conditions, in(m.Name, values))
		default:
			attributes[m.Name] = values
		}
	}
	if len(conditions) == 0 && len(attributes) == 0 && !typed {
		return nil, nil
	}
	if len(attributes) == 0 && !typed {
		return []index.ResourceQuery{{Type: generic, Details: true, Filter: conditions}}, nil
	}
	known, err := f.x.Types(ctx)
	if err != nil {
		return nil, err
	}
	queries := []index.ResourceQuery{}
	for _, t := range known {
		if typed && !slices.Contains(types, t.Name) {
			continue
		}
		own, fits := slices.Clone(conditions), true
		for label, values := range attributes {
			condition := ofAttributes(t, label, values)
			fits = fits && condition != nil
			own = append(own, condition)
		}
		if !fits {
			continue
		}
		// The list of the type generic is that of all types.
		if t.Name == generic {
			own = append(own, search.Compare{Operator: search.Equal, Attribute: "type", Value: generic})
		}
		queries = append(queries, index.ResourceQuery{Type: t.Name, Filter: own})
	}
	return queries, nil
}

const generic = "generic"

// wanted gives the values that a matcher asks for, nil unless they are few and there.
func wanted(m *labels.Matcher) []string {
	switch {
	case m.Matches(""):
		return nil
	case m.Type == labels.MatchEqual:
		return []string{m.Value}
	case m.Type == labels.MatchRegexp:
		return m.SetMatches()
	}
	return nil
}

// in is the condition that an attribute has one of some values.
func in(attribute string, values []string) search.Node {
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	return search.In{Attribute: attribute, Values: list}
}

// ofAttributes is the condition that one of the attributes of a type whose label is
// the given one has one of the values; nil if the type has no such attribute. The
// values of other types than strings have many texts, so they are compared later.
func ofAttributes(t index.ResourceType, label string, values []string) search.Node {
	var any search.Or
	for name, a := range t.Attributes {
		switch {
		case labelName(name) != label:
		case a.Type == index.String:
			any = append(any, in(name, values))
		default:
			any = append(any, search.Compare{Operator: search.NotEqual, Attribute: name, Value: nil})
		}
	}
	if len(any) == 0 {
		return nil
	}
	return any
}

// gatherer collects metrics of resources that satisfy matchers.
type gatherer struct {
	f        *finder
	matchers []*labels.Matcher
	limit    int
	bases    map[uuid.UUID]labels.Labels // labels of resources
	builder  *labels.Builder
	found    []series
}

// byResources collects the metrics of resources; no names are all.
func (g *gatherer) byResources(ctx context.Context, s index.Scope, q index.ResourceQuery, names []string) error {
	q.Scope, q.WithoutMetrics = s, true
	q.Page = index.Page{Limit: page}
	for {
		list, err := g.f.x.Resources(ctx, q)
		if err != nil {
			return err
		}
		ids := make([]uuid.UUID, 0, len(list))
		for _, r := range list {
			if _, twice := g.bases[r.ID]; !twice && g.fits(r) {
				ids = append(ids, r.ID)
			}
		}
		if len(ids) > 0 {
			metrics, err := g.f.x.ResourceMetrics(ctx, ids, names...)
			if err != nil {
				return err
			}
			for _, id := range ids {
				for _, m := range metrics[id] {
					if err := g.add(ctx, m); err != nil {
						return err
					}
				}
			}
		}
		if len(list) < page {
			return nil
		}
		q.Page.Marker = list[len(list)-1].ID.String()
	}
}

// byName collects the metrics of a name.
func (g *gatherer) byName(ctx context.Context, s index.Scope, name string) error {
	q := index.MetricQuery{Name: &name, Scope: s, Page: index.Page{Limit: page}}
	if who := auth.From(ctx); !who.Tenant && !who.Admin() {
		creator := who.Creator()
		q.Creator = &creator // the others are not for the one who asks: see reads
	}
	for {
		list, err := g.f.x.Metrics(ctx, q)
		if err != nil {
			return err
		}
		var ids []uuid.UUID
		for _, m := range list {
			if _, known := g.bases[m.Resource]; !known && m.Resource != uuid.Nil && m.Labels == nil {
				ids = append(ids, m.Resource)
				g.bases[m.Resource] = labels.EmptyLabels()
			}
		}
		resources, err := g.f.x.ResourcesByID(ctx, ids)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if r := resources[id]; r == nil || !g.fits(r) {
				g.bases[id] = labels.EmptyLabels() // none of its metrics is wanted
			}
		}
		for _, m := range list {
			if err := g.add(ctx, m); err != nil {
				return err
			}
		}
		if len(list) < page {
			return nil
		}
		q.Page.Marker = list[len(list)-1].ID.String()
	}
}

// fits reports whether a resource satisfies the matchers on what is known of it, and
// notes its labels.
func (g *gatherer) fits(r *index.Resource) bool {
	if g.builder == nil {
		g.builder = labels.NewBuilder(labels.EmptyLabels())
	}
	g.builder.Reset(labels.EmptyLabels())
	resourceLabels(g.builder, r)
	base := g.builder.Labels()
	for _, m := range g.matchers {
		switch m.Name {
		case labelMetricName, labelMetric, labelMethod, labelGranularity, labelID:
			continue
		}
		if !m.Matches(base.Get(m.Name)) {
			return false
		}
	}
	g.bases[r.ID] = base
	return true
}

// add adds a metric of a resource that fits.
func (g *gatherer) add(ctx context.Context, m *index.Metric) error {
	base, ok := g.bases[m.Resource]
	if !ok || base.IsEmpty() || !reads(ctx, m) || m.Name == "" || m.Labels != nil || !nameMatches(m.Name, g.matchers) {
		return nil
	}
	if len(g.found) >= g.limit {
		return g.f.tooMany()
	}
	g.builder.Reset(base)
	nameLabels(g.builder, m.Name)
	g.found = append(g.found, series{m, g.builder.Labels()})
	return nil
}

// distinct gives metrics whose labels are the same another label: resources of two
// creators may have one id.
func distinct(all []series) []series {
	slices.SortFunc(all, func(a, b series) int {
		if c := labels.Compare(a.labels, b.labels); c != 0 {
			return c
		}
		return strings.Compare(a.metric.ID.String(), b.metric.ID.String())
	})
	for from := 0; from < len(all); {
		to := from + 1
		for to < len(all) && labels.Equal(all[from].labels, all[to].labels) {
			to++
		}
		for i := from; i < to && to-from > 1; i++ {
			b := labels.NewBuilder(all[i].labels)
			b.Set(labelID, all[i].metric.ID.String())
			all[i].labels = b.Labels()
		}
		from = to
	}
	return all
}

// unknownPolicy says that the index does not know what it says of a metric.
func (f *finder) unknownPolicy(m *index.Metric) error {
	return fmt.Errorf("the archive policy of metric %s is not known", m.ID)
}
