package host

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk/wire"
)

// slowAnswer is how long a transformer may take before polls no longer wait for it.
const slowAnswer = time.Second

// stage is a transformer in its place in a pipeline.
type stage struct {
	caller
	trouble trouble
	in, out counter
	refused counter // rows of in that it will never take
	flushed time.Time
}

// transform leads a parcel through the stages; taken tells whether the first one
// took it. An error is that of ctx: some stages may have taken it and others not.
func (p *pipeline) transform(ctx context.Context, item parcel) (results []parcel, taken bool, err error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	results, taken, err = p.pass(ctx, p.chain[0], item)
	if err == nil {
		results, err = p.lead(ctx, p.chain[1:], results)
	}
	return results, taken, err
}

// lead leads parcels through stages in order; the caller has the turn.
func (p *pipeline) lead(ctx context.Context, stages []*stage, items []parcel) ([]parcel, error) {
	for _, s := range stages {
		var results []parcel
		for _, item := range items {
			out, _, err := p.pass(ctx, s, item)
			if err != nil {
				return nil, err
			}
			results = append(results, out...)
		}
		items = results
	}
	return items, nil
}

// pass gives a parcel to one stage. What that does not take is put aside.
func (p *pipeline) pass(ctx context.Context, s *stage, item parcel) (results []parcel, taken bool, err error) {
	batches, refusal, err := p.call(ctx, s, item.data)
	if err != nil {
		return nil, false, err
	}
	s.in.Add(item.rows())
	if refusal == "" {
		if results, err = unpack(batches, item); err != nil {
			refusal = fmt.Sprintf("transformer %q answered with what is no batch: %v", s.instance.Name(), err)
		}
	}
	if refusal != "" {
		s.refused.Add(item.rows())
		item.fate.add(1)
		item.fate.done(p.bury(item, refusal))
		return nil, false, nil
	}
	for _, r := range results {
		s.out.Add(r.rows())
	}
	return results, true, nil
}

// unpack makes parcels of a transformer's answer.
func unpack(batches [][]byte, of parcel) ([]parcel, error) {
	var out []parcel
	for _, data := range batches {
		h, err := peek(data)
		if err != nil {
			return nil, err
		}
		if h.samples+h.events > 0 {
			out = append(out, parcel{data: data, samples: h.samples, events: h.events, fate: of.fate, held: of.held})
		}
	}
	return out, nil
}

// call gives a stage its batch until the answer got through. refusal is set when
// the batch can never be transformed.
func (p *pipeline) call(ctx context.Context, s *stage, data []byte) (batches [][]byte, refusal string, err error) {
	pause := backoff{min: 10 * time.Millisecond, max: 5 * time.Second}
	slow := time.AfterFunc(slowAnswer, p.stall)
	defer slow.Stop()
	var batch suspect
	var flush []byte
	if len(data) == 0 {
		// The name by which the transformer knows it when it is asked again.
		flush = make([]byte, 16)
		rand.Read(flush) // never fails
	}
	for {
		err := batch.call(ctx, &s.caller, func(ctx context.Context, life *supervisor.Life) error {
			reply, err := life.Transformer.Transform(ctx, &wire.TransformRequest{Instance: s.instance.Name(), Batch: data, Flush: flush})
			if err == nil {
				batches, refusal = reply.Batches, reply.Error
			}
			return err
		})
		if err == nil {
			refusal = reason(refusal).Error()
			slow.Stop()
			p.stalled.Store(false)
			if d, was := s.trouble.ends(); was {
				p.log.Info("transformer answers again", "transformer", s.instance.Name(), "after", d.Round(time.Millisecond))
			}
			return batches, refusal, nil
		}
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		p.stall()
		if s.trouble.begins(err) {
			p.log.Warn("transformer does not answer; its samples wait", "transformer", s.instance.Name(), "error", err)
		}
		if errors.Is(err, errTooLarge) {
			return nil, fmt.Sprintf("answer of transformer %q: %v", s.instance.Name(), err), nil
		}
		// A transformer needs nobody else: what it hangs on now it hangs on always.
		if (errors.Is(err, errCrashed) || errors.Is(err, errHung)) && batch.ended() {
			return nil, fmt.Sprintf("the process of transformer %q ends on this batch: %v", s.instance.Name(), err), nil
		}
		if err := pause.wait(ctx, 0); err != nil {
			return nil, "", err
		}
	}
}

// flushInTime has transformers emit what is due by time, until over is closed.
func (p *pipeline) flushInTime(ctx context.Context, over <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			for n, s := range p.chain {
				if every := s.instance.FlushInterval(); every > 0 && now.Sub(s.flushed) >= every {
					s.flushed = now
					p.flush(ctx, n)
				}
			}
		case <-over:
			return
		case <-ctx.Done():
			return
		}
	}
}

// flush has a stage emit what is due by time, and carries that on.
func (p *pipeline) flush(ctx context.Context, n int) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	results, err := p.emit(ctx, n)
	<-p.turn
	if err == nil {
		p.spool(ctx, results...) //nolint:errcheck // an error says that the pipeline ends
	}
}

func (p *pipeline) emit(ctx context.Context, n int) ([]parcel, error) {
	s := p.chain[n]
	batches, refusal, err := p.call(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	if refusal != "" {
		p.log.Error("transformer cannot flush", "transformer", s.instance.Name(), "error", refusal)
	}
	results, err := unpack(batches, parcel{fate: newFate(func(error) {})})
	if err != nil {
		p.log.Error("transformer answered with what is no batch", "transformer", s.instance.Name(), "error", err)
		return nil, err
	}
	for _, r := range results {
		s.out.Add(r.rows())
	}
	return p.lead(ctx, p.chain[n+1:], results)
}
