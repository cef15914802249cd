package host

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/wire"
)

// newSource makes a source of the host's own that leads to the given pipelines.
func newSource(poll localPoller, to ...*pipeline) *source {
	s := &source{config: &config.Instance{Kind: config.Pollster}, log: slog.New(slog.DiscardHandler), local: poll}
	s.config.Name, s.config.Timeout = "source", time.Minute
	s.routes.Store(&to)
	return s
}

func named(name string) (*pipeline, *throughput) {
	p, c := collect()
	c.Name = name
	return p, c
}

func TestSourceRoutesToEveryPipeline(t *testing.T) {
	one, oneOut := named("one")
	two, twoOut := named("two")
	newPipeline(t, 1<<20, 0, one)
	newPipeline(t, 1<<20, 0, two)
	s := newSource(func(context.Context) ([][]byte, error) {
		return [][]byte{samples(t, 1, "a", "b"), samples(t, 11, "c")}, nil
	}, one, two)
	s.pollOnce(t.Context())
	oneOut.expect(t, "a=1 b=2 c=11")
	twoOut.expect(t, "a=1 b=2 c=11")
	if st := s.status(); st.Polls != 1 || st.Failures != 0 || st.Batches != 2 || st.Samples != 3 || st.Events != 0 {
		t.Errorf("%+v", st)
	}
}

func TestSourceCountsGarbageAndFailures(t *testing.T) {
	p, c := named("p")
	newPipeline(t, 1<<20, 0, p)
	var data []byte
	var failure error
	s := newSource(func(context.Context) ([][]byte, error) { return [][]byte{samples(t, 1, "a"), data}, failure }, p)
	for _, data = range [][]byte{{0xff}, []byte("garbage"), make([]byte, sdk.MaxBatchBytes+1)} {
		s.pollOnce(t.Context())
	}
	data, failure = samples(t, 2, "b"), errors.New("half of it failed")
	s.pollOnce(t.Context())
	c.expect(t, "a=1 a=1 a=1 a=1 b=2")
	if st := s.status(); st.Garbage != 3 || st.Polls != 4 || st.Failures != 4 || st.Batches != 5 || st.Error != "half of it failed" {
		t.Errorf("%+v", st)
	}
	failure = nil
	s.pollOnce(t.Context())
	if st := s.status(); st.Error != "" {
		t.Errorf("%+v", st)
	}
}

// A poll waits until its samples are where they are safe, and not for a
// transformer that does not answer.
func TestPollWaitsForItsSamples(t *testing.T) {
	p, _ := named("p")
	dirs := newPipeline(t, 1<<20, 1, p)
	s := newSource(func(context.Context) ([][]byte, error) { return [][]byte{samples(t, 1, "hang")}, nil }, p)
	begun := time.Now()
	s.pollOnce(t.Context())
	if d := time.Since(begun); d < slowAnswer || d > patience {
		t.Errorf("a poll took %v while the transformer hangs", d)
	}
	enough(t, dirs[0])
	expectPipeline(t, p, 0, 0, 0, 1, 1)
}

// While a changed configuration is applied a pipeline may be closed before its
// successor is there: sources wait for that, and give it nothing twice.
func TestSourceGoesOnWithThePipelinesSuccessor(t *testing.T) {
	stays, staysOut := named("stays")
	goes, _ := named("changes")
	comes, comesOut := named("changes")
	for _, p := range []*pipeline{stays, goes, comes} {
		newPipeline(t, 1<<20, 0, p)
	}
	goes.stop(t.Context())
	s := newSource(nil, stays, goes)
	routed := make(chan error)
	f := newFate(func(error) {})
	go func() { routed <- s.route(context.Background(), samples(t, 1, "a"), f, true) }()
	staysOut.expect(t, "a=1")
	select {
	case err := <-routed:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	s.routes.Store(&[]*pipeline{stays, comes})
	if err := <-routed; err != nil {
		t.Fatal(err)
	}
	comesOut.expect(t, "a=1")
	staysOut.expect(t, "")

	// Without one it gives up with its context.
	s.routes.Store(&[]*pipeline{goes})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.route(ctx, samples(t, 1, "a"), f, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestOutboxSendsSettlementsTogether(t *testing.T) {
	o := newOutbox()
	o.settle(1, nil)
	o.settle(2, errors.New("lost"))
	o.settle(3, nil)
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan *wire.ToSource)
	over := make(chan error)
	go func() {
		over <- o.drain(ctx, func(m *wire.ToSource) error {
			sent <- m
			if m.Answer != nil {
				return errors.New("the stream is gone")
			}
			return nil
		})
	}()
	var got []string
	for _, s := range (<-sent).Settlements {
		got = append(got, string(rune('0'+s.Tag))+s.Error)
	}
	if strings.Join(got, " ") != "1 2lost 3" {
		t.Errorf("%v", got)
	}
	o.settle(4, nil)
	if m := <-sent; len(m.Settlements) != 1 || m.Settlements[0].Tag != 4 {
		t.Errorf("%v", m)
	}
	answered := make(chan error)
	go func() { answered <- o.answer(ctx, &wire.QueryReply{Id: 7}) }()
	if m := <-sent; m.Answer.GetId() != 7 {
		t.Errorf("%v", m)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := <-over; err == nil {
		t.Error("the stream's end is no error")
	}
	cancel()
	if err := o.answer(ctx, &wire.QueryReply{}); !errors.Is(err, context.Canceled) {
		t.Errorf("an answer that nobody sends: %v", err)
	}
}

func TestOutboxFinishes(t *testing.T) {
	o := newOutbox()
	o.settle(1, nil)
	o.finish()
	var sent []*wire.ToSource
	if err := o.drain(t.Context(), func(m *wire.ToSource) error { sent = append(sent, m); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(sent) != 1 || len(sent[0].Settlements) != 1 {
		t.Errorf("%v", sent)
	}
}
