package aggregator

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/sdk"
)

// intake takes batches of samples and events into the store. It is used by one
// goroutine.
type intake struct {
	x       catalogue
	engine  *engine.Engine
	creator string // of what it makes
	known   *known
	tell    *teller

	batch     engine.Batch
	prints    []uint64
	meters    []*meter
	resources []*resource
	refused   map[int]error // rows
}

// catalogue is what the intake needs of the index: an [index.Index].
type catalogue interface {
	lookup
	EnsureResources(ctx context.Context, wanted []index.Wanted) ([]index.Ensured, error)
	ResourcesByID(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*index.Resource, error)
	Resources(ctx context.Context, q index.ResourceQuery) ([]*index.Resource, error)
	ChangeResource(ctx context.Context, typ string, id uuid.UUID, c index.Change) (*index.Resource, error)
}

// Publish implements sdk.Publisher. What it acknowledges is durable. Samples that
// come twice change nothing: a metric has one value at a time.
func (s *store) Publish(ctx context.Context, b *sdk.Batch) error { return s.intake.publish(ctx, b) }

func (in *intake) publish(ctx context.Context, b *sdk.Batch) error {
	in.refused = nil
	if err := in.samples(ctx, b); err != nil {
		return err
	}
	if err := in.events(ctx, b); err != nil {
		return err
	}
	if len(in.refused) == 0 {
		return nil
	}
	rows := make([]int, 0, len(in.refused))
	var first error
	for row := range b.Len() + b.Events() {
		if err := in.refused[row]; err != nil {
			rows = append(rows, row)
			if first == nil {
				first = err
			}
		}
	}
	return sdk.RefuseRows(fmt.Errorf("%d of %d rows refused, the first because %w", len(rows), b.Len()+b.Events(), first), rows)
}

func (in *intake) refuse(row int, err error) {
	if in.refused == nil {
		in.refused = map[int]error{}
	}
	in.refused[row] = err
}

var (
	errFuture   = errors.New("its time is too far ahead of the clock (see max_future)")
	errEpoch    = errors.New("its time is before 1970")
	errResource = errors.New("its resource could not be made")
)

// samples writes the samples of a batch.
func (in *intake) samples(ctx context.Context, b *sdk.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	in.known.begin()
	in.look(b)
	in.known.correct(in.resources)
	if err := in.known.current(ctx, in.resources); err != nil {
		return fmt.Errorf("cannot ask the index for metrics: %w", err)
	}
	in.batch.Reset()
	latest := in.engine.Latest()
	missing := in.add(b, latest)
	if len(missing) > 0 {
		if err := in.ensure(ctx, b, missing); err != nil {
			return err
		}
		in.addRows(b, missing)
	}
	if in.batch.Points() == 0 {
		return nil
	}
	out, err := in.engine.Write(ctx, &in.batch)
	if err != nil {
		return fmt.Errorf("cannot write measures: %w", err)
	}
	in.tell.late(out.Late)
	in.tell.deleted(out.Forgotten)
	return nil
}

// look finds what is known of a batch's meters and resources.
func (in *intake) look(b *sdk.Batch) {
	in.prints = b.Fingerprints(in.known.seed, in.prints[:0])
	in.meters = in.meters[:0]
	for m := range b.Meters() {
		in.meters = append(in.meters, in.known.meter(b.Meter(m)))
	}
	in.resources = in.resources[:0]
	for r := range b.Resources() {
		in.resources = append(in.resources, in.known.resource(b.ResourceID(r)))
	}
}

// add adds those rows to the engine's batch whose metrics are known, refuses those
// that have no time at which they could be kept, and gives the others.
func (in *intake) add(b *sdk.Batch, latest int64) (missing []int) {
	var last *metric
	for i := range b.Len() {
		m := in.meters[b.MeterOf(i)]
		if m.typ == nil {
			in.tell.unknown(m)
			continue
		}
		t := b.UnixNano(i)
		switch {
		case t > latest:
			in.refuse(i, errFuture)
			continue
		case t < 0:
			in.refuse(i, errEpoch)
			continue
		}
		n := b.ResourceOf(i)
		r := in.resources[n]
		var at *metric
		if r != nil && r.says(in.prints[n]) {
			at = r.find(m.number)
		}
		if at == nil {
			missing = append(missing, i)
			continue
		}
		if at != last {
			in.batch.Metric(at.ref, at.policy)
			last = at
		}
		in.batch.Point(t, b.Volume(i))
	}
	return missing
}

// addRows adds rows whose metrics were just ensured, and refuses those that have
// none.
func (in *intake) addRows(b *sdk.Batch, rows []int) {
	for _, i := range rows {
		var at *metric
		if r := in.resources[b.ResourceOf(i)]; r != nil {
			at = r.find(in.meters[b.MeterOf(i)].number)
		}
		if at == nil {
			if in.refused[i] == nil {
				in.refuse(i, errResource)
			}
			continue
		}
		in.batch.Metric(at.ref, at.policy)
		in.batch.Point(b.UnixNano(i), b.Volume(i))
	}
}
