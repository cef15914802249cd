package sdk_test

import (
	"context"
	"fmt"

	"github.com/nephoscope/nepho/sdk"
)

// celsius works row by row: simple, and fast enough for most.
type celsius struct{}

func (*celsius) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	for _, s := range in.Samples() {
		if s.Unit == "°F" {
			s.Unit, s.Volume = "°C", (s.Volume-32)/1.8
			s.ID = "" // it is a sample of its own
		}
		out.Add(s)
	}
	return nil
}

func ExampleTransformer() {
	in, err := sdk.Build("probe", func(out *sdk.Builder) error {
		on := out.On(sdk.Resource{ID: "rack-1"})
		on.Gauge("temperature", "°F", 86)
		on.Gauge("humidity", "%", 40)
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	out, err := sdk.Build("celsius", func(out *sdk.Builder) error {
		return new(celsius).Transform(context.Background(), in[0], out)
	})
	if err != nil {
		fmt.Println(err)
	}
	for _, s := range out[0].Samples() {
		fmt.Println(s.Name, s.Volume, s.Unit)
	}
	// Output:
	// temperature 30 °C
	// humidity 40 %
}
