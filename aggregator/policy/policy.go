package policy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Definition is one granularity of a policy.
type Definition struct {
	Granularity time.Duration // length of a window, above 0
	Points      int64         // windows that are kept; 0 is all
}

// Timespan is the time that is kept: granularity times points, 0 for ever.
func (d Definition) Timespan() time.Duration { return d.Granularity * time.Duration(d.Points) }

// Policy is an archive policy. It is not changed after it was made: a change is a
// new Policy with the same id.
type Policy struct {
	ID   uint32 // given by the index, never used again for another
	Name string
	// BackWindow is how many windows of the coarsest granularity before the current
	// one still take points: see WritableFrom.
	BackWindow int
	// Definitions are in the order in which they were given, granularities unique.
	Definitions []Definition
	Methods     Set
}

// Coarsest is the longest granularity of a policy that has one.
func (p *Policy) Coarsest() time.Duration {
	longest := p.Definitions[0].Granularity
	for _, d := range p.Definitions[1:] {
		longest = max(longest, d.Granularity)
	}
	return longest
}

// Definition is the definition of a granularity.
func (p *Policy) Definition(granularity time.Duration) (Definition, bool) {
	i := slices.IndexFunc(p.Definitions, func(d Definition) bool { return d.Granularity == granularity })
	if i < 0 {
		return Definition{}, false
	}
	return p.Definitions[i], true
}

// WritableFrom is the start of the time that still takes points, in nanoseconds
// since 1970, of a metric whose newest point is at the time last: the start of
// the current window of the coarsest granularity, less the back window, and less
// one window more if there are methods of differences. It is Gnocchi's rule.
func (p *Policy) WritableFrom(last int64) int64 {
	coarsest, back := int64(p.Coarsest()), int64(p.BackWindow)
	if p.Methods.HasRates() {
		back++
	}
	return Floor(last, coarsest) - back*coarsest
}

// Floor is the largest multiple of granularity, which is above 0, up to t.
func Floor(t, granularity int64) int64 {
	rest := t % granularity
	if rest < 0 {
		rest += granularity
	}
	return t - rest
}

// longest is the longest timespan that is counted in nanoseconds: 292 years.
const longest = time.Duration(math.MaxInt64)

// Validate reports all that is wrong with a policy. The other methods are for those
// with which nothing is.
func (p *Policy) Validate() error {
	var errs []error
	if len(p.Definitions) == 0 {
		errs = append(errs, errors.New("an archive policy needs at least one granularity"))
	}
	if p.BackWindow < 0 {
		errs = append(errs, fmt.Errorf("back window %d is negative", p.BackWindow))
	}
	if p.Methods == (Set{}) {
		errs = append(errs, errors.New("an archive policy needs at least one aggregation method"))
	}
	seen := map[time.Duration]bool{}
	for _, d := range p.Definitions {
		switch {
		case d.Granularity <= 0:
			errs = append(errs, fmt.Errorf("granularity %v is not above 0", d.Granularity))
		case d.Points < 0:
			errs = append(errs, fmt.Errorf("%d points of the granularity %v: give a number above 0, or none for all", d.Points, d.Granularity))
		case d.Points > int64(longest/d.Granularity):
			errs = append(errs, fmt.Errorf("%d points of the granularity %v are more than 292 years: give none for all", d.Points, d.Granularity))
		case p.BackWindow > int(longest/2/d.Granularity):
			errs = append(errs, fmt.Errorf("back window of %d times the granularity %v is more than 146 years", p.BackWindow, d.Granularity))
		}
		if seen[d.Granularity] {
			errs = append(errs, fmt.Errorf("more than one definition has the granularity %v", d.Granularity))
		}
		seen[d.Granularity] = true
	}
	return errors.Join(errs...)
}
