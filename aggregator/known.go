package aggregator

import (
	"context"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/definitions"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/sdk"
)

// known is what is remembered of meters and resources, so that a sample costs a
// look into a slice instead of the index. It is bounded, and it never says more than
// the index does: as soon as anything goes from that, what is remembered of a
// resource is compared with the index when it is needed next. Of what other processes
// remove from an index that they share this one hears nothing, so there it is compared
// from time to time.
//
// A resource is found by its id. The fingerprint of the resource in the batch tells
// whether it says the same as before; only if it does not are its attributes looked
// at, and only if these differ is the index asked to change them.
type known struct {
	d     *definitions.Definitions
	x     lookup
	limit int           // resources
	drop  bool          // what no definition names
	fresh time.Duration // how long it is believed although nothing went; 0: for ever

	seed   maphash.Seed
	meters map[sdk.Meter]*meter
	// young and old are resources by id. When young has half of the limit, old goes
	// and young becomes old; what is still needed of old goes to young again.
	young, old map[string]*resource

	removals   uint64 // of the index when generation began
	compared   time.Time
	generation uint64

	// changed are resources that others than samples have changed: what the index was
	// told of them it may no longer have. The mutex is for these.
	mu      sync.Mutex
	changed map[uuid.UUID]struct{}
	many    bool // they were more than maxChanged, so it may be all of them
}

// lookup is what known asks the index.
type lookup interface {
	Removals() uint64
	Lookup(ctx context.Context, ids []uuid.UUID, into []*index.Entry) ([]*index.Entry, error)
}

// meter is what is known of a meter.
type meter struct {
	number  uint32 // counted from 0
	metric  string // its name
	unit    string
	policy  string            // of new metrics
	typ     *definitions.Type // of resources; nil: its samples are dropped
	sure    bool              // a definition names it
	dropped uint64            // samples, where nothing names it
}

// resource is what is remembered of a resource.
type resource struct {
	id   uuid.UUID
	text string
	typ  *definitions.Type
	// prints are fingerprints that say what the index has, the last one first.
	prints [4]uint64
	// values are hashes of project, user and the type's attributes as the index was
	// last told; 0 is not told.
	values     []uint64
	metrics    []metric
	places     map[uint32]uint32 // in metrics, by meter; nil while there are few
	next       int               // place that the last sample did not take
	generation uint64
}

// metric is a metric of a resource.
type metric struct {
	meter  uint32
	policy uint32
	ref    engine.Ref
	id     uuid.UUID
}

// maxMeters is how many different meters are remembered. More are a mistake at the
// source, such as a meter per request, and begin anew.
const maxMeters = 100_000

// maxChanged is how many resources that were changed are remembered. They may be ones that
// no sample comes from.
const maxChanged = 10_000

// few is how many metrics of a resource are looked through one by one.
const few = 8

func newKnown(d *definitions.Definitions, x lookup, limit int, drop bool) *known {
	k := &known{d: d, x: x, limit: limit, drop: drop, seed: maphash.MakeSeed()}
	k.forget()
	return k
}

// forget begins anew.
func (k *known) forget() {
	k.meters = map[sdk.Meter]*meter{}
	k.young, k.old = map[string]*resource{}, nil
}

// begin is called before each batch.
func (k *known) begin() {
	if n := k.x.Removals(); n != k.removals || k.fresh > 0 && time.Since(k.compared) > k.fresh {
		k.removals, k.compared = n, time.Now()
		k.generation++
	}
	if len(k.meters) > maxMeters {
		k.forget() // numbers of meters begin anew, so resources do
	}
	if len(k.young) >= max(k.limit/2, 1) {
		k.young, k.old = make(map[string]*resource, len(k.young)), k.young
	}
}

// meter finds or makes what is known of a meter.
func (k *known) meter(m sdk.Meter) *meter {
	if found := k.meters[m]; found != nil {
		return found
	}
	made := &meter{number: uint32(len(k.meters)), metric: definitions.MetricName(m.Name), unit: m.Unit, policy: k.d.PolicyOf(m.Name, m.Type)}
	made.typ, made.sure = k.d.TypeOf(m.Name)
	if !made.sure && k.drop {
		made.typ = nil
	}
	k.meters[m] = made
	return made
}

