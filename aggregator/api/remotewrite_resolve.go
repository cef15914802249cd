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
// which no metric could be made are left out, and counted.
func (w *remoteWriter) resolve(ctx context.Context, rw *remoteWrite, in *intake) error {
	creator := auth.From(ctx).Creator()
	in.entries = slices.Grow(in.entries[:0], len(rw.series))[:len(rw.series)]
	w.labels.setKeys(creator, rw.series)
	if w.labels.find(w.d.o.Index, rw.series, in.entries) == 0 {
		return nil
	}
	if err := w.create(ctx, creator, rw, in.entries); err != nil {
		return err
	}
	from := 0
	for i, entry := range in.entries {
		end := in.posted.ends[i]
		switch {
		case entry != nil:
		case rw.series[i].refused:
			rw.skipped.refused += end - from
		default:
			rw.skipped.unnamed += end - from
		}
		from = end
	}
	in.leaveOut()
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
// stay nil.
func (w *remoteWriter) create(ctx context.Context, creator string, rw *remoteWrite, entries []*index.Entry) error {
	resources, err := w.group(ctx, creator, rw, entries)
	if err != nil {
		return err
	}
	w.creating.Lock()
	defer w.creating.Unlock()
	var made map[index.Name]*index.Entry
	var faults map[uuid.UUID]error
	for attempt := 1; ; attempt++ {
		if err := w.match(ctx, resources); err != nil {
			return err
		}
		if made, faults, err = w.ensure(ctx, missing(resources)); err != nil {
			return err
		}
		// Another node may have given a name to other labels just now. Its metric is seen
		// the next time, and then the name is the long one.
		if attempt == attempts || !anyOf[*index.LabelsError](faults) {
			break
		}
	}
	for _, resource := range resources {
		noRule := rw.skipped.note(faults[resource.ID])
		for _, set := range resource.sets {
			if set.entry == nil {
				set.entry = made[index.Name{Resource: resource.ID, Metric: set.name}]
			}
			for _, i := range set.series {
				if entries[i] = set.entry; set.entry != nil {
					w.labels.add(rw.series[i].key, set.entry.ID)
				}
				rw.series[i].refused = set.entry == nil && !noRule[set.name]
			}
		}
	}
	return nil
}

// attempts is how often names are chosen for new metrics that another node makes, too.
const attempts = 5

// anyOf reports whether one of several faults is an E.
func anyOf[E error](faults map[uuid.UUID]error) bool {
	for _, fault := range faults {
		if e := *new(E); errors.As(fault, &e) {
			return true
		}
	}
	return false
}

// missing is what the index has to make.
func missing(resources []*scraped) []*index.Wanted {
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
	return wanted
}

// group parses the labels of the series without entry. Those that are wrong are left out.
func (w *remoteWriter) group(ctx context.Context, creator string, rw *remoteWrite, entries []*index.Entry) ([]*scraped, error) {
	byID := map[uuid.UUID]*scraped{}
	var order []*scraped
	labels := 0
	for i, entry := range entries {
		if entry != nil {
			continue
		}
		set, err := parseLabels(rw.series[i].labels)
		if err != nil {
			rw.series[i].refused = true
			rw.skipped.note(fmt.Errorf("the labels of a series are wrong: %w", err))
			continue
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
	var names []index.Name
	for _, resource := range resources {
		for _, set := range resource.sets {
			if names = append(names, index.Name{Resource: resource.ID, Metric: set.plain}); set.long != set.plain {
				names = append(names, index.Name{Resource: resource.ID, Metric: set.long})
			}
		}
	}
	known, err := w.d.o.Index.NamedMetrics(ctx, names)
	if err != nil {
		return err
	}
	var found []*labelSet
	var ids []uuid.UUID
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

// ensure makes metrics and their resources, as [dataPlane.ensure] does.
func (w *remoteWriter) ensure(ctx context.Context, wanted []*index.Wanted) (map[index.Name]*index.Entry, map[uuid.UUID]error, error) {
	if len(wanted) == 0 {
		return nil, nil, nil
	}
	var missing *index.NotFoundError
	if _, err := w.d.o.Index.Type(ctx, prometheusType.Name); errors.As(err, &missing) {
		var exists *index.ExistsError
		if err := w.d.o.Index.CreateType(ctx, prometheusType); err != nil && !errors.As(err, &exists) {
			return nil, nil, err
		}
	} else if err != nil {
		return nil, nil, err
	}
	return w.d.ensure(ctx, wanted)
}
