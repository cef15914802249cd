package sdk

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/nephoscope/nepho/sdk/glob"
)

// A builder hands its batch over when it has this many rows or about this many
// bytes: large enough that the cost of a call vanishes, small enough that a
// batch is never a burden to hold.
const (
	flushRows  = 2_000
	flushBytes = 512 << 10
)

// ErrSample is wrapped by the errors of samples and events that a builder
// cannot take.
var ErrSample = errors.New("invalid sample")

// Builder collects samples and events into batches and hands each full batch on.
//
// Its methods do not return errors, so that measuring code stays plain: what
// cannot be taken is left out, and Err tells of it at the end. A builder belongs
// to one goroutine; [PollEach] gives every worker its own.
type Builder struct {
	o   *output
	t   tables
	now int64 // timestamp and monotonic time of the samples to come
	mon int64

	// record, when set, takes what is added instead of the tables, to be replayed
	// into another builder later.
	record *[]recorded

	drops int   // samples refused
	err   error // first refused sample, or why handing on failed
}

// output is what the builders of one call share.
type output struct {
	instance string
	ids      idSource
	emit     func(batch []byte) error
	sequence *sequence

	// Of a source: a transformer's samples were chosen and tagged at their origin.
	source bool
	meters *glob.Globs
	tags   map[string]string

	mu     sync.Mutex
	closed error // why nothing is handed on any more
}

// close ends handing on, for builders that outlive the call they served.
func (o *output) close(why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = why
}

// sequence numbers the batches of an instance over all its calls.
type sequence struct {
	mu sync.Mutex
	n  uint64
}

func (s *sequence) next() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.n
}

func newBuilder(o *output) *Builder {
	b := &Builder{o: o}
	b.t.reset()
	b.At(time.Now())
	return b
}

// At sets the time of the samples that follow. It is set to the start of the
// poll when a poll begins; call it with time.Now() right after reading a source
// that took long to answer, so that rates are exact.
func (b *Builder) At(t time.Time) {
	b.now = t.UnixNano()
	b.mon = int64(sinceBoot(t))
}

// On names the resource of the samples to be added through the result.
func (b *Builder) On(r Resource) *Subject {
	return &Subject{b: b, r: r, generation: -1}
}

// Subject is a resource being measured.
type Subject struct {
	b          *Builder
	r          Resource
	generation int
	resource   uint32
}

// Gauge adds a sample of a value of its own, such as a temperature.
func (s *Subject) Gauge(name, unit string, volume float64) { s.Add(Meter{name, Gauge, unit}, volume) }

// Delta adds a sample of a change since the previous one.
func (s *Subject) Delta(name, unit string, volume float64) { s.Add(Meter{name, Delta, unit}, volume) }

// Cumulative adds a sample of a counter that grows.
func (s *Subject) Cumulative(name, unit string, volume float64) {
	s.Add(Meter{name, Cumulative, unit}, volume)
}

// Add adds a sample of meter m.
func (s *Subject) Add(m Meter, volume float64) {
	b := s.b
	if b.record != nil {
		*b.record = append(*b.record, recorded{subject: s, meter: m, volume: volume, at: b.now, mon: b.mon})
		return
	}
	meter, wanted := b.meter(m)
	if !wanted {
		return
	}
	if s.generation != b.t.generation {
		resource, ok := b.resource(s.r)
		if !ok {
			return
		}
		s.generation, s.resource = b.t.generation, resource
	}
	b.row(meter, s.resource, volume, b.now, b.mon)
}

// Add adds a sample given as a row. A zero Timestamp stands for the builder's
// own time, see [Builder.At].
func (b *Builder) Add(s Sample) {
	if b.record != nil {
		*b.record = append(*b.record, recorded{sample: &s, at: b.now, mon: b.mon})
		return
	}
	meter, wanted := b.meter(Meter{s.Name, s.Type, s.Unit})
	if !wanted {
		return
	}
	resource, ok := b.resource(Resource{s.ResourceID, s.ProjectID, s.UserID, s.Source, s.Metadata})
	if !ok {
		return
	}
	at, mon := b.now, b.mon
	if !s.Timestamp.IsZero() {
		at, mon = s.Timestamp.UnixNano(), int64(s.Monotonic)
	}
	if tooLong(s.ID) || !countable(s.Timestamp) {
		b.refuse(fmt.Errorf("sample of meter %.100q has an id over %d bytes or is of the year %d", s.Name, MaxStringBytes, s.Timestamp.Year()))
		return
	}
	if s.ID != "" {
		w := &b.t.w
		for len(w.SampleId) < len(w.Meter) {
			w.SampleId = append(w.SampleId, 0)
		}
		w.SampleId = append(w.SampleId, b.t.symbol(s.ID))
	}
	b.row(meter, resource, s.Volume, at, mon)
}

