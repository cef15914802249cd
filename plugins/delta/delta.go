// Package delta is the transformer that makes differences of counters: by how
// much a meter changed since its previous sample.
package delta

import (
	"context"
	_ "embed" // for the sample configuration
	"time"

	"github.com/nephoscope/nepho/plugins/internal/derive"
	"github.com/nephoscope/nepho/sdk"
)

//go:embed sample.toml
var sample string

// Plugin describes the transformer.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:        "delta",
		Summary:     "Makes differences of counters: the change since the previous sample",
		Sample:      sample,
		Transformer: func() sdk.Transformer { return new(transformer) },
	}
}

type transformer struct {
	Source     derive.Source `toml:"source" doc:"Which samples are taken, and parts of their names."`
	Target     derive.Naming `toml:"target" doc:"What the differences are called."`
	GrowthOnly bool          `toml:"growth_only" doc:"Leaves out negative differences."`
	Expire     time.Duration `toml:"expire" default:"24h" doc:"Meters that had no sample for so long are forgotten; 0 keeps all."`

	namer   *derive.Namer
	history *derive.History
}

// Validate compiles the options.
func (t *transformer) Validate() (err error) {
	t.namer, err = derive.NewNamer(t.Source, t.Target)
	return err
}

// Start implements [sdk.Starter].
func (t *transformer) Start(_ context.Context, env sdk.Env) (err error) {
	t.history, err = derive.OpenHistory(env, t.Expire)
	return err
}

// Transform implements [sdk.Transformer]. It puts differences in the place of the
// volumes, column by column.
func (t *transformer) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	selected := make([]bool, in.Meters())
	for m := range selected {
		selected[m] = t.namer.Selects(in.Meter(m))
	}
	t.history.Begin(in)
	in.Keep(func(i int) bool {
		if !selected[in.MeterOf(i)] {
			return true
		}
		change, _, ok := t.history.Step(i)
		if !ok || t.GrowthOnly && change < 0 {
			return false
		}
		in.SetVolume(i, change)
		return true
	})
	for m := range selected {
		if meter := in.Meter(m); selected[m] {
			in.EditMeter(m, t.namer.Meter(meter, sdk.Meter{Name: meter.Name + ".delta", Type: sdk.Delta, Unit: meter.Unit}))
		}
	}
	if in.Len()+in.Events() > 0 {
		out.Forward(in)
	}
	return nil
}
