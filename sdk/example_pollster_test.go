package sdk_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// battery measures one thing, with metadata that describes it.
type battery struct {
	read func() (percent, joules float64, at time.Time)
}

func (b *battery) Poll(_ context.Context, out *sdk.Builder) error {
	percent, joules, at := b.read()
	out.At(at) // when it was read, which may be earlier than now
	on := out.On(sdk.Resource{ID: "BAT0", Metadata: sdk.Metadata{"vendor": "ACME", "cycles": 12}})
	on.Gauge("battery.charge", "%", percent)
	on.Cumulative("battery.energy", "J", joules)
	return nil
}

func ExamplePollster() {
	p := &battery{read: func() (float64, float64, time.Time) { return 81, 5e6, time.Unix(1800000000, 0) }}

	// The host does this; so can a test that needs no process of its own.
	batches, err := sdk.Build("battery", func(out *sdk.Builder) error { return p.Poll(context.Background(), out) })
	if err != nil {
		fmt.Println(err)
	}
	for _, b := range batches {
		for _, s := range b.Samples() {
			fmt.Println(s.Name, s.Type, s.Volume, s.Unit, s.ResourceID, s.Metadata["cycles"], s.Timestamp.Format(time.RFC3339))
		}
	}
	// Output:
	// battery.charge gauge 81 % BAT0 12 2027-01-15T08:00:00Z
	// battery.energy cumulative 5e+06 J BAT0 12 2027-01-15T08:00:00Z
}