// AddEvent adds an event.
func (b *Builder) AddEvent(e Event) {
	if b.record != nil {
		*b.record = append(*b.record, recorded{event: &e, at: b.now, mon: b.mon})
		return
	}
	values, err := traitTexts(e.Traits)
	switch {
	case err != nil:
	case e.EventType == "":
		err = errors.New("it has no type")
	case tooLong(e.MessageID) || tooLong(e.EventType) || len(e.Raw) > MaxStringBytes:
		err = fmt.Errorf("its id, type or raw form has over %d bytes", MaxStringBytes)
	case !countable(e.Generated):
		err = fmt.Errorf("it is of the year %d", e.Generated.Year())
	}
	if err != nil {
		b.refuse(fmt.Errorf("event %.100q of type %.100q: %w", e.MessageID, e.EventType, err))
		return
	}
	w := &b.t.w
	w.EventId = append(w.EventId, b.t.symbol(e.MessageID))
	w.EventType = append(w.EventType, b.t.symbol(e.EventType))
	at := e.Generated.UnixNano()
	if e.Generated.IsZero() {
		at = b.now
	}
	b.t.generated = append(b.t.generated, at)
	w.EventTraits = append(w.EventTraits, uint32(len(e.Traits)))
	for i, t := range e.Traits {
		w.TraitName = append(w.TraitName, b.t.symbol(t.Name))
		w.TraitType = append(w.TraitType, uint32(t.Type))
		w.TraitValue = append(w.TraitValue, b.t.symbol(values[i]))
	}
	if len(e.Raw) > 0 || len(w.EventRaw) > 0 {
		for len(w.EventRaw) < len(w.EventId)-1 {
			w.EventRaw = append(w.EventRaw, nil)
		}
		w.EventRaw = append(w.EventRaw, e.Raw)
	}
	b.t.size += 40 + 6*len(e.Traits) + len(e.Raw)
	b.full()
}

// Forward hands a batch on as it is, after what was added before it. The batch
// belongs to the builder from then on. Forwarded by a source, it keeps its id and
// so those of its samples, while meters that the instance is not asked for go and
// its tags are added.
func (b *Builder) Forward(batch *Batch) {
	if b.record != nil {
		*b.record = append(*b.record, recorded{batch: batch, at: b.now, mon: b.mon})
		return
	}
	b.Flush()
	id := b.o.ids.next
	if b.o.source {
		id = batch.ID
		if !b.o.meters.All() {
			batch.Keep(func(i int) bool { return b.o.meters.Match(batch.Meter(batch.MeterOf(i)).Name) })
		}
		if err := batch.tag(b.o.tags); err != nil {
			b.refuse(err)
			return
		}
	}
	if batch.Len()+batch.Events() > 0 {
		b.send(batch, id())
	}
}

// Flush hands on what was added so far, for pollsters that go on for long.
// Returning from the call flushes as well.
func (b *Builder) Flush() {
	t := &b.t
	if len(t.w.Meter) == 0 && len(t.w.EventId) == 0 {
		return
	}
	batch := &Batch{w: &t.w, times: t.times, monotonic: t.monotonic, generated: t.generated}
	if !t.measured {
		batch.monotonic = nil
	}
	b.send(batch, b.o.ids.next())
	t.reset()
}

// Err tells, at any time, whether samples were refused or handing on failed. A
// caller need not ask: what went wrong is reported when the call returns. It
// serves long polls that should end early when nobody takes their samples.
func (b *Builder) Err() error {
	if b.drops > 1 {
		return fmt.Errorf("%w (and %d more)", b.err, b.drops-1)
	}
	return b.err
}

// recorded is something added to a builder that keeps it for later.
type recorded struct {
	subject *Subject
	meter   Meter
	volume  float64
	sample  *Sample
	event   *Event
	batch   *Batch
	at, mon int64
}

