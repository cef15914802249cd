// The smallest pollster: one file, one meter.
package main

import (
	"context"

	"github.com/nephoscope/nepho/sdk"
)

type hello struct {
	Greeting string `toml:"greeting" default:"hello" doc:"what to say"`
}

func (h *hello) Poll(_ context.Context, out *sdk.Builder) error {
	out.On(sdk.Resource{ID: "world"}).Gauge("hello.length", "B", float64(len(h.Greeting)))
	return nil
}

func main() {
	sdk.Serve(sdk.Plugin{Name: "hello", Summary: "Says hello.", Pollster: func() sdk.Pollster { return &hello{} }})
}
