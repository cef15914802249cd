package sdk_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/nephoscope/nepho/sdk"
)

// switches measures many things one by one. How many at once, and for how long
// each, is up to the operator; a switch that hangs delays no other.
type switches struct {
	Addresses []string `toml:"addresses" required:"true" doc:"Switches to ask."`
}

func (s *switches) Discover(context.Context) ([]sdk.Resource, error) {
	var all []sdk.Resource
	for _, a := range s.Addresses {
		all = append(all, sdk.Resource{ID: a, Metadata: sdk.Metadata{"vendor": "ACME"}})
	}
	return all, nil
}

func (s *switches) PollResource(ctx context.Context, r sdk.Resource, out *sdk.Builder) error {
	bytes, err := askSwitch(ctx, r.ID)
	if err != nil {
		return err // of this switch; the others count
	}
	out.On(r).Cumulative("switch.port.bytes", "B", bytes)
	return nil
}

func askSwitch(_ context.Context, address string) (float64, error) {
	if address == "10.0.0.3" {
		return 0, errors.New("no route to host")
	}
	return 123456, nil
}

func ExampleResourcePollster() {
	var p sdk.ResourcePollster = &switches{Addresses: []string{"10.0.0.2", "10.0.0.3"}}

	resources, err := p.Discover(context.Background())
	if err != nil {
		fmt.Println(err)
	}
	for _, r := range resources {
		batches, err := sdk.Build("switches", func(out *sdk.Builder) error {
			return p.PollResource(context.Background(), r, out)
		})
		if err != nil {
			fmt.Println(r.ID, err)
			continue
		}
		s := batches[0].Sample(0)
		fmt.Println(s.ResourceID, s.Name, s.Volume, s.Metadata["vendor"])
	}
	// Output:
	// 10.0.0.2 switch.port.bytes 123456 ACME
	// 10.0.0.3 no route to host
}
