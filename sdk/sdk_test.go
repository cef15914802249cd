package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// The plugins that this test binary can be, by the variable that says which.
const which = "NEPHO_TEST_PLUGIN"

func TestMain(m *testing.M) {
	plugins := map[string]sdk.Plugin{
		"":          {Name: "hello", Summary: "Greets.", Pollster: func() sdk.Pollster { return &hello{} }},
		"noisy":     {Name: "noisy", Summary: "Prints to stdout.", Pollster: func() sdk.Pollster { return &noisy{} }},
		"many":      {Name: "many", Summary: "Polls many samples.", Pollster: func() sdk.Pollster { return &many{} }},
		"each":      {Name: "each", Summary: "Polls resources.", ResourcePollster: func() sdk.ResourcePollster { return &each{} }},
		"ticker":    {Name: "ticker", Summary: "Sends numbers.", Notification: func() sdk.Notification { return &ticker{} }},
		"rate":      {Name: "rate", Summary: "Tells changes.", Transformer: func() sdk.Transformer { return &rate{} }},
		"picky":     {Name: "picky", Summary: "Refuses negative volumes.", Publisher: func() sdk.Publisher { return &picky{} }},
		"shelf":     {Name: "shelf", Summary: "Keeps samples.", Storage: func() sdk.Storage { return &shelf{} }},
		"threshold": {Name: "threshold", Summary: "Watches a mean.", Alarm: func() sdk.Alarm { return &threshold{} }},
		"numbered":  {Name: "numbered", Summary: "Keeps series.", Storage: func() sdk.Storage { return &numbered{} }},
		"limit":     {Name: "limit", Summary: "Watches series.", Alarm: func() sdk.Alarm { return &limit{} }},
		"mailer":    mailerPlugin(),
		"careless":  carelessPlugin(),
	}
	if os.Getenv(which) == "noisy" {
		fmt.Println("printed before Serve")
	}
	sdktest.Main(m, plugins[os.Getenv(which)])
}

func plugin(name string) []string { return []string{which + "=" + name} }

type hello struct {
	Greeting string `toml:"greeting" default:"hi" doc:"what to say"`
}

func (h *hello) Poll(_ context.Context, out *sdk.Builder) error {
	who := out.On(sdk.Resource{ID: "world", Metadata: sdk.Metadata{"greeting": h.Greeting, "n": 3}})
	who.Gauge("hello.length", "B", float64(len(h.Greeting)))
	return nil
}

// noisy prints where the handshake goes, before it serves.
type noisy struct{}

func (*noisy) Poll(_ context.Context, out *sdk.Builder) error { return nil }

type many struct {
	Samples int `toml:"samples" default:"100000" doc:"how many a poll gives"`
}

func (m *many) Start(context.Context, sdk.Env) error {
	fmt.Println("printed while starting")
	return nil
}

func (m *many) Poll(_ context.Context, out *sdk.Builder) error {
	fmt.Println("printed while polling")
	var on *sdk.Subject
	for i := range m.Samples {
		if i%20 == 0 {
			on = out.On(sdk.Resource{ID: fmt.Sprint("vm-", i/20), Metadata: sdk.Metadata{"host": "compute-1"}})
		}
		on.Cumulative(fmt.Sprint("meter.", i%20), "B", float64(i))
	}
	return out.Err()
}

type each struct{}

func (*each) Discover(context.Context) ([]sdk.Resource, error) {
	return []sdk.Resource{{ID: "good"}, {ID: "bad"}, {ID: "hangs"}}, nil
}

func (*each) PollResource(ctx context.Context, r sdk.Resource, out *sdk.Builder) error {
	switch r.ID {
	case "bad":
		return errors.New("no answer")
	case "hangs":
		<-ctx.Done()
		return ctx.Err()
	}
	out.On(r).Gauge("up", "", 1)
	return nil
}

type ticker struct{}

func (*ticker) Listen(ctx context.Context, deliver sdk.Deliver) error {
	for i := 0; ; i++ {
		err := deliver(ctx, func(out *sdk.Builder) error {
			out.On(sdk.Resource{ID: "ticker"}).Gauge("tick", "", float64(i))
			out.AddEvent(sdk.Event{MessageID: fmt.Sprint(i), EventType: "tick"})
			return nil
		}, func(error) {})
		if err != nil {
			return err
		}
	}
}

type rate struct{ last *sdk.State[float64] }

func (r *rate) Start(_ context.Context, env sdk.Env) (err error) {
	r.last, err = sdk.NewState[float64](env, "last", time.Hour)
	return err
}

func (r *rate) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	for _, s := range in.Samples() {
		if before, had := r.last.Swap(sdk.Key{Meter: s.Name, Resource: s.ResourceID}, s.Volume); had {
			s.ID, s.Name, s.Type, s.Volume = "", s.Name+".change", sdk.Delta, s.Volume-before
			out.Add(s)
		}
	}
	return nil
}

type picky struct{}

func (*picky) Publish(_ context.Context, b *sdk.Batch) error {
	var refused []int
	for i, s := range b.Samples() {
		switch {
		case s.Name == "later":
			return sdk.RetryAfter(errors.New("busy"), time.Second)
		case s.Name == "crash":
			panic("mistake")
		case s.Volume < 0:
			refused = append(refused, i)
		}
	}
	if refused != nil {
		return sdk.RefuseRows(errors.New("negative"), refused)
	}
	return nil
}

type shelf struct {
	mu   sync.Mutex
	kept []sdk.Sample
}

func (s *shelf) Publish(_ context.Context, b *sdk.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sample := range b.Samples() {
		s.kept = append(s.kept, sample)
	}
	return nil
}

func (s *shelf) Query(_ context.Context, q sdk.Query) iter.Seq2[*sdk.Batch, error] {
	return func(yield func(*sdk.Batch, error) bool) {
		if q.Granularity > 0 {
			yield(nil, errors.New("keeps samples only"))
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		batches, err := sdk.Build("shelf", func(out *sdk.Builder) error {
			for _, sample := range s.kept {
				if strings.Contains(strings.Join(q.Meters, " "), sample.Name) {
					out.Add(sample)
				}
			}
			return nil
		})
		for _, b := range batches {
			if !yield(b, err) {
				return
			}
		}
	}
}

// threshold raises an event when the mean of cpu_util is above 90.
type threshold struct{ due chan struct{} }

func (a *threshold) Start(context.Context, sdk.Env) error {
	a.due = make(chan struct{}, 1)
	return nil
}

func (a *threshold) Publish(context.Context, *sdk.Batch) error {
	select {
	case a.due <- struct{}{}:
	default:
	}
	return nil
}

func (a *threshold) Watch(ctx context.Context, host sdk.Host) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.due:
		}
		q := sdk.Query{Meters: []string{"cpu_util"}, Granularity: time.Minute, Aggregation: "mean"}
		for b, err := range host.Query(ctx, "store", q) {
			if err != nil {
				return err
			}
			for _, s := range b.Samples() {
				if s.Volume > 90 {
					if err := host.Deliver(ctx, func(out *sdk.Builder) error {
						out.AddEvent(sdk.Event{MessageID: "1", EventType: "alarm.raised", Traits: []sdk.Trait{{Name: "resource", Type: sdk.Text, Value: s.ResourceID}}})
						return nil
					}, nil); err != nil {
						return err
					}
				}
			}
		}
	}
}
