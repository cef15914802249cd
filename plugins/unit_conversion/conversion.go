// Package unitconversion is the transformer that converts samples into another
// unit, and names them anew.
package unitconversion

import (
	"context"
	_ "embed" // for the sample configuration
	"errors"
	"fmt"
	"math"

	"github.com/nephoscope/nepho/plugins/internal/derive"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the transformer.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:        "unit_conversion",
		Summary:     "Converts samples into another unit, and names them anew",
		Sample:      sample,
		Transformer: func() sdk.Transformer { return new(transformer) },
	}
}

type transformer struct {
	Source derive.Source `toml:"source" doc:"Which samples are converted, and parts of their names."`
	Target derive.Target `toml:"target" doc:"What the converted samples are called and how they are scaled."`

	namer   *derive.Namer
	scale   *derive.Scale
	trouble *derive.Trouble
}

// Validate compiles the options.
func (t *transformer) Validate() error {
	var errName, errScale error
	t.namer, errName = derive.NewNamer(t.Source, t.Target.Naming)
	t.scale, errScale = derive.NewScale(t.Target)
	if errScale == nil && t.scale.Constant() {
		errScale = config.KeyError("target.scale", `gives all samples the same volume: write a number without quotes, or an expression such as "volume / 1024"`)
	}
	return errors.Join(errName, errScale)
}

// Start implements [sdk.Starter].
func (t *transformer) Start(_ context.Context, env sdk.Env) error {
	t.trouble = derive.NewTrouble(env)
	return nil
}

// Transform implements [sdk.Transformer]. It converts in place.
func (t *transformer) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	selected := make([]bool, in.Meters())
	for m := range selected {
		selected[m] = t.namer.Selects(in.Meter(m))
	}
	t.scale.Begin(in)
	in.Keep(func(i int) bool {
		if !selected[in.MeterOf(i)] {
			return true
		}
		v, err := t.scale.Volume(i, in.Volume(i))
		if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			err = fmt.Errorf("the converted volume of %v is %v", in.Volume(i), v)
		}
		if err != nil {
			t.trouble.AddRow(err, in, i)
			return false
		}
		in.SetVolume(i, t.scale.Cap(v))
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

func (t *transformer) meter(of sdk.Meter) sdk.Meter {
	converted := of
	if t.Target.Type != nil {
		converted.Type = *t.Target.Type
	}
	return t.namer.Meter(of, converted)
}
