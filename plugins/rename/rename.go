// Package rename is the transformer that gives meters, units and metadata other
// names, and resources other owners.
package rename

import (
	"context"
	_ "embed" // for the sample configuration
	"errors"

	"github.com/nephoscope/nepho/plugins/internal/derive"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the transformer.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:        "rename",
		Summary:     "Renames meters, units and metadata, and sets project, user, source and metadata",
		Sample:      sample,
		Transformer: func() sdk.Transformer { return new(transformer) },
	}
}

type transformer struct {
	Names       map[string]string `toml:"names" doc:"New names of meters, by their present ones."`
	Units       map[string]string `toml:"units" doc:"New names of units, by their present ones."`
	Source      derive.Source     `toml:"source" doc:"Which samples are renamed, and parts of their names."`
	Target      derive.Naming     `toml:"target" doc:"What replaces parts of names, or whole names."`
	Metadata    map[string]string `toml:"metadata" doc:"New metadata keys, by the present ones."`
	Set         assignments       `toml:"set" doc:"Expressions that give other fields of the resource."`
	SetMetadata map[string]string `toml:"set_metadata" doc:"Expressions that give metadata, by key."`

	namer   *derive.Namer
	fields  []field
	trouble *derive.Trouble
}

// Validate compiles the options.
func (t *transformer) Validate() error {
	var errs []error
	for _, table := range []struct {
		key   string
		names map[string]string
	}{{"names", t.Names}, {"metadata", t.Metadata}} {
		for from, to := range table.names {
			if to == "" {
				errs = append(errs, config.KeyError(table.key+"."+from, "must not be empty"))
			}
		}
	}
	var err error
	if t.namer, err = derive.NewNamer(t.Source, t.Target); err != nil {
		errs = append(errs, err)
	}
	if t.fields, err = compileFields(t.Set, t.SetMetadata); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Start implements [sdk.Starter].
func (t *transformer) Start(_ context.Context, env sdk.Env) error {
	t.trouble = derive.NewTrouble(env)
	return nil
}

// Transform implements [sdk.Transformer]. It changes the tables of meters and
// resources and touches no sample.
func (t *transformer) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	if err := t.resources(in); err != nil {
		return err
	}
	for m := range in.Meters() {
		if from := in.Meter(m); t.namer.Selects(from) {
			if to := t.meter(from); to != from {
				in.EditMeter(m, to)
			}
		}
	}
	t.trouble.Settle()
	out.Forward(in)
	return nil
}

// meter names a meter: by the tables if they have its name, or its unit, else by
// the mapping.
func (t *transformer) meter(from sdk.Meter) sdk.Meter {
	to := t.namer.Meter(from, from)
	if name, ok := t.Names[from.Name]; ok {
		to.Name = name
	}
	if unit, ok := t.Units[from.Unit]; ok {
		to.Unit = unit
	}
	return to
}

// resources changes the entries of the resource table. Expressions see them as
// they came.
func (t *transformer) resources(in *sdk.Batch) error {
	for _, f := range t.fields {
		f.value.Begin(in)
	}
	if len(t.fields) == 0 && len(t.Metadata) == 0 {
		return nil
	}
	changed := make([]*sdk.Resource, in.Resources())
	for r := range changed {
		changed[r] = t.resource(in, r)
	}
	for r, to := range changed {
		if to == nil {
			continue
		}
		if err := in.SetResource(r, *to); err != nil {
			return err
		}
	}
	return nil
}

// resource gives what becomes of entry r of the resource table; nil is unchanged.
func (t *transformer) resource(in *sdk.Batch, r int) *sdk.Resource {
	e := edit{Resource: in.Resource(r)}
	for from := range e.Metadata {
		if _, ok := t.Metadata[from]; ok {
			e.renameKeys(t.Metadata)
			break
		}
	}
	for _, f := range t.fields {
		v, err := f.value.AtResource(r)
		if err == nil {
			err = f.set(&e, v)
		}
		if err != nil {
			t.trouble.Add(err, "set "+f.name, e.ID)
		}
	}
	if !e.changed {
		return nil
	}
	return &e.Resource
}
