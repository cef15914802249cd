// Watcher is an alarm for tests and measurements: it delivers samples of many
// resources, waits until the storage tells of them, reads their windows, and writes
// what it saw and how long that took to a file, a line of JSON each. Then it follows
// the storage, through all restarts, and writes what is told.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

func main() {
	sdk.Serve(sdk.Plugin{Name: "watcher", Version: "1", Summary: "Watches series for tests.", Alarm: func() sdk.Alarm { return &watcher{} }})
}

const meter = "cpu_util"

type watcher struct {
	Storage string `toml:"storage" default:"aggregator" doc:"Storage to watch."`
	Report  string `toml:"report" required:"true" doc:"File to write to."`
	Series  int    `toml:"series" default:"100" min:"1" doc:"How many resources to make."`
	Rounds  int    `toml:"rounds" default:"3" min:"1" doc:"How often each question is asked."`
	Minutes int    `toml:"minutes" default:"5" min:"1" doc:"How many windows to make of each."`

	measured bool
}

// line is a line of the report.
type line struct {
	What string `json:"what"`
	// Items are how many series, or windows, this was about in all.
	Items   int           `json:"items,omitempty"`
	Wall    time.Duration `json:"wall,omitempty"`
	CPU     time.Duration `json:"cpu,omitempty"` // of host, storage and this
	Median  time.Duration `json:"median,omitempty"`
	Highest time.Duration `json:"highest,omitempty"` // 99 of 100 are below
	Error   string        `json:"error,omitempty"`
}

func (w *watcher) Publish(context.Context, *sdk.Batch) error { return nil }

