// Package generator is the pollster that measures nothing: it makes samples for
// load tests and for trying things out, such that what arrives can be checked.
package generator

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the pollster.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:     "generator",
		Summary:  "Makes samples for load tests and for trying things out",
		Sample:   sample,
		Pollster: func() sdk.Pollster { return &generator{} },
	}
}

type generator struct {
	Samples         int    `toml:"samples" default:"1000" min:"0" doc:"Samples of each poll; 0 stands for as many as fit into nine tenths of the interval."`
	Payload         string `toml:"payload" default:"ceilometer" enum:"ceilometer|light" doc:"What samples look like: an instance's in OpenStack, or a metric with tags."`
	Resources       int    `toml:"resources" default:"50" min:"1" max:"1000000" doc:"Resources that the samples are about."`
	MeterCount      int    `toml:"meter_count" default:"20" min:"1" max:"1000" doc:"Meters of each resource."`
	MetadataEntries *int   `toml:"metadata_entries" min:"0" max:"1000" doc:"Metadata entries of each resource; 6, or 5 of the light payload, if absent."`
	Numbered        bool   `toml:"numbered" default:"false" doc:"Make numbered samples of one resource instead, to find out what is lost."`

	interval  time.Duration
	resources []sdk.Resource
	meters    []counter
	at        int // index into resources and meters of the next sample
	numbers   numbers
}

// counter grows by rate a second.
type counter struct {
	sdk.Meter
	rate   float64
	volume float64 // in the present round
}

// Validate implements the check of options.
func (g *generator) Validate() error {
	if g.Numbered && g.MetadataEntries != nil {
		return config.KeyError("metadata_entries", "numbered samples have no metadata")
	}
	return nil
}

// Start implements sdk.Starter.
func (g *generator) Start(_ context.Context, env sdk.Env) error {
	g.interval = env.Interval
	if g.Numbered {
		return g.numbers.open(env)
	}
	entries := 6
	if g.Payload == "light" {
		entries = 5
	}
	if g.MetadataEntries != nil {
		entries = *g.MetadataEntries
	}
	g.resources = resources(g.Payload, env.Instance, g.Resources, entries)
	for m := range g.MeterCount {
		name := fmt.Sprintf("generator.counter.%02d", m)
		if env.Wants(name) {
			g.meters = append(g.meters, counter{Meter: sdk.Meter{Name: name, Type: sdk.Cumulative, Unit: "B"}, rate: float64(m + 1)})
		}
	}
	if len(g.meters) == 0 {
		return fmt.Errorf("the option meters selects none of generator.counter.00 to generator.counter.%02d", g.MeterCount-1)
	}
	return nil
}

// Poll implements sdk.Pollster.
func (g *generator) Poll(ctx context.Context, out *sdk.Builder) error {
	until, bounded := g.until(ctx)
	if g.Samples == 0 && !bounded {
		return errors.New("samples = 0 needs an interval to fill")
	}
	if g.Numbered {
		return g.numbers.poll(ctx, out, g.Samples, until)
	}
	left := g.Samples
	if left == 0 {
		left = int(^uint(0) >> 1)
	}
	subjects := make([]*sdk.Subject, len(g.resources))
	for i, r := range g.resources {
		subjects[i] = out.On(r)
	}
	g.tick(out)
	for left > 0 {
		subject := subjects[g.at/len(g.meters)]
		first := g.at % len(g.meters)
		meters := g.meters[first:min(len(g.meters), first+left)]
		for i := range meters {
			subject.Add(meters[i].Meter, meters[i].volume)
		}
		left -= len(meters)
		if g.at += len(meters); g.at == len(subjects)*len(g.meters) {
			g.at = 0
			g.tick(out)
		}
		if g.Samples == 0 && !time.Now().Before(until) {
			return nil
		}
		if ctx.Err() != nil || out.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// until gives the moment at which a poll without a number of samples ends: early
// enough that the last of them are handed over within the interval.
func (g *generator) until(ctx context.Context) (time.Time, bool) {
	now := time.Now()
	length := g.interval
	if deadline, ok := ctx.Deadline(); ok && (length == 0 || deadline.Sub(now) < length) {
		length = deadline.Sub(now)
	}
	return now.Add(length * 9 / 10), length > 0
}

// tick begins a round: samples of one resource and meter must not have the same
// time. Counters are functions of the clock, so that each sample can be checked
// on its own and rates are what they are whatever is restarted.
func (g *generator) tick(out *sdk.Builder) {
	now := time.Now()
	out.At(now)
	seconds := float64(now.Unix()) + float64(now.Nanosecond())/1e9
	for i := range g.meters {
		g.meters[i].volume = seconds * g.meters[i].rate
	}
}
