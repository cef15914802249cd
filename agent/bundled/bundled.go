// Package bundled is the one list of the plugins that come with nepho.
package bundled

import (
	"fmt"
	"os"

	"github.com/nephoscope/nepho/agent/cli"
	"github.com/nephoscope/nepho/agent/host"
	store "github.com/nephoscope/nepho/aggregator"
	amqpout "github.com/nephoscope/nepho/outputs/amqp"
	"github.com/nephoscope/nepho/outputs/discard"
	"github.com/nephoscope/nepho/outputs/file"
	"github.com/nephoscope/nepho/outputs/influxdb"
	"github.com/nephoscope/nepho/plugins/accumulator"
	"github.com/nephoscope/nepho/plugins/aggregator"
	amqpin "github.com/nephoscope/nepho/plugins/amqp"
	"github.com/nephoscope/nepho/plugins/arithmetic"
	"github.com/nephoscope/nepho/plugins/delta"
	"github.com/nephoscope/nepho/plugins/evaluator"
	"github.com/nephoscope/nepho/plugins/events"
	"github.com/nephoscope/nepho/plugins/exec"
	"github.com/nephoscope/nepho/plugins/filter"
	"github.com/nephoscope/nepho/plugins/generator"
	hostpoll "github.com/nephoscope/nepho/plugins/host"
	"github.com/nephoscope/nepho/plugins/libvirt"
	rateofchange "github.com/nephoscope/nepho/plugins/rate_of_change"
	"github.com/nephoscope/nepho/plugins/rename"
	unitconversion "github.com/nephoscope/nepho/plugins/unit_conversion"
	"github.com/nephoscope/nepho/sdk"
)

// Plugins lists the bundled plugins.
func Plugins() []sdk.Plugin {
	return []sdk.Plugin{
		// Pollsters.
		host.InternalPlugin(),
		hostpoll.Plugin(),
		libvirt.Plugin(),
		exec.Plugin(),
		generator.Plugin(),
		// Notifications.
		amqpin.Plugin(),
		// Transformers.
		rateofchange.Plugin(),
		delta.Plugin(),
		unitconversion.Plugin(),
		arithmetic.Plugin(),
		aggregator.Plugin(),
		accumulator.Plugin(),
		filter.Plugin(),
		rename.Plugin(),
		// Publishers.
		file.Plugin(),
		influxdb.Plugin(),
		amqpout.Plugin(),
		discard.Plugin(),
		// Storages.
		store.Plugin(),
		events.Plugin(),
		// Alarms.
		evaluator.Plugin(),
	}
}

// Store looks after what the aggregator stores.
func Store() cli.Store {
	return cli.Store{Inspect: store.Inspect, Verify: store.Verify, Adopt: store.Adopt}
}

// Serve runs the bundled plugin of the given kind and name, such as
// pollster/host, with the given arguments.
func Serve(name string, args []string) error {
	for _, p := range Plugins() {
		if kind, err := p.Kind(); err == nil && string(kind)+"/"+p.Name == name {
			os.Args = append([]string{name}, args...)
			sdk.Serve(p)
			return nil
		}
	}
	return fmt.Errorf("there is no bundled plugin %q: see nepho plugins", name)
}
