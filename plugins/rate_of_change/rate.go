// Package rateofchange is the transformer that makes rates of counters: how much
// a meter changed per second since its previous sample.
package rateofchange

import (
	"context"
	_ "embed" // for the sample configuration
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nephoscope/nepho/plugins/internal/derive"
	"github.com/nephoscope/nepho/sdk"
)

//go:embed sample.toml
var sample string

// Plugin describes the transformer.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:        "rate_of_change",
		Summary:     "Makes rates of counters: the change per second since the previous sample",
		Sample:      sample,
		Transformer: func() sdk.Transformer { return new(transformer) },
	}
}

type transformer struct {
	Source derive.Source `toml:"source" doc:"Which samples are taken, and parts of their names."`
	Target derive.Target `toml:"target" doc:"What the rates are called and how they are scaled."`
	Expire time.Duration `toml:"expire" default:"24h" doc:"Meters that had no sample for so long are forgotten; 0 keeps all."`

	namer   *derive.Namer
	scale   *derive.Scale
	history *derive.History
	trouble *derive.Trouble
}

// Validate compiles the options.
func (t *transformer) Validate() error {
	var errName, errScale error
	t.namer, errName = derive.NewNamer(t.Source, t.Target.Naming)
	t.scale, errScale = derive.NewScale(t.Target)
	return errors.Join(errName, errScale)
}

// Start implements [sdk.Starter].
func (t *transformer) Start(_ context.Context, env sdk.Env) (err error) {
	t.trouble = derive.NewTrouble(env)
	t.history, err = derive.OpenHistory(env, t.Expire)
	return err
}

// Transform implements [sdk.Transformer]. It puts rates in the place of the
// volumes, column by column.
func (t *transformer) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	selected := make([]bool, in.Meters())
	for m := range selected {
		selected[m] = t.namer.Selects(in.Meter(m))
	}
	t.history.Begin(in)
	t.scale.Begin(in)
	in.Keep(func(i int) bool {
		if !selected[in.MeterOf(i)] {
			return true
		}
		change, elapsed, ok := t.history.Step(i)
		if !ok {
			return false
		}
		rate, err := t.rate(i, change, elapsed)
		if err != nil {
			t.trouble.AddRow(err, in, i)
			return false
		}
		in.SetVolume(i, rate)
		return true
	})
	for m := range selected {
		if meter := in.Meter(m); selected[m] {
			in.EditMeter(m, t.meter(meter))
		}
	}
	t.trouble.Settle()
	if in.Len()+in.Events() > 0 {
		out.Forward(in)
	}
	return nil
}

func (t *transformer) rate(i int, change float64, elapsed time.Duration) (float64, error) {
	factor, err := t.scale.Factor(i)
	if err != nil {
		return 0, err
	}
	rate := factor * change / elapsed.Seconds()
	if math.IsNaN(rate) || math.IsInf(rate, 0) {
		return 0, fmt.Errorf("the rate is %v: a change of %v in %v", rate, change, elapsed)
	}
	return t.scale.Cap(rate), nil
}

// meter names the rate of a meter.
func (t *transformer) meter(of sdk.Meter) sdk.Meter {
	rate := sdk.Meter{Name: of.Name + ".rate", Type: sdk.Gauge, Unit: derive.PerSecond(of.Unit)}
	if t.Target.Type != nil {
		rate.Type = *t.Target.Type
	}
	return t.namer.Meter(of, rate)
}
