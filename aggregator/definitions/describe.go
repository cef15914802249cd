package definitions

import (
	"fmt"

	"github.com/nephoscope/nepho/sdk"
)

// Describe gives the attributes that a sample's resource tells, as the index takes
// them. Those that it does not tell are left out, and so are values that do not fit
// their attribute, of which wrong hears.
func (t *Type) Describe(r *sdk.Resource, wrong func(attribute string, err error)) map[string]any {
	if len(t.Attributes) == 0 {
		return nil
	}
	made := make(map[string]any, len(t.Attributes))
	for i := range t.Attributes {
		a := &t.Attributes[i]
		for _, p := range a.paths {
			if v, ok := p.find(r); ok {
				a.set(made, v, wrong)
				break
			}
		}
	}
	return made
}

// set gives an attribute a value that is there.
func (a *Attribute) set(made map[string]any, v any, wrong func(attribute string, err error)) {
	value, err := a.Value(v)
	if err != nil {
		wrong(a.Name, fmt.Errorf("%.100v: %w", v, err))
		return
	}
	made[a.Name] = value
}