// resource finds a resource by its id; nil if it is not remembered.
func (k *known) resource(text string) *resource {
	if r := k.young[text]; r != nil {
		return r
	}
	if r := k.old[text]; r != nil {
		delete(k.old, text)
		k.young[text] = r
		return r
	}
	return nil
}

func (k *known) add(r *resource) { k.young[r.text] = r }

// change notes that another than the intake's samples changed a resource in the index, so
// that the next sample corrects what of it is not as samples say. It may be called
// concurrently.
func (k *known) change(id uuid.UUID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.changed == nil || len(k.changed) >= maxChanged {
		k.many = k.many || len(k.changed) > 0
		k.changed = map[uuid.UUID]struct{}{}
	}
	k.changed[id] = struct{}{}
}

// correct forgets what the index was told of those resources that were changed.
func (k *known) correct(resources []*resource) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.many {
		k.many = false
		for _, all := range []map[string]*resource{k.young, k.old} {
			for _, r := range all {
				r.untell()
			}
		}
	}
	if len(k.changed) == 0 {
		return
	}
	for _, r := range resources {
		if r == nil {
			continue
		}
		if _, ok := k.changed[r.id]; ok {
			r.untell()
			delete(k.changed, r.id)
		}
	}
}

// untell forgets what the index was told of a resource, so that it is told all of it with
// the next sample.
func (r *resource) untell() {
	r.values = nil
	clear(r.prints[:])
}

// current compares resources with the index if something went from it: metrics that
// were deleted are forgotten.
func (k *known) current(ctx context.Context, resources []*resource) error {
	var ids []uuid.UUID
	var stale []*resource
	for _, r := range resources {
		if r == nil || r.generation == k.generation {
			continue
		}
		r.generation = k.generation
		stale = append(stale, r)
		for i := range r.metrics {
			ids = append(ids, r.metrics[i].id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	entries, err := k.x.Lookup(ctx, ids, nil)
	if err != nil {
		for _, r := range stale {
			r.generation-- // they are still to be compared
		}
		return err
	}
	for _, r := range stale {
		all := entries[:len(r.metrics)]
		entries = entries[len(r.metrics):]
		r.keep(func(i int) bool { return all[i] != nil })
	}
	return nil
}

// keep forgets metrics. If any is gone the resource may be another one of the same id,
// so what the index was told of it is forgotten, too.
func (r *resource) keep(f func(i int) bool) {
	kept := r.metrics[:0]
	for i, m := range r.metrics {
		if f(i) {
			kept = append(kept, m)
		}
	}
	if len(kept) < len(r.metrics) {
		r.metrics, r.places, r.next = kept, nil, 0
		r.index()
		r.untell()
	}
}

// says tells whether the index has what the fingerprint stands for.
func (r *resource) says(print uint64) bool {
	for _, p := range r.prints {
		if p == print {
			return true
		}
	}
	return false
}

// find gives the metric of a meter, nil if there is none yet. Samples mostly come in
// the same order, so the next metric is most likely the one.
func (r *resource) find(meter uint32) *metric {
	if r.next < len(r.metrics) {
		if m := &r.metrics[r.next]; m.meter == meter {
			r.next++
			return m
		}
	}
	i := math.MaxInt
	if r.places != nil {
		if place, ok := r.places[meter]; ok {
			i = int(place)
		}
	} else {
		for n := range r.metrics {
			if r.metrics[n].meter == meter {
				i = n
				break
			}
		}
	}
	if i >= len(r.metrics) {
		return nil
	}
	r.next = i + 1
	if r.next == len(r.metrics) {
		r.next = 0
	}
	return &r.metrics[i]
}

// set adds a metric, or replaces that of its meter.
func (r *resource) set(m metric) {
	for i := range r.metrics {
		if r.metrics[i].meter == m.meter {
			r.metrics[i] = m
			return
		}
	}
	r.metrics = append(r.metrics, m)
	r.index()
}

// index notes the places of metrics if they are many.
func (r *resource) index() {
	if len(r.metrics) <= few {
		return
	}
	if r.places == nil {
		r.places = make(map[uint32]uint32, len(r.metrics))
		for i, m := range r.metrics {
			r.places[m.meter] = uint32(i)
		}
	}
	r.places[r.metrics[len(r.metrics)-1].meter] = uint32(len(r.metrics) - 1)
}
