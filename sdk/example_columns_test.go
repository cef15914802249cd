package sdk_test

import (
	"context"
	"fmt"

	"github.com/nephoscope/nepho/sdk"
)

// columns does what it does to the batch's tables and hands the batch on. A meter
// and a resource stand in them once, however many samples refer to them, and no
// row is copied.
type columns struct{}

func (*columns) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	scale := make([]float64, in.Meters())
	for m := range scale {
		scale[m] = 1
		if meter := in.Meter(m); meter.Unit == "KiB" {
			scale[m] = 1024
			meter.Unit = "B"
			in.EditMeter(m, meter)
		}
	}
	in.Keep(func(i int) bool { // also the place to change rows
		in.SetVolume(i, in.Volume(i)*scale[in.MeterOf(i)])
		return in.Volume(i) > 0
	})
	err := in.MapMetadata(func(m sdk.Metadata) sdk.Metadata {
		return sdk.Metadata{"host": m["host"]} // what else there was goes
	})
	if err != nil {
		return err
	}
	out.Forward(in)
	return nil
}

func ExampleTransformer_columns() {
	in, err := sdk.Build("probe", func(out *sdk.Builder) error {
		on := out.On(sdk.Resource{ID: "vm-1", Metadata: sdk.Metadata{"host": "compute-1", "flavor": "m1.tiny"}})
		on.Gauge("memory.used", "KiB", 512)
		on.Gauge("memory.swapped", "KiB", 0)
		on.Gauge("cpu", "%", 12)
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	out, err := sdk.Build("columns", func(out *sdk.Builder) error {
		return new(columns).Transform(context.Background(), in[0], out)
	})
	if err != nil {
		fmt.Println(err)
	}
	for _, s := range out[0].Samples() {
		fmt.Println(s.Name, s.Volume, s.Unit, s.Metadata)
	}
	// Output:
	// memory.used 524288 B map[host:compute-1]
	// cpu 12 % map[host:compute-1]
}
