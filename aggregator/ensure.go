package aggregator

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"github.com/nephoscope/nepho/aggregator/definitions"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/sdk"
)

// demand is what the rows of one resource need of the index.
type demand struct {
	r       *resource
	fresh   bool     // the resource was not known
	entries []entry  // in the order of the rows
	meters  []*meter // that have no metric yet
	rows    []int
	changed bool // its attributes differ from what the index was told last
	wanted  index.Wanted
	values  []uint64 // those of the resource when the index was told
}

// entry is an entry of the batch's resource table, and what it says: hashes by
// place in the resource's values.
type entry struct {
	n    int
	says []said
}

type said struct {
	place int
	hash  uint64
}

// ensure has the index make what rows need that is not known: metrics, resources,
// and attributes that have changed. Rows of resources for which that is impossible
// are refused.
func (in *intake) ensure(ctx context.Context, b *sdk.Batch, rows []int) error {
	demands := in.demands(b, rows)
	var wanted []index.Wanted
	var asked []*demand
	for _, d := range demands {
		in.describe(b, d)
		if d.fresh || d.changed || len(d.meters) > 0 {
			wanted = append(wanted, d.wanted)
			asked = append(asked, d)
		}
	}
	if len(wanted) > 0 {
		ensured, err := in.x.EnsureResources(ctx, wanted)
		if err != nil {
			return fmt.Errorf("cannot make resources and metrics: %w", err)
		}
		for i, e := range ensured {
			in.take(b, asked[i], e)
		}
	}
	for _, d := range demands {
		if d.r == nil {
			continue
		}
		if d.changed {
			clear(d.r.prints[:]) // what they stand for is no longer what the index has
		}
		for _, e := range d.entries {
			in.resources[e.n] = d.r
			if e.holds(d.values) {
				d.r.remember(in.prints[e.n])
			}
		}
	}
	return nil
}

// demands groups rows by resource, in the order in which they come.
func (in *intake) demands(b *sdk.Batch, rows []int) []*demand {
	var list []*demand
	byID := map[string]*demand{}
	for _, i := range rows {
		n, m := b.ResourceOf(i), in.meters[b.MeterOf(i)]
		text := b.ResourceID(n)
		d := byID[text]
		if d == nil {
			d = &demand{r: in.resources[n]}
			if d.r == nil {
				id, err := index.ResourceID(definitions.ResourceID(text), in.creator)
				if err != nil {
					in.refuse(i, err)
					continue
				}
				d.fresh, d.r = true, &resource{id: id, text: text, generation: in.known.generation}
			}
			byID[text] = d
			list = append(list, d)
		}
		d.rows = append(d.rows, i)
		if !slices.ContainsFunc(d.entries, func(e entry) bool { return e.n == n }) {
			d.entries = append(d.entries, entry{n: n})
		}
		if d.r.find(m.number) == nil && !slices.Contains(d.meters, m) {
			d.meters = append(d.meters, m)
		}
		// A type that a definition gives counts more than the generic one.
		if d.r.typ == nil || m.sure && d.r.typ.Name == definitions.Generic {
			d.r.typ, d.r.values = m.typ, nil
		}
	}
	return list
}

// describe fills in what is wanted of the index.
func (in *intake) describe(b *sdk.Batch, d *demand) {
	w := &d.wanted.Resource
	w.ID, w.Original, w.Type, w.Creator = d.r.id, definitions.ResourceID(d.r.text), d.r.typ.Name, in.creator
	d.values = slices.Clone(d.r.values)
	if d.values == nil {
		d.values = make([]uint64, 2+len(d.r.typ.Attributes))
	}
	// Of several descriptions in one batch the last one counts.
	for i := range d.entries {
		e := &d.entries[i]
		r := b.Resource(e.n)
		tell := func(place int, v string) bool {
			h := maphash.String(in.known.seed, v) | 1
			e.says = append(e.says, said{place, h})
			differs := d.values[place] != h
			d.values[place] = h
			return differs
		}
		if r.ProjectID != "" && tell(0, r.ProjectID) {
			w.Project, d.changed = &r.ProjectID, true
		}
		if r.UserID != "" && tell(1, r.UserID) {
			w.User, d.changed = &r.UserID, true
		}
		described := d.r.typ.Describe(&r, func(attribute string, err error) { in.tell.attribute(d.r.typ.Name, attribute, err) })
		for i := range d.r.typ.Attributes {
			name := d.r.typ.Attributes[i].Name
			v, ok := described[name]
			if !ok || !tell(2+i, valueText(v)) {
				continue
			}
			if w.Attributes == nil {
				w.Attributes = map[string]any{}
			}
			w.Attributes[name], d.changed = v, true
		}
	}
	for _, m := range d.meters {
		d.wanted.Metrics = append(d.wanted.Metrics, index.NewMetric{Name: m.metric, Unit: m.unit, Policy: m.policy})
	}
}

// valueText writes an attribute's value so that different ones differ.
func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}

// take remembers what the index made.
func (in *intake) take(b *sdk.Batch, d *demand, e index.Ensured) {
	if e.Err != nil {
		in.tell.resource(d.r.text, e.Err)
	}
	made := 0
	for i, entry := range e.Entries {
		if entry == nil {
			continue
		}
		made++
		d.r.set(metric{meter: d.meters[i].number, policy: entry.PolicyID, ref: entry.Ref, id: entry.ID})
	}
	if made < len(d.meters) {
		for _, i := range d.rows {
			if d.r.find(in.meters[b.MeterOf(i)].number) == nil {
				in.refuse(i, cmp.Or(e.Err, errResource))
			}
		}
	}
	if e.Err != nil && made == 0 && d.fresh {
		d.r = nil // nothing is known of it
		return
	}
	d.r.values = d.values
	if e.Err != nil {
		d.r.values = nil // the index may not have them, so it is told all of them next time
	}
	if d.fresh {
		in.known.add(d.r)
	}
}

// holds tells whether what an entry says is what the index was told in the end:
// of two entries that contradict each other only the last one's is.
func (e *entry) holds(values []uint64) bool {
	for _, s := range e.says {
		if values[s.place] != s.hash {
			return false
		}
	}
	return true
}

// remember notes that the index has what a fingerprint stands for.
func (r *resource) remember(print uint64) {
	if !r.says(print) {
		copy(r.prints[1:], r.prints[:])
		r.prints[0] = print
	}
}
