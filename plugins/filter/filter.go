// Package filter is the transformer that keeps or drops samples, and leaves out
// metadata.
package filter

import (
	"context"
	_ "embed" // for the sample configuration
	"errors"
	"slices"

	"github.com/nephoscope/nepho/plugins/internal/derive"
	"github.com/nephoscope/nepho/plugins/internal/expression"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/glob"
)

//go:embed sample.toml
var sample string

// Plugin describes the transformer.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:        "filter",
		Summary:     "Keeps or drops samples by their fields and metadata, and leaves out metadata",
		Sample:      sample,
		Transformer: func() sdk.Transformer { return new(transformer) },
	}
}

type transformer struct {
	Action       string              `toml:"action" default:"keep" enum:"keep|drop" doc:"What happens to samples that meet all conditions."`
	Names        []string            `toml:"names" doc:"Globs of meter names."`
	Resources    []string            `toml:"resources" doc:"Globs of resource ids."`
	Types        []sdk.Type          `toml:"types" doc:"Types of meters: gauge, delta, cumulative."`
	Metadata     map[string][]string `toml:"metadata" doc:"Globs of values, by metadata key."`
	Where        string              `toml:"where" doc:"Expression over the sample that is true or false."`
	MetadataKeep []string            `toml:"metadata_keep" doc:"Globs of the metadata keys that stay."`
	MetadataDrop []string            `toml:"metadata_drop" doc:"Globs of metadata keys that go."`

	names     *glob.Globs
	resources *glob.Globs
	metadata  []condition
	where     *expression.Expression[bool]
	keys      *glob.Globs // metadata keys that stay
	trouble   *derive.Trouble
}

// Validate compiles the options.
func (t *transformer) Validate() error {
	var errs []error
	compile := func(key string, patterns []string) *glob.Globs {
		g, err := glob.Compile(patterns)
		if err != nil {
			errs = append(errs, config.KeyError(key, "%w", err))
		}
		return g
	}
	t.names = compile("names", t.Names)
	t.resources = compile("resources", t.Resources)
	t.metadata = nil
	for _, key := range sortedKeys(t.Metadata) {
		g := compile("metadata."+key, t.Metadata[key])
		t.metadata = append(t.metadata, newCondition(key, t.Metadata[key], g))
	}
	if t.Where != "" {
		var err error
		if t.where, err = expression.Condition(t.Where); err != nil {
			errs = append(errs, config.KeyError("where", "%w", err))
		}
	}
	keys := slices.Clone(t.MetadataKeep)
	compile("metadata_keep", t.MetadataKeep)
	for _, pattern := range t.MetadataDrop {
		keys = append(keys, "!"+pattern)
	}
	compile("metadata_drop", t.MetadataDrop)
	if len(errs) == 0 {
		t.keys = compile("metadata_drop", keys)
	}
	return errors.Join(errs...)
}

// Start implements [sdk.Starter].
func (t *transformer) Start(_ context.Context, env sdk.Env) error {
	t.trouble = derive.NewTrouble(env)
	return nil
}

// Transform implements [sdk.Transformer]. What depends on the meter or the
// resource alone is decided once for each.
func (t *transformer) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	meters := make([]bool, in.Meters())
	for m := range meters {
		meter := in.Meter(m)
		meters[m] = t.names.Match(meter.Name) && (len(t.Types) == 0 || slices.Contains(t.Types, meter.Type))
	}
	resources := make([]bool, in.Resources())
	for r := range resources {
		resources[r] = t.resources.Match(in.ResourceID(r)) && t.meets(in, r)
	}
	if t.where != nil {
		t.where.Begin(in)
	}
	drop := t.Action == "drop"
	in.Keep(func(i int) bool {
		meets := meters[in.MeterOf(i)] && resources[in.ResourceOf(i)]
		if meets && t.where != nil {
			var err error
			if meets, err = t.where.At(i); err != nil {
				t.trouble.AddRow(err, in, i)
				return drop // it does not meet the condition
			}
		}
		return meets != drop
	})
	t.trouble.Settle()
	if in.Len()+in.Events() == 0 {
		return nil
	}
	if err := t.thin(in); err != nil {
		return err
	}
	out.Forward(in)
	return nil
}

// meets tells whether resource r meets the conditions on metadata.
func (t *transformer) meets(in *sdk.Batch, r int) bool {
	if len(t.metadata) == 0 {
		return true
	}
	metadata := in.Resource(r).Metadata
	for i := range t.metadata {
		if !t.metadata[i].met(metadata) {
			return false
		}
	}
	return true
}

// thin leaves out metadata, if there is any to leave out.
func (t *transformer) thin(in *sdk.Batch) error {
	if t.keys.All() {
		return nil
	}
	thick := false
	for r := 0; r < in.Resources() && !thick; r++ {
		for key := range in.Resource(r).Metadata {
			thick = thick || !t.keys.Match(key)
		}
	}
	if !thick {
		return nil
	}
	return in.MapMetadata(func(from sdk.Metadata) sdk.Metadata {
		to := make(sdk.Metadata, len(from))
		for key, value := range from {
			if t.keys.Match(key) {
				to[key] = value
			}
		}
		return to
	})
}
