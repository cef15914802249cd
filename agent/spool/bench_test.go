package spool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// cpuSeconds is the processor time of this process so far.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// report turns b.N entries of so many samples into the figures of the project.
func report(b *testing.B, samples int, cpu float64) {
	n := float64(b.N) * float64(samples)
	b.ReportMetric(n/b.Elapsed().Seconds(), "samples/s")
	b.ReportMetric((cpuSeconds(b)-cpu)/n*1e6, "CPU-s/Msample")
}

func randomPayload(n int) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{})
	r.Read(p) //nolint:errcheck // never fails
	return p
}

// BenchmarkIntake appends with several entries in flight while a consumer
// acknowledges each one: the steady state of a sink that keeps up.
func BenchmarkIntake(b *testing.B) {
	for _, where := range []string{"disk", "memory"} {
		for _, shape := range []struct{ size, samples, flight int }{
			{16 << 10, 1000, 1}, {16 << 10, 1000, 32}, {40 << 10, 1000, 32}, {120, 1, 32}, {120, 1, 4096},
		} {
			b.Run(fmt.Sprintf("%s/%dB/%d in flight", where, shape.size, shape.flight), func(b *testing.B) {
				o := Options{Limit: 1 << 30}
				if where == "disk" {
					o.Dir = b.TempDir()
				}
				s, err := Open(o)
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close() //nolint:errcheck // only timed
				ctx := context.Background()
				payload := randomPayload(shape.size)
				cpu := cpuSeconds(b)
				b.ResetTimer()
				done := make(chan error, 1)
				go func() {
					for range b.N {
						d, err := s.Next(ctx)
						if err == nil {
							err = s.Ack(d)
						}
						if err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
				flight := make(chan Commit, shape.flight-1) // and one that is waited for
				go func() {
					defer close(flight)
					for range b.N {
						c, err := s.Append(ctx, Entry{Payload: payload, Samples: uint32(shape.samples)})
						if err != nil {
							b.Error(err)
							return
						}
						flight <- c
					}
				}()
				for c := range flight {
					if err := c.Wait(ctx); err != nil {
						b.Fatal(err)
					}
				}
				if err := <-done; err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				report(b, shape.samples, cpu)
			})
		}
	}
}

func fill(b *testing.B, dir string, entries, size, samples int) {
	s, err := Open(Options{Dir: dir, Limit: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	payload := randomPayload(size)
	var last Commit
	for range entries {
		if last, err = s.Append(ctx, Entry{Payload: payload, Samples: uint32(samples)}); err != nil {
			b.Fatal(err)
		}
	}
	if err := last.Wait(ctx); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDrain reads back from disk what an earlier process left, and
// acknowledges each entry.
func BenchmarkDrain(b *testing.B) {
	for _, shape := range []struct{ size, samples int }{{16 << 10, 1000}, {120, 1}} {
		b.Run(fmt.Sprintf("%dB", shape.size), func(b *testing.B) {
			dir := b.TempDir()
			fill(b, dir, b.N, shape.size, shape.samples)
			cpu := cpuSeconds(b)
			b.ResetTimer()
			drainAll(b, dir, b.N)
			b.StopTimer()
			report(b, shape.samples, cpu)
		})
	}
}

func drainAll(b *testing.B, dir string, entries int) {
	s, err := Open(Options{Dir: dir, Limit: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	for range entries {
		d, err := s.Next(ctx)
		if err == nil {
			err = s.Ack(d)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRecover opens a directory that holds a million samples; open is the
// time until the first entry is there, all until the last one is acknowledged.
func BenchmarkRecover(b *testing.B) {
	for _, shape := range []struct{ entries, size, samples int }{{1000, 16 << 10, 1000}, {1_000_000, 120, 1}} {
		b.Run(fmt.Sprintf("open/%dx%dB", shape.entries, shape.size), func(b *testing.B) {
			dir := b.TempDir()
			fill(b, dir, shape.entries, shape.size, shape.samples)
			for b.Loop() {
				s, err := Open(Options{Dir: dir, Limit: 1 << 40})
				if err != nil {
					b.Fatal(err)
				}
				if got := s.Stats().Recovered.Samples; got != uint64(shape.entries*shape.samples) {
					b.Fatalf("recovered %d samples", got)
				}
				if _, err := s.Next(context.Background()); err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("all/%dx%dB", shape.entries, shape.size), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				dir := b.TempDir()
				fill(b, dir, shape.entries, shape.size, shape.samples)
				b.StartTimer()
				drainAll(b, dir, shape.entries)
			}
		})
	}
}
