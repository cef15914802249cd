package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/nephoscope/nepho/agent/spool"
	"github.com/nephoscope/nepho/integration/parts"
)

// bytesPerSample is what a sample of the ceilometer payload takes in a batch.
const bytesPerSample = 28

// spoolAlone measures the spool as a library, in full batches and in those of one
// resource's twenty meters.
func spoolAlone(b *bench, tb parts.TB) {
	for _, shape := range []struct {
		name    string
		batch   int
		samples int
		must    bool
	}{{"spool", 1000, 4_000_000, true}, {"spool.small", 20, 1_000_000, false}} {
		var both, cpu, in, out, recovered []float64
		for run := range b.runs {
			dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", shape.name, run))
			s := &spoolRun{ctx: b.ctx, dir: dir, batch: shape.batch, batches: shape.samples / shape.batch}
			s.measure()
			if s.err != nil {
				tb.Fatalf("%v", s.err)
			}
			both, cpu, in, out = append(both, s.through), append(cpu, s.cpu), append(in, s.intake), append(out, s.drain)
			recovered = append(recovered, s.recovery)
		}
		rate, second := goal{}, goal{}
		if shape.must {
			rate, second = goal{must: 500e3}, goal{must: 2}
		}
		b.report(shape.name+".through", "samples/s", rate, both)
		b.report(shape.name+".cpu", "CPU-s/Msample", goal{}, cpu)
		b.report(shape.name+".intake", "samples/s", rate, in)
		b.report(shape.name+".drain", "samples/s", rate, out)
		b.report(shape.name+".recovery_1M", "s", second, recovered)
	}
}

// spoolRun is one run on a directory of its own.
type spoolRun struct {
	ctx            context.Context
	dir            string
	batch, batches int

	mu  sync.Mutex
	err error // the first

	through, intake, drain float64 // samples a second
	cpu                    float64 // CPU seconds per million samples, in and out
	recovery               float64 // seconds for a million samples
}

func (r *spoolRun) measure() {
	payload := make([]byte, r.batch*bytesPerSample)
	rand.NewChaCha8([32]byte{}).Read(payload) //nolint:errcheck // never fails
	samples := float64(r.batch * r.batches)

	// A sink that keeps up.
	s := r.open("through")
	if r.err != nil {
		return
	}
	begun, cpu := time.Now(), ownTime()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		r.take(s)
	}()
	r.fill(s, payload)
	<-drained
	r.through, r.cpu = samples/time.Since(begun).Seconds(), (ownTime()-cpu).Seconds()/samples*1e6
	r.note(s.Close())

	// A sink that is down, then a crash: the files as they are, without Close.
	s = r.open("down")
	if r.err != nil {
		return
	}
	begun = time.Now()
	r.fill(s, payload)
	r.intake = samples / time.Since(begun).Seconds()
	r.note(os.CopyFS(filepath.Join(r.dir, "crashed"), os.DirFS(filepath.Join(r.dir, "down"))))
	r.note(s.Close())
	r.note(os.RemoveAll(filepath.Join(r.dir, "down")))

	begun = time.Now()
	if s = r.open("crashed"); r.err != nil {
		return
	}
	if found := s.Stats().Recovered.Samples; found != uint64(samples) {
		r.note(fmt.Errorf("recovered %d of %.0f samples", found, samples))
	}
	opened := time.Since(begun)
	r.take(s)
	r.drain = samples / (time.Since(begun) - opened).Seconds()
	r.recovery = time.Since(begun).Seconds() / samples * 1e6
	r.note(s.Close())
	r.note(os.RemoveAll(r.dir))
}

func (r *spoolRun) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = cmp.Or(r.err, err)
}

func (r *spoolRun) open(name string) *spool.Spool {
	s, err := spool.Open(spool.Options{Dir: filepath.Join(r.dir, name), Limit: 4 << 30})
	r.note(err)
	return s
}

// fill appends all batches and waits until all are durable.
func (r *spoolRun) fill(s *spool.Spool, payload []byte) {
	var last spool.Commit
	for range r.batches {
		commit, err := s.Append(r.ctx, spool.Entry{Payload: payload, Samples: uint32(r.batch)})
		if err != nil {
			r.note(err)
			return
		}
		last = commit
	}
	r.note(last.Wait(r.ctx))
}

// take reads and acknowledges all batches.
func (r *spoolRun) take(s *spool.Spool) {
	for range r.batches {
		d, err := s.Next(r.ctx)
		if err == nil {
			err = s.Ack(d)
		}
		if err != nil {
			r.note(err)
			return
		}
	}
}

// ownTime is the processor time of this process.
func ownTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("BUG: " + err.Error())
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
