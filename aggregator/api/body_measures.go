package api

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/window"
)

// posted is the measures in a request's body: metrics in the order of the text, and
// their points one after another. It is used again for other requests.
type posted struct {
	ids       []uuid.UUID   // the metrics, where the body names them by id
	resources []string      // as given
	named     []namedMetric // the metrics, where the body names them by resource
	ends      []int         // where each metric's points end
	points    []window.Point
	text      int // bytes of names that are not counted otherwise

	// hold sets memory aside, nil for any, of which held bytes are. full says why there is
	// no room for more.
	hold func(int64) error
	held int64
	full error
}

// namedMetric is a metric of a resource, and what it gets if it has to be created.
type namedMetric struct {
	resource     int // place among the resources
	name         string
	policy, unit string // "" if not given
}

func (p *posted) reset() {
	clear(p.resources)
	clear(p.named)
	p.ids, p.resources, p.named = p.ids[:0], p.resources[:0], p.named[:0]
	p.ends, p.points = p.ends[:0], p.points[:0]
	p.text, p.hold, p.held, p.full = 0, nil, 0, nil
}

// end ends the metric whose points were added last. It reports whether there is room for
// more.
func (p *posted) end() bool {
	p.ends = append(p.ends, len(p.points))
	return p.room()
}

// room reports whether there is room for more.
func (p *posted) room() bool {
	if p.full != nil {
		return false
	}
	series := max(len(p.ends), len(p.resources))
	switch need := int64(series)*seriesSize + int64(len(p.points))*pointSize + int64(p.text); {
	case series > maxSeries:
		p.full = tooMuch(fmt.Sprintf("The body has more than %d metrics or resources", maxSeries))
	case len(p.points) > maxPoints:
		p.full = tooMuch(fmt.Sprintf("The body has more than %d points", maxPoints))
	case need > p.held && p.hold != nil:
		more := max(need-p.held, 64<<10)
		p.full = p.hold(more)
		p.held += more
	}
	return p.full == nil
}

// A bodyShape is what a body with measures looks like.
type bodyShape uint8

const (
	// measureList is [{"timestamp": T, "value": V}, ...].
	measureList bodyShape = iota
	// measuresByID is {ID: LIST, ...}.
	measuresByID
	// measuresByName is {RESOURCE: {NAME: LIST, ...}, ...}; instead of a list there may be
	// {"archive_policy_name": P, "unit": U, "measures": LIST}, of which the last is required.
	measuresByName
)
