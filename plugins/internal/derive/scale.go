package derive

import (
	"math"

	"github.com/nephoscope/nepho/plugins/internal/expression"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

// Target is [Naming] with what a derived meter may have besides a name.
type Target struct {
	Naming
	Type  *sdk.Type `toml:"type" doc:"Type of the new meter: gauge, delta or cumulative."`
	Scale any       `toml:"scale" doc:"A number, or an expression over the sample's fields."`
	Max   *float64  `toml:"max" doc:"Larger volumes are cut to this one."`
}

// Scale is a compiled target.scale and target.max.
type Scale struct {
	factor     float64
	expression *expression.Expression[float64]
	max        float64
}

// NewScale checks and compiles the options; its error is a [config.KeyError].
func NewScale(t Target) (*Scale, error) {
	s := &Scale{factor: 1, max: math.Inf(1)}
	if t.Max != nil {
		if math.IsNaN(*t.Max) {
			return nil, config.KeyError("target.max", "is not a number")
		}
		s.max = *t.Max
	}
	switch v := t.Scale.(type) {
	case nil:
	case int64:
		s.factor = float64(v)
	case float64:
		s.factor = v
	case string:
		e, err := expression.Number(v)
		if err != nil {
			return nil, config.KeyError("target.scale", "%w", err)
		}
		s.expression = e
	default:
		return nil, config.KeyError("target.scale", "must be a number or an expression in quotes")
	}
	if s.factor == 0 || math.IsNaN(s.factor) || math.IsInf(s.factor, 0) {
		return nil, config.KeyError("target.scale", "must be a finite number other than 0")
	}
	return s, nil
}

// Begin sets the batch whose rows are scaled next.
func (s *Scale) Begin(b *sdk.Batch) {
	if s.expression != nil {
		s.expression.Begin(b)
	}
}

// Factor is what a rate that was computed for row i is to be multiplied by.
func (s *Scale) Factor(i int) (float64, error) {
	if s.expression == nil {
		return s.factor, nil
	}
	return s.expression.At(i)
}

// Volume converts v, the volume of row i: a number multiplies it, an expression
// is the new volume.
func (s *Scale) Volume(i int, v float64) (float64, error) {
	if s.expression == nil {
		return v * s.factor, nil
	}
	return s.expression.At(i)
}

// Constant tells whether the scale is an expression that uses no field of the
// sample, so that it cannot be a conversion of its volume.
func (s *Scale) Constant() bool { return s.expression != nil && s.expression.IsConstant() }

// Cap cuts v to the maximum.
func (s *Scale) Cap(v float64) float64 { return min(v, s.max) }
