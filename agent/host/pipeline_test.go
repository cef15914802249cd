package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk"
)

// throughput collects what a pipeline would spool.
type throughput struct {
	config.Pipeline
	got chan string
}

// collect makes a pipeline that hands what comes out to the test.
func collect() (*pipeline, *throughput) {
	c := &throughput{Pipeline: config.Pipeline{Name: "pipeline"}, got: make(chan string, 1000)}
	return &pipeline{config: &c.Pipeline, trial: func(_ *config.Pipeline, data []byte) {
		b, err := sdk.DecodeBatch(data)
		if err != nil {
			c.got <- err.Error()
			return
		}
		for _, s := range b.Samples() {
			c.got <- fmt.Sprintf("%s=%g", s.Name, s.Volume)
		}
	}}, c
}

// expect compares what came out so far.
func (c *throughput) expect(t *testing.T, want string) {
	t.Helper()
	var got []string
	for range len(strings.Fields(want)) {
		select {
		case s := <-c.got:
			got = append(got, s)
		case <-time.After(patience):
			t.Fatalf("%v came out, want %s", got, want)
		}
	}
	if strings.Join(got, " ") != want || len(c.got) > 0 {
		t.Errorf("%v and %d more came out, want %s", got, len(c.got), want)
	}
}

func TestPipelineFilters(t *testing.T) {
	p, c := collect()
	c.MeterGlobs = globs(t, "a*")
	newPipeline(t, 1<<20, 0, p)
	for _, o := range []*outcome{send(t, p, false, 1, "a", "b", "ab"), send(t, p, false, 11, "b"), send(t, p, false, 21, "a")} {
		if err := o.wait(t); err != nil {
			t.Error(err)
		}
	}
	c.expect(t, "a=1 ab=3 a=21")
	expectPipeline(t, p, 2, 0, 0, 3, 3)
}

func TestPipelineTransformsInOrder(t *testing.T) {
	p, c := collect()
	newPipeline(t, 1<<20, 2, p)
	for n := 1; n <= 3; n++ {
		if err := send(t, p, n == 2, 10*n, "a", "double").wait(t); err != nil {
			t.Error(err)
		}
	}
	// Each of the two stages gives a "double" once more, in a batch before.
	c.expect(t, strings.Join([]string{
		"double=11 double=11 double=11 a=10 double=11",
		"double=21 double=21 double=21 a=20 double=21",
		"double=31 double=31 double=31 a=30 double=31",
	}, " "))
	expectPipeline(t, p, 0, 0, 0, 6, 15)
	if s := p.status(); s.Stages[0].In != 6 || s.Stages[0].Out != 9 || s.Stages[1].In != 9 || s.Stages[1].Out != 15 {
		t.Errorf("%+v", s.Stages)
	}
}

func TestPipelineBuriesWhatATransformerRefuses(t *testing.T) {
	p, c := collect()
	newPipeline(t, 1<<20, 1, p)
	for _, held := range []bool{false, true} {
		if err := send(t, p, held, 1, "a", "refuse").wait(t); err != nil {
			t.Errorf("it would be given again: %v", err)
		}
		if err := send(t, p, held, 21, "a").wait(t); err != nil {
			t.Error(err)
		}
	}
	if err := send(t, p, true, 11, "die").wait(t); err != nil {
		t.Error(err)
	}
	c.expect(t, "a=21 a=21")
	expectPipeline(t, p, 0, 0, 5, 2, 2)
	if l := letters(t, p.dead); len(l) != 5 || !strings.Contains(l[0], "refused as asked") || !strings.Contains(l[4], "ends on this batch") {
		t.Errorf("dead letters: %v", l)
	}
}

// What a later stage refuses was transformed by the first one, and counts at its
// stage.
func TestPipelineCountsLaterRefusalAtItsStage(t *testing.T) {
	p, c := collect()
	p.chain = []*stage{{caller: caller{instance: tolerant(t), timeout: time.Minute, patience: 2}}}
	newPipeline(t, 1<<20, 1, p)
	if err := send(t, p, false, 1, "refuse", "a").wait(t); err != nil {
		t.Error(err)
	}
	if err := send(t, p, false, 11, "a").wait(t); err != nil {
		t.Error(err)
	}
	c.expect(t, "a=11")
	expectPipeline(t, p, 0, 0, 0, 3, 1)
	if s := p.status(); s.Stages[0].Refused != 0 || s.Stages[0].Out != 3 || s.Stages[1].In != 3 || s.Stages[1].Refused != 2 || s.Stages[1].Out != 1 {
		t.Errorf("%+v", s.Stages)
	}
}

// tolerant is a transformer that passes everything on.
func tolerant(t *testing.T) *supervisor.Instance {
	in, _ := startInstance(t, "tolerant", "tolerant")
	return in
}