func (w *watcher) tell(l line) error {
	f, err := os.OpenFile(w.Report, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	return json.NewEncoder(f).Encode(l)
}

// Watch implements sdk.Alarm.
func (w *watcher) Watch(ctx context.Context, host sdk.Host) error {
	store := host.Series(w.Storage)
	if !w.measured {
		if err := w.measure(ctx, host, store); err != nil {
			return err
		}
		w.measured = true
	}
	for a, err := range store.Follow(ctx, sdk.FollowQuery{Meters: []string{meter}}) {
		if err != nil {
			return w.tell(line{What: "broke off", Error: err.Error()})
		}
		if err := w.tell(line{What: "told", Items: len(a.Numbers)}); err != nil {
			return err
		}
	}
	return nil
}

// measure measures everything once.
func (w *watcher) measure(ctx context.Context, host sdk.Host, store sdk.SeriesReader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	told, err := w.follow(ctx, store)
	if err != nil {
		return err
	}
	begin := time.Now().Add(-time.Hour).Truncate(time.Minute)
	for minute := range w.Minutes {
		what := "advance"
		if minute == 0 {
			what = "advance of new series"
		}
		err := w.timed(what, w.Series, func() error {
			if err := deliver(ctx, host, begin.Add(time.Duration(minute)*time.Minute), w.Series); err != nil {
				return err
			}
			return await(ctx, told, w.Series)
		})
		if err != nil {
			return err
		}
	}
	if err := w.latencies("sample to advance", func(i int) error {
		if err := deliver(ctx, host, begin.Add(time.Duration(w.Minutes)*time.Minute+time.Duration(i)*time.Millisecond), 1); err != nil {
			return err
		}
		return await(ctx, told, 1)
	}); err != nil {
		return err
	}
	return w.ask(ctx, store, begin)
}

// ask measures questions.
func (w *watcher) ask(ctx context.Context, store sdk.SeriesReader, begin time.Time) error {
	var names []sdk.SeriesName
	for i := range w.Series {
		names = append(names, sdk.SeriesName{Resource: resource(i), Meter: meter})
	}
	var numbers []uint64
	err := w.timed("find", w.Series, func() error {
		found, err := store.FindSeries(ctx, sdk.SeriesQuery{Scope: sdk.Scope{All: true}, Names: names})
		if err == nil && len(found) != w.Series {
			err = fmt.Errorf("%d series are found of %d", len(found), w.Series)
		}
		for _, f := range found {
			numbers = append(numbers, f.Number)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, minutes := range []int{1, min(5, w.Minutes)} {
		q := []sdk.WindowQuery{{
			Series: numbers, Granularity: time.Minute, Aggregation: "mean",
			From: begin.Add(time.Duration(w.Minutes-minutes) * time.Minute), To: begin.Add(time.Duration(w.Minutes) * time.Minute),
		}}
		err := w.timed(fmt.Sprintf("windows, %d of each", minutes), w.Series*w.Rounds, func() error {
			for range w.Rounds {
				all, err := store.Windows(ctx, q)
				if err != nil {
					return err
				}
				for i, row := range all.All() {
					if row.Err != nil || len(row.Values) != minutes {
						return fmt.Errorf("row %d is %v", i, row)
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		q[0].Series = numbers[:1]
		if err := w.latencies(fmt.Sprintf("windows of one series, %d of it", minutes), func(int) error {
			_, err := store.Windows(ctx, q)
			return err
		}); err != nil {
			return err
		}
	}
	if err := w.latencies("compute", func(int) error {
		_, err := store.Compute(ctx, sdk.ComputeQuery{
			Scope: sdk.Scope{All: true}, Language: "operations", Expression: "(aggregate mean (metric " + meter + " mean))", Search: &sdk.ResourceSearch{Type: "generic", Filter: `original_resource_id = "` + resource(0) + `"`},
			From: begin, To: begin.Add(time.Duration(w.Minutes) * time.Minute), Granularity: time.Minute,
		})
		return err
	}); err != nil {
		return err
	}
	return w.tell(line{What: "measured"})
}

// follow follows the storage beside; what it gives is how many series each Advance has.
func (w *watcher) follow(ctx context.Context, store sdk.SeriesReader) (<-chan int, error) {
	told, failed := make(chan int, 1024), make(chan error, 1)
	go func() {
		for a, err := range store.Follow(ctx, sdk.FollowQuery{Meters: []string{meter}}) {
			if err != nil {
				failed <- err
				return
			}
			told <- len(a.Numbers)
		}
	}()
	select {
	case <-told: // the first is empty
		return told, nil
	case err := <-failed:
		return nil, err
	}
}

func await(ctx context.Context, told <-chan int, n int) error {
	for n > 0 {
		select {
		case more := <-told:
			n -= more
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func resource(i int) string { return "watched-" + strconv.Itoa(i) }

func deliver(ctx context.Context, host sdk.Host, at time.Time, n int) error {
	return host.Deliver(ctx, func(out *sdk.Builder) error {
		out.At(at)
		for i := range n {
			out.On(sdk.Resource{ID: resource(i)}).Gauge(meter, "%", float64(i%100))
		}
		return nil
	}, nil)
}

func (w *watcher) timed(what string, items int, f func() error) error {
	cpu, begin := used(), time.Now()
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return w.tell(line{What: what, Items: items, Wall: time.Since(begin), CPU: used() - cpu})
}

// latencies calls f one by one.
func (w *watcher) latencies(what string, f func(i int) error) error {
	n := 20 * w.Rounds
	all := make([]time.Duration, n)
	cpu, begin := used(), time.Now()
	for i := range all {
		start := time.Now()
		if err := f(i); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		all[i] = time.Since(start)
	}
	wall, cpu := time.Since(begin), used()-cpu
	slices.Sort(all)
	return w.tell(line{What: what, Items: n, Wall: wall, CPU: cpu, Median: all[n/2], Highest: all[n*99/100]})
}

// used is the processor time of the host and all of its plugins.
func used() time.Duration {
	var sum time.Duration
	folders, _ := filepath.Glob("/proc/[0-9]*")
	host := strconv.Itoa(os.Getppid())
	for _, folder := range folders {
		data, err := os.ReadFile(filepath.Join(folder, "stat"))
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 13 || filepath.Base(folder) != host && fields[1] != host {
			continue
		}
		for _, f := range fields[11:13] {
			ticks, _ := strconv.Atoi(f)
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}
