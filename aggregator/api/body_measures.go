package api

import (
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
}

// end ends the metric whose points were added last.
func (p *posted) end() { p.ends = append(p.ends, len(p.points)) }

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