func TestPipelineSurvivesTransformersDeath(t *testing.T) {
	p, c := collect()
	newPipeline(t, 1<<20, 1, p)
	if err := send(t, p, false, 1, "a", "die.once").wait(t); err != nil {
		t.Error(err)
	}
	c.expect(t, "a=1 die.once=2")
	expectPipeline(t, p, 0, 0, 0, 2, 2)
}

// While a transformer does not answer, the oldest polled parcels go, and offers do
// not wait. Held ones wait.
func TestPipelineWithHungTransformer(t *testing.T) {
	p, c := collect()
	size := int64(len(samples(t, 1, "a")))
	dirs := newPipeline(t, 3*size+size/2, 1, p)
	first := send(t, p, false, 1, "hang")
	eventually(t, func() string {
		if !p.stalled.Load() {
			return "it is not noticed that the transformer hangs"
		}
		return ""
	})
	var held, polled []*outcome
	for n := range 3 {
		held = append(held, send(t, p, true, 10+n, "a"))
	}
	// An offer that waited would do so until its context ends.
	offers, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n := range 8 {
		item, o := newParcel(t, false, 20+n, "a")
		if err := p.offer(offers, item); err != nil {
			t.Fatal(err)
		}
		item.fate.done(nil)
		polled = append(polled, o)
	}
	if offers.Err() != nil {
		t.Error("offers wait for a transformer that hangs")
	}
	for _, o := range polled[:5] {
		if err := o.wait(t); !errors.Is(err, errDropped) {
			t.Errorf("an old one: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	item, _ := newParcel(t, true, 13, strings.Repeat("a", 3*int(size)))
	if err := p.offer(ctx, item); !errors.Is(err, context.DeadlineExceeded) { // one of three is on its way already
		t.Errorf("a held one beyond the limit: %v", err)
	}
	enough(t, dirs[0])
	for _, o := range append(append(held, first), polled[5:]...) {
		if err := o.wait(t); err != nil {
			t.Error(err)
		}
	}
	expectPipeline(t, p, 0, 5, 0, 7, 7)
	if n := len(c.got); n != 7 {
		t.Errorf("%d came out", n)
	}
}

// A full spool blocks what is held, and neither polled parcels nor other sinks.
func TestPipelineWithFullSpool(t *testing.T) {
	full, dir := newSink(t, 2*(48+int64(len(samples(t, 1, "retry"))))+10)
	other, otherDir := newSink(t, 1<<20)
	enough(t, otherDir)
	run(t, full)
	run(t, other)
	p := &pipeline{sinks: []*sink{full, other}}
	newPipeline(t, 1<<20, 0, p)
	var held []*outcome
	for n := range 4 {
		held = append(held, send(t, p, true, 1+n, "retry"))
	}
	// The third one waits for room; it is in the other spool all the same.
	expectSink(t, other, 3, 3, 0, 0)
	for n := range 20 {
		send(t, p, false, 101+n, "retry")
	}
	expectSink(t, other, 23, 23, 0, 0)
	select {
	case <-held[2].done:
		t.Error("what is not in each spool counts as durable")
	default:
	}
	enough(t, dir)
	for _, o := range held {
		if err := o.wait(t); err != nil {
			t.Error(err)
		}
	}
	expectPipeline(t, p, 0, 0, 0, 24, 24)
	expectSink(t, other, 24, 24, 0, 0)
	eventually(t, func() string {
		if k := full.status(); k.Appended != 24 || k.Published < 4 || k.Waiting > 0 || k.Published+k.DroppedFull != 24 {
			return fmt.Sprintf("%+v", k)
		}
		return ""
	})
}

// A stop carries on what there is. What it has no time for is dropped, and given
// back where it was held.
func TestPipelineStop(t *testing.T) {
	p, c := collect()
	newPipeline(t, 1<<20, 1, p)
	for n := range 5 {
		send(t, p, n%2 == 0, n, "a")
	}
	p.stop(t.Context())
	if n := len(c.got); n != 5 {
		t.Errorf("%d of 5 came out", n)
	}
	item, _ := newParcel(t, false, 1, "a")
	if err := p.offer(t.Context(), item); !errors.Is(err, errQueueClosed) {
		t.Errorf("an offer to a closed pipeline: %v", err)
	}

	hung, _ := collect()
	dirs := newPipeline(t, 1<<20, 1, hung)
	var outcomes []*outcome
	for n := range 6 {
		outcomes = append(outcomes, send(t, hung, n%2 == 0, n, "hang"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	hung.stop(ctx)
	for _, o := range outcomes {
		if err := o.wait(t); err == nil {
			t.Error("it counts as durable")
		}
	}
	if s := hung.status(); s.Dropped != 3 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	enough(t, dirs[0])
}
