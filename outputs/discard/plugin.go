// Package discard is the publisher that publishes nothing: it reads every sample,
// counts, and fails on request. It is for benchmarks and for trying out delivery.
package discard

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the publisher.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:      "discard",
		Summary:   "Reads and counts all that it is given and keeps nothing; fails on request",
		Sample:    sample,
		Publisher: func() sdk.Publisher { return &discard{} },
	}
}

type discard struct {
	Delay      time.Duration `toml:"delay" doc:"How long each batch takes."`
	Fail       string        `toml:"fail" enum:"retry|refuse|refuse_rows" doc:"How to fail: ask for the batch again, refuse it, or refuse its first row."`
	FailEvery  int           `toml:"fail_every" min:"1" doc:"Fail on every n-th batch."`
	FailChance float64       `toml:"fail_chance" min:"0" max:"1" doc:"Fail with this probability."`
	RetryAfter time.Duration `toml:"retry_after" doc:"With fail = \"retry\": the pause to ask for; 0 leaves it to the host."`

	log     *slog.Logger
	calls   int
	batches int
	samples int
	events  int
	failed  int
	sum     float64
}

// Validate implements the check of options.
func (d *discard) Validate() error {
	var errs []error
	if d.Fail == "" {
		if d.FailEvery != 0 {
			errs = append(errs, config.KeyError("fail_every", "needs the option fail, which says how to fail"))
		}
		if d.FailChance != 0 {
			errs = append(errs, config.KeyError("fail_chance", "needs the option fail, which says how to fail"))
		}
	}
	if d.RetryAfter != 0 && d.Fail != "retry" {
		errs = append(errs, config.KeyError("retry_after", "needs fail = \"retry\""))
	}
	return errors.Join(errs...)
}

// Start implements sdk.Starter.
func (d *discard) Start(_ context.Context, env sdk.Env) error {
	d.log = env.Log
	return nil
}

// Stop implements sdk.Stopper.
func (d *discard) Stop(context.Context) error {
	if d.log != nil {
		d.log.Info("discarded", "batches", d.batches, "samples", d.samples, "events", d.events, "sum", d.sum, "failures", d.failed)
	}
	return nil
}

// Publish implements sdk.Publisher.
func (d *discard) Publish(ctx context.Context, b *sdk.Batch) error {
	d.calls++
	if d.Delay > 0 {
		timer := time.NewTimer(d.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	first := 0
	var err error
	if d.fails() {
		d.failed++
		switch d.Fail {
		case "retry":
			return sdk.RetryAfter(errors.New("failed on request"), d.RetryAfter)
		case "refuse":
			return sdk.Refuse(errors.New("refused on request"))
		}
		err = sdk.RefuseRows(errors.New("row refused on request"), []int{0})
		first = 1
	}
	sum := 0.0
	for i := first; i < b.Len(); i++ {
		sum += b.Volume(i)
	}
	d.batches++
	d.sum += sum
	d.samples += max(b.Len()-first, 0)
	d.events += b.Events()
	if b.Len() < first {
		d.events-- // row 0 is an event
	}
	return err
}

func (d *discard) fails() bool {
	switch {
	case d.Fail == "":
		return false
	case d.FailEvery == 0 && d.FailChance == 0:
		return true
	default:
		return d.FailEvery > 0 && d.calls%d.FailEvery == 0 || rand.Float64() < d.FailChance
	}
}
