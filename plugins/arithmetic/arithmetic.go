// Package arithmetic is the transformer that computes a new meter of several
// others of the same resource.
package arithmetic

import (
	"cmp"
	"context"
	_ "embed" // for the sample configuration
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nephoscope/nepho/plugins/internal/derive"
	"github.com/nephoscope/nepho/plugins/internal/expression"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the transformer.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:        "arithmetic",
		Summary:     "Computes a new meter of several others of the same resource",
		Sample:      sample,
		Transformer: func() sdk.Transformer { return new(transformer) },
	}
}

type target struct {
	Name string   `toml:"name" required:"true" doc:"Name of the new meter."`
	Unit string   `toml:"unit" doc:"Its unit."`
	Type sdk.Type `toml:"type" default:"gauge" doc:"Its type: gauge, delta or cumulative."`
}

type transformer struct {
	Target     target            `toml:"target" doc:"What the new meter is called."`
	Inputs     map[string]string `toml:"inputs" required:"true" doc:"Variables of the expression, each with the name of its meter."`
	Expr       string            `toml:"expr" required:"true" doc:"Expression that gives the volume."`
	KeepInputs bool              `toml:"keep_inputs" doc:"Passes the inputs on as well."`
	Window     time.Duration     `toml:"window" default:"0s" doc:"Inputs whose times are further apart do not belong together; 0 takes all."`
	Expire     time.Duration     `toml:"expire" default:"24h" doc:"Inputs that wait for others for so long are forgotten; 0 keeps all."`

	formula   *expression.Formula
	variables []string       // sorted
	variable  map[string]int // index of variables by meter name
	state     *sdk.State[derive.Held]
	trouble   *derive.Trouble
}

// Validate compiles the options.
func (t *transformer) Validate() error {
	t.variables = slices.Sorted(maps.Keys(t.Inputs))
	t.variable = make(map[string]int, len(t.variables))
	var errs []error
	for i, v := range t.variables {
		meter := t.Inputs[v]
		if err := expression.CheckVariable(v); err != nil {
			errs = append(errs, config.KeyError("inputs", "%w", err))
		}
		if other, twice := t.variable[meter]; twice {
			errs = append(errs, config.KeyError("inputs."+v, "is the same meter as %s", t.variables[other]))
		}
		if meter == "" {
			errs = append(errs, config.KeyError("inputs."+v, "must not be empty"))
		}
		t.variable[meter] = i
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	var err error
	if t.formula, err = expression.NewFormula(t.Expr, t.variables); err != nil {
		return config.KeyError("expr", "%w", err)
	}
	for _, v := range t.variables {
		if !slices.Contains(t.formula.Used(), v) {
			errs = append(errs, config.KeyError("inputs."+v, "is not used in expr"))
		}
	}
	return errors.Join(errs...)
}

// Start implements [sdk.Starter].
func (t *transformer) Start(_ context.Context, env sdk.Env) (err error) {
	t.trouble = derive.NewTrouble(env)
	t.state, err = sdk.NewState[derive.Held](env, "inputs", t.Expire)
	return err
}

// Transform implements [sdk.Transformer].
func (t *transformer) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	inputs := make([]int, in.Meters()) // variable of each meter; -1: none
	for m := range inputs {
		inputs[m] = -1
		if v, ok := t.variable[in.Meter(m).Name]; ok {
			inputs[m] = v
		}
	}
	var rows []int
	for i := range in.Len() {
		if inputs[in.MeterOf(i)] >= 0 {
			rows = append(rows, i)
		}
	}
	// What belongs together may be anywhere in the batch, which may hold several
	// polls' samples.
	slices.SortStableFunc(rows, func(a, b int) int {
		return cmp.Or(cmp.Compare(in.ResourceID(in.ResourceOf(a)), in.ResourceID(in.ResourceOf(b))), cmp.Compare(in.UnixNano(a), in.UnixNano(b)))
	})
	for n, i := range rows {
		resource := in.ResourceID(in.ResourceOf(i))
		t.take(in, i, sdk.Key{Meter: t.variables[inputs[in.MeterOf(i)]], Resource: resource})
		if n+1 < len(rows) && in.UnixNano(rows[n+1]) == in.UnixNano(i) && in.ResourceID(in.ResourceOf(rows[n+1])) == resource {
			continue // there is more of the same moment
		}
		t.compute(resource, out)
	}
	t.trouble.Settle()
	if !t.KeepInputs {
		in.Keep(func(i int) bool { return inputs[in.MeterOf(i)] < 0 })
	}
	if in.Len()+in.Events() > 0 {
		out.Forward(in)
	}
	return nil
}

// take remembers row i, unless it is older than what is remembered.
func (t *transformer) take(in *sdk.Batch, i int, key sdk.Key) {
	if held, had := t.state.Get(key); !had || !held.Timestamp.After(in.Time(i)) {
		t.state.Set(key, derive.Held{Sample: derive.Row(in, i)})
	}
}

// compute makes a sample of the resource's inputs if all are there, and forgets
// them then.
func (t *transformer) compute(resource string, out *sdk.Builder) {
	inputs := make(map[string]sdk.Sample, len(t.variables))
	var latest sdk.Sample
	for _, v := range t.variables {
		held, had := t.state.Get(sdk.Key{Meter: v, Resource: resource})
		if had {
			inputs[v] = held.Sample
		}
		if had && !held.Timestamp.Before(latest.Timestamp) {
			latest = held.Sample
		}
	}
	if t.Window > 0 {
		for v, s := range inputs {
			if latest.Timestamp.Sub(s.Timestamp) > t.Window {
				t.state.Delete(sdk.Key{Meter: v, Resource: resource})
				delete(inputs, v)
			}
		}
	}
	if len(inputs) < len(t.variables) {
		return
	}
	for _, v := range t.variables {
		t.state.Delete(sdk.Key{Meter: v, Resource: resource})
	}
	volume, err := t.formula.Evaluate(inputs)
	if err != nil {
		t.trouble.Add(fmt.Errorf("%s: %w", t.Expr, err), t.Target.Name, resource)
		return
	}
	s := inputs[t.formula.Used()[0]]
	s.Name, s.Unit, s.Type, s.Volume = t.Target.Name, t.Target.Unit, t.Target.Type, volume
	s.Timestamp, s.Monotonic = latest.Timestamp, latest.Monotonic
	out.Add(s)
}
