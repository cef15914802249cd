package sdk_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// hot raises an event when the newest minute of a machine is hotter than its limit. It
// asks only when there is something new, and for all machines at once.
type hot struct {
	Limits map[string]float64 // by machine
}

func (*hot) Publish(context.Context, *sdk.Batch) error { return nil }

func (h *hot) Watch(ctx context.Context, host sdk.Host) error {
	return h.watch(ctx, host.Series("aggregator"), func(machine string, mean float64) error {
		return host.Deliver(ctx, func(out *sdk.Builder) error {
			out.AddEvent(sdk.Event{EventType: "machine.hot", Traits: []sdk.Trait{
				{Name: "machine", Type: sdk.Text, Value: machine}, {Name: "mean", Type: sdk.Float, Value: mean},
			}})
			return nil
		}, nil)
	})
}

// watch asks any reader, so that tests need no process.
func (h *hot) watch(ctx context.Context, store sdk.SeriesReader, raise func(machine string, mean float64) error) error {
	var names []sdk.SeriesName
	for machine := range h.Limits {
		names = append(names, sdk.SeriesName{Resource: machine, Meter: "temperature"})
	}
	found, err := store.FindSeries(ctx, sdk.SeriesQuery{Scope: sdk.Scope{All: true}, Names: names})
	if err != nil {
		return err
	}
	machines := map[uint64]string{} // by the number of their series
	for _, f := range found {
		machines[f.Number] = f.Resource
	}
	for a, err := range store.Follow(ctx, sdk.FollowQuery{Meters: []string{"temperature"}, Undescribed: true}) {
		if err != nil {
			return err // Watch is called again, and begins anew
		}
		due := slices.DeleteFunc(a.Numbers, func(n uint64) bool { return machines[n] == "" })
		if len(due) == 0 {
			continue
		}
		newest := time.Unix(0, slices.Max(a.Times))
		windows, err := store.Windows(ctx, []sdk.WindowQuery{{
			Series: due, Granularity: time.Minute, Aggregation: "mean", From: newest.Add(-time.Minute), To: newest.Add(1),
		}})
		if err != nil {
			return err
		}
		for i, w := range windows.All() {
			machine := machines[due[i]]
			if n := len(w.Values); w.Err == nil && n > 0 && w.Values[n-1] > h.Limits[machine] {
				if err := raise(machine, w.Values[n-1]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func ExampleSeriesReader() {
	var store sdktest.Store // stands for the aggregator
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	one := store.Add(sdk.Series{Meter: "temperature", Resource: "one"})
	two := store.Add(sdk.Series{Meter: "temperature", Resource: "two"})

	ctx, cancel := context.WithCancel(context.Background())
	raised := make(chan string)
	ended := make(chan error)
	go func() {
		h := &hot{Limits: map[string]float64{"one": 60, "two": 80}}
		ended <- h.watch(ctx, &store, func(machine string, mean float64) error {
			select {
			case raised <- fmt.Sprint(machine, " is hot: ", mean):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	for text := ""; text == ""; { // until it follows
		at = at.Add(time.Minute)
		store.Put(two, at, 50)
		store.Put(one, at, 70)
		select {
		case text = <-raised:
			fmt.Println(text)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	fmt.Println(<-ended)
	// Output:
	// one is hot: 70
	// context canceled
}
