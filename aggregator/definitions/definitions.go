// Package definitions says which resources and metrics are made of samples and
// events: a meter's name decides on the type of the resource, the resource type on
// the attributes, and name and type of a meter on the metric's archive policy. It is
// what gnocchi_resources.yaml is for Ceilometer, in TOML; conf/aggregator/resources.toml
// is what ships, and describes the form.
package definitions

import (
	"slices"
	"strings"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/glob"
)

// Definitions are what one or more files say. They do not change, so any number of
// goroutines may use them.
type Definitions struct {
	// Policies are archive policies without ids, in the order of the files.
	Policies []*policy.Policy
	// Types are resource types in the order of the files.
	Types []*Type

	names  map[string]*Type // by the name of a meter
	globs  []typeGlob       // longest first
	choice []choice         // the first that fits counts
}

// Type is a resource type, and how resources of it are described.
type Type struct {
	Name       string
	Attributes []Attribute // by name
	events     *eventsTable
	create     *glob.Globs
	update     *glob.Globs
	delete     *glob.Globs
}

// Attribute is an attribute of a resource type and where its value comes from.
type Attribute struct {
	Name string
	index.Attribute
	paths []path
}

// typeGlob is a pattern of the meters of a type.
type typeGlob struct {
	pattern string
	globs   *glob.Globs
	t       *Type
}

// choice is an archive policy for some meters.
type choice struct {
	globs  *glob.Globs
	types  []sdk.Type // empty: all
	policy string
}

// Generic is the resource type of what no definition knows. It is always there
// and has no attributes of its own.
const Generic = "generic"

// generic describes resources of meters that no type claims.
var generic = &Type{Name: Generic}

// TypeOf is the resource type of a meter. known is false, and the type the
// generic one, where no definition names the meter.
func (d *Definitions) TypeOf(meter string) (t *Type, known bool) {
	if t, ok := d.names[meter]; ok {
		return t, true
	}
	for _, g := range d.globs {
		if g.globs.Match(meter) {
			return g.t, true
		}
	}
	return generic, false
}

// Type is the resource type of a name, nil if the definitions do not have it.
func (d *Definitions) Type(name string) *Type {
	if name == Generic && !slices.ContainsFunc(d.Types, func(t *Type) bool { return t.Name == Generic }) {
		return generic
	}
	for _, t := range d.Types {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// PolicyOf is the archive policy of a new metric; "" leaves it to the archive
// policy rules.
func (d *Definitions) PolicyOf(meter string, t sdk.Type) string {
	for _, c := range d.choice {
		if c.globs.Match(meter) && (len(c.types) == 0 || slices.Contains(c.types, t)) {
			return c.policy
		}
	}
	return ""
}

// ResourceID is the id by which a resource of samples is known: Gnocchi allows no
// slash in it, so like Ceilometer it has underscores in their place.
func ResourceID(id string) string { return strings.ReplaceAll(id, "/", "_") }

// MetricName is the name of a meter's metric, which must not have slashes either.
func MetricName(meter string) string { return strings.ReplaceAll(meter, "/", "_") }
