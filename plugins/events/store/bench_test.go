package store

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/plugins/events/chunk"
	"github.com/nephoscope/nepho/plugins/events/chunk/chunktest"
	"github.com/nephoscope/nepho/sdk"
)

// BenchmarkAdd measures what events cost that come in batches, merges included.
func BenchmarkAdd(b *testing.B) {
	for _, name := range []string{"sqlite", "postgres"} {
		for _, size := range []int{1, 100, 1000} {
			b.Run(fmt.Sprint(name, "-", size), func(b *testing.B) {
				s := open(b, Options{URL: where(b, name), Now: time.Now})
				nova := chunktest.NewNova(1, time.Now().Add(-time.Hour), 10*time.Millisecond)
				n := 0
				var cpu time.Duration
				var events []sdk.Event
				for b.Loop() {
					b.StopTimer()
					if len(events) < size {
						events = nova.Events(50_000)
					}
					batch := events[:size]
					events = events[size:]
					before := chunktest.CPU()
					b.StartTimer()
					add(b, s, size, batch...)
					ok(b, s.Merge(b.Context()))
					cpu += chunktest.CPU() - before
					n += size
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
				b.ReportMetric(float64(n)/cpu.Seconds(), "events/cpu-s")
			})
		}
	}
}

// BenchmarkFind measures questions to a store of many events, NEPHO_BENCH_EVENTS of
// them (100,000).
func BenchmarkFind(b *testing.B) {
	size := 100_000
	if text := os.Getenv("NEPHO_BENCH_EVENTS"); text != "" {
		var err error
		size, err = strconv.Atoi(text)
		ok(b, err)
	}
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run(name, func(b *testing.B) { findBench(b, name, size) })
	}
}

func findBench(b *testing.B, name string, size int) {
	// The events of 30 days.
	now := time.Now()
	nova := chunktest.NewNova(1, now.AddDate(0, 0, -30), 30*24*time.Hour/time.Duration(size))
	s := open(b, Options{URL: where(b, name), Now: time.Now})
	r := random(1)
	var some []sdk.Event
	begun, cpu := time.Now(), chunktest.CPU()
	for n := 0; n < size; {
		batch := nova.Events(min(1000, size-n))
		add(b, s, len(batch), batch...)
		n += len(batch)
		some = append(some, batch[r.IntN(len(batch))])
		ok(b, s.Merge(b.Context()))
	}
	ok(b, s.Settle(b.Context()))
	st, err := s.Status(b.Context())
	ok(b, err)
	b.Logf("%d events in %d chunks after %v and %v of CPU; %d bytes an event in chunks, %d on disk", st.Events, st.Chunks,
		time.Since(begun).Round(time.Second), (chunktest.CPU() - cpu).Round(time.Second), st.Bytes/st.Events, onDisk(b, s)/st.Events)
	text := func(name string) func() Query {
		return func() Query {
			q := Everything()
			q.Limit = 100
			for _, t := range some[r.IntN(len(some))].Traits {
				if t.Name == name {
					q.Where = []chunk.Condition{{Trait: name, Type: sdk.Text, Text: t.Value.(string)}}
				}
			}
			return q
		}
	}
	questions := []struct {
		name string
		ask  func() Query
	}{
		{"request_id", text("request_id")},
		{"instance_id", text("instance_id")},
		{"project_id", text("project_id")},
		{"message_id", func() Query {
			q := Everything()
			q.Limit, q.ID = 1, &some[r.IntN(len(some))].MessageID
			return q
		}},
		{"newest-100", func() Query {
			q := Everything()
			q.Limit, q.Order.TimeDescends = 100, true
			return q
		}},
		{"nothing", func() Query {
			q := Everything()
			q.Limit, q.Where = 100, []chunk.Condition{{Trait: "instance_id", Type: sdk.Text, Text: "nothing"}}
			return q
		}},
	}
	for _, question := range questions {
		b.Run(question.name, func(b *testing.B) {
			var times []time.Duration
			var found int
			cpu := chunktest.CPU()
			for b.Loop() {
				q := question.ask()
				begun := time.Now()
				events, _, err := s.Find(b.Context(), q)
				ok(b, err)
				times = append(times, time.Since(begun))
				found += len(events)
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64((chunktest.CPU()-cpu).Microseconds())/1000/float64(len(times)), "cpu-ms/op")
			b.ReportMetric(float64(found)/float64(len(times)), "events/op")
		})
	}
}

// onDisk is how many bytes a database has.
func onDisk(b *testing.B, s *Store) (n int64) {
	b.Helper()
	if s.db.Shared() {
		ok(b, s.db.Read(b.Context(), func(v *database.Session) error {
			_, err := v.One(b.Context(), "SELECT pg_database_size(current_database())", nil, &n)
			return err
		}))
		return n
	}
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(s.db.Path() + suffix); err == nil {
			n += info.Size()
		}
	}
	return n
}
