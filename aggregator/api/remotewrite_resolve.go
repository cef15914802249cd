package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
)

// remoteWriter finds the metrics of what Prometheus writes.
type remoteWriter struct {
	d      *dataPlane
	labels *labelCache
	writes sync.Pool // of *remoteWrite
	// creating is held while metrics are made, so that two requests do not give one
	// name to different sets of labels.
	creating sync.Mutex
}

func newRemoteWriter(d *dataPlane) *remoteWriter {
	w := &remoteWriter{d: d, labels: newLabelCache()}
	w.writes.New = func() any { return &remoteWrite{} }
	return w
}

// resolve finds the metrics of series, and makes those that are missing. Series of
// which no metric could be made, for want of an archive policy, are left out.
func (w *remoteWriter) resolve(ctx context.Context, rw *remoteWrite, in *intake) error {
	creator := auth.From(ctx).Creator()
	in.entries = slices.Grow(in.entries[:0], len(rw.series))[:len(rw.series)]
	w.labels.setKeys(creator, rw.series)
	if w.labels.find(w.d.o.Index, rw.series, in.entries) == 0 {
		return nil
	}
	if err := w.create(ctx, creator, rw.series, in.entries); err != nil {
		return err
	}
	kept := 0
	p := &in.posted
	from, to := 0, 0 // points, before and after
	for i, entry := range in.entries {
		end := p.ends[i]
		if entry == nil {
			rw.skipped.unnamed += end - from
		} else {
			to += copy(p.points[to:], p.points[from:end])
			in.entries[kept], p.ends[kept] = entry, to
			kept++
		}
		from = end
	}
	in.entries, p.ends, p.points = in.entries[:kept], p.ends[:kept], p.points[:to]
	return nil
}

// prometheusType is the resource type of what Prometheus writes, as Gnocchi has it.
var prometheusType = index.ResourceType{Name: "prometheus", Attributes: map[string]index.Attribute{
	"job":      {Type: index.String, Required: true, MinLength: 1, MaxLength: maxName},
	"instance": {Type: index.String, Required: true, MinLength: 1, MaxLength: maxName},
}}

// scraped is a resource with those of its label sets whose metrics are looked for.
type scraped struct {
	index.Resource
	sets   []*labelSet
	byName map[string]*labelSet // long names
	plain  map[string]int       // sets with that plain name
}

// create finds the metrics of series without entry in the index, makes those that
// do not exist, and remembers all of them. Entries of those that could not be made
// for want of a rule stay nil.
func (w *remoteWriter) create(ctx context.Context, creator string, series []remoteSeries, entries []*index.Entry) error {
	resources, err := w.group(ctx, creator, series, entries)
	if err != nil {
		return err
	}
	w.creating.Lock()
	defer w.creating.Unlock()
	if err := w.match(ctx, resources); err != nil {
		return err
	}
	var wanted []*index.Wanted
	for _, resource := range resources {
		want := &index.Wanted{Resource: resource.Resource}
		for _, set := range resource.sets {
			if set.entry == nil {
				want.Metrics = append(want.Metrics, index.NewMetric{Name: set.name, Labels: set.labels})
			}
		}
		if want.Metrics != nil {
			wanted = append(wanted, want)
		}
	}
	made, err := w.ensure(ctx, wanted)
	if err != nil {
		return err
	}
	for _, resource := range resources {
		for _, set := range resource.sets {
			if set.entry == nil {
				set.entry = made[index.Name{Resource: resource.ID, Metric: set.name}]
			}
			for _, i := range set.series {
				if entries[i] = set.entry; set.entry != nil {
					w.labels.add(series[i].key, set.entry.ID)
				}
			}
		}
	}
	return nil
}

// group parses the labels of the series without entry.
func (w *remoteWriter) group(ctx context.Context, creator string, series []remoteSeries, entries []*index.Entry) ([]*scraped, error) {
	byID := map[uuid.UUID]*scraped{}
	var order []*scraped
	labels := 0
	for i, entry := range entries {
		if entry != nil {
			continue
		}
		set, err := parseLabels(series[i].labels)
		if err != nil {
			return nil, badRequest("The labels of a series are wrong: " + err.Error())
		}
		if labels += len(set.labels); labels > maxLabels {
			return nil, tooMuch(fmt.Sprintf("The new series have more than %d labels", maxLabels))
		}
		text, attributes := set.resource()
		id, err := resourceID(ctx, text)
		if err != nil {
			return nil, err
		}
		resource := byID[id]
		if resource == nil {
			resource = &scraped{
				Resource: index.Resource{ID: id, Original: text, Type: prometheusType.Name, Creator: creator, Attributes: attributes},
				byName:   map[string]*labelSet{},
				plain:    map[string]int{},
			}
			byID[id] = resource
			order = append(order, resource)
		}
		// The same labels may have been written in another order.
		if same := resource.byName[set.long]; same != nil {
			same.series = append(same.series, i)
			continue
		}
		set.series = []int{i}
		resource.byName[set.long] = set
		resource.plain[set.plain]++
		resource.sets = append(resource.sets, set)
	}
	return order, nil
}

// match finds the metrics of label sets that exist, and gives the others names.
func (w *remoteWriter) match(ctx context.Context, resources []*scraped) error {
	var ids []uuid.UUID
	names := map[string]bool{}
	for _, resource := range resources {
		ids = append(ids, resource.ID)
		for _, set := range resource.sets {
			names[set.plain], names[set.long] = true, true
		}
	}
	known, err := w.d.o.Index.ResourceMetrics(ctx, ids, keys(names)...)
	if err != nil {
		return err
	}
	var found []*labelSet
	ids = ids[:0]
	for _, resource := range resources {
		metrics := known[resource.ID]
		for _, set := range resource.sets {
			if m := set.match(metrics); m != nil {
				found, ids = append(found, set), append(ids, m.ID)
				continue
			}
			set.name = set.plain
			taken := slices.ContainsFunc(metrics, func(m *index.Metric) bool { return m.Name == set.plain })
			if taken || resource.plain[set.plain] > 1 {
				set.name = set.long
			}
		}
	}
	entries, err := w.d.o.Index.Lookup(ctx, ids, nil)
	if err != nil {
		return err
	}
	for i, set := range found {
		set.entry = entries[i]
		set.name = set.long // should it have been deleted just now
	}
	return nil
}

func keys(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for key := range set {
		list = append(list, key)
	}
	return list
}

// ensure makes metrics and their resources. Metrics that no rule gives a policy are
// not made.
func (w *remoteWriter) ensure(ctx context.Context, wanted []*index.Wanted) (map[index.Name]*index.Entry, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	var missing *index.NotFoundError
	if _, err := w.d.o.Index.Type(ctx, prometheusType.Name); errors.As(err, &missing) {
		var exists *index.ExistsError
		if err := w.d.o.Index.CreateType(ctx, prometheusType); err != nil && !errors.As(err, &exists) {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	made, err := w.d.ensure(ctx, wanted)
	var noRule *index.NoRuleError
	if err != nil && !everyError(err, func(err error) bool { return errors.As(err, &noRule) }) {
		return nil, err
	}
	return made, nil
}

// everyError reports whether all of the errors that were joined to one are such.
func everyError(err error, such func(error) bool) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return such(err)
	}
	return !slices.ContainsFunc(joined.Unwrap(), func(err error) bool { return !everyError(err, such) })
}
