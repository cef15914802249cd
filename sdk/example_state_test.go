package sdk_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// reading is what growth remembers of a sample.
type reading struct {
	Volume float64
	At     time.Time
}

// growth tells how fast a counter grows. What it remembers survives restarts and
// crashes, and a batch that is given twice counts once.
type growth struct {
	last *sdk.State[reading]
}

func (g *growth) Start(_ context.Context, env sdk.Env) (err error) {
	g.last, err = sdk.NewState[reading](env, "last", 24*time.Hour)
	return err
}

func (g *growth) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	for _, s := range in.Samples() {
		key := sdk.Key{Meter: s.Name, Resource: s.ResourceID}
		before, had := g.last.Swap(key, reading{s.Volume, s.Timestamp})
		if !had || !s.Timestamp.After(before.At) {
			continue
		}
		s.ID, s.Name, s.Type, s.Unit = "", s.Name+".rate", sdk.Gauge, s.Unit+"/s"
		s.Volume = (s.Volume - before.Volume) / s.Timestamp.Sub(before.At).Seconds()
		out.Add(s)
	}
	return nil
}

func ExampleState() {
	g := new(growth)
	if err := g.Start(context.Background(), sdk.Env{}); err != nil { // no StateDir: in memory only
		fmt.Println(err)
	}
	for i, volume := range []float64{1000, 1600} {
		in, err := sdk.Build("probe", func(out *sdk.Builder) error {
			out.At(time.Unix(int64(60*i), 0))
			out.On(sdk.Resource{ID: "eth0"}).Cumulative("bytes", "B", volume)
			return nil
		})
		if err != nil {
			fmt.Println(err)
		}
		out, err := sdk.Build("growth", func(out *sdk.Builder) error {
			return g.Transform(context.Background(), in[0], out)
		})
		if err != nil {
			fmt.Println(err)
		}
		for _, b := range out {
			fmt.Println(b.Sample(0).Name, b.Sample(0).Volume, b.Sample(0).Unit)
		}
	}
	// Output:
	// bytes.rate 10 B/s
}