// replay adds what another builder recorded.
func (b *Builder) replay(record []recorded) {
	defer func(now, mon int64) { b.now, b.mon = now, mon }(b.now, b.mon)
	for _, r := range record {
		b.now, b.mon = r.at, r.mon
		switch {
		case r.subject != nil:
			if r.subject.b != b {
				r.subject.b, r.subject.generation = b, -1
			}
			r.subject.Add(r.meter, r.volume)
		case r.sample != nil:
			b.Add(*r.sample)
		case r.event != nil:
			b.AddEvent(*r.event)
		case r.batch != nil:
			b.Forward(r.batch)
		}
	}
}

func (b *Builder) send(batch *Batch, id [16]byte) {
	if b.failed() {
		return
	}
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	if b.o.closed != nil {
		b.err, b.drops = b.o.closed, 0
		return
	}
	w := batch.w
	w.Version, w.Instance, w.Sequence = batchVersion, b.o.instance, b.o.sequence.next()
	w.Id = id[:]
	data, err := batch.Encode()
	if err != nil {
		b.refuse(err) // the next batch may be a smaller one
		return
	}
	if err = b.o.emit(data); err != nil {
		b.err, b.drops = err, 0
	}
}

// failed tells whether handing on failed, which no later sample can mend.
func (b *Builder) failed() bool { return b.err != nil && b.drops == 0 }

func (b *Builder) refuse(err error) {
	if b.failed() {
		return
	}
	if b.drops++; b.drops == 1 {
		b.err = fmt.Errorf("%w: %w", ErrSample, err)
	}
}

func (b *Builder) row(meter, resource uint32, volume float64, at, mon int64) {
	t := &b.t
	w := &t.w
	w.Meter = append(w.Meter, meter)
	w.Resource = append(w.Resource, resource)
	w.Volume = append(w.Volume, volume)
	t.times = append(t.times, at)
	t.monotonic = append(t.monotonic, mon)
	t.measured = t.measured || mon != 0
	if len(w.SampleId) > 0 && len(w.SampleId) < len(w.Meter) {
		w.SampleId = append(w.SampleId, 0)
	}
	t.size += 16
	b.full()
}

func (b *Builder) full() {
	if len(b.t.w.Meter)+len(b.t.w.EventId) >= flushRows || b.t.size >= flushBytes {
		b.Flush()
	}
}

// meter gives the table entry of m, and false for one that the instance's meter
// globs leave out or that cannot be.
func (b *Builder) meter(m Meter) (uint32, bool) {
	if i, ok := b.t.meters[m]; ok {
		return i, i != unwanted
	}
	i := uint32(unwanted)
	switch {
	case m.Name == "" || tooLong(m.Name) || tooLong(m.Unit) || m.Type > Cumulative:
		b.refuse(fmt.Errorf("meter %.100q with type %v: a meter has a name and one of the types gauge, delta and cumulative", m.Name, m.Type))
		return 0, false
	case b.o.meters.Match(m.Name):
		i = b.t.addMeter(m)
	}
	b.t.meters[m] = i
	return i, i != unwanted
}

func (b *Builder) resource(r Resource) (uint32, bool) {
	i, err := b.t.addResource(&r, b.o.tags)
	if err != nil {
		b.refuse(fmt.Errorf("resource %.100q: %w", r.ID, err))
		return 0, false
	}
	return i, true
}

// tooLong tells whether no batch may hold s, in the valid UTF-8 that the wire
// makes of it: an invalid byte becomes three.
func tooLong(s string) bool {
	return len(s) > MaxStringBytes || len(s) > MaxStringBytes/3 && len(validText(s)) > MaxStringBytes
}

// countable tells whether t can be told in nanoseconds since 1970.
func countable(t time.Time) bool {
	const limit = math.MaxInt64 / int64(time.Second)
	return t.IsZero() || t.Unix() > -limit && t.Unix() < limit
}

// Build makes batches outside of a call: for tests and for storages that answer
// a query.
func Build(instance string, fill func(out *Builder) error) ([]*Batch, error) {
	var batches []*Batch
	b := newBuilder(&output{instance: instance, ids: new(randomIDs), sequence: new(sequence), emit: func(data []byte) error {
		batch, err := DecodeBatch(data)
		batches = append(batches, batch)
		return err
	}})
	if err := fill(b); err != nil {
		return nil, err
	}
	b.Flush()
	return batches, b.Err()
}
