package api

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
)

// ensure makes what is missing of resources and their metrics, for those who write
// without having made them, and gives the metrics. Resources that exist have to be
// of the type, and of the one who asks. Metrics that could not be made are missing, and
// the faults of their resources say why; the error is for failures that undid all.
func (d *dataPlane) ensure(ctx context.Context, wanted []*index.Wanted) (made map[index.Name]*index.Entry, faults map[uuid.UUID]error, err error) {
	ids := make([]uuid.UUID, len(wanted))
	for i, want := range wanted {
		ids[i] = want.Resource.ID
	}
	known, err := d.o.Index.ResourcesByID(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	who := auth.From(ctx)
	made, faults = map[index.Name]*index.Entry{}, map[uuid.UUID]error{}
	var list []index.Wanted
	for _, want := range wanted {
		switch resource := known[want.Resource.ID]; {
		case resource != nil && resource.Type != want.Resource.Type:
			faults[resource.ID] = conflict(Cause{Cause: "Resource already exists", Detail: resource.ID.String()})
		case resource != nil && !owns(who, resource.Creator):
			faults[resource.ID] = forbidden()
		default:
			list = append(list, *want)
		}
	}
	ensured, err := d.o.Index.EnsureResources(ctx, list)
	if err != nil {
		return nil, nil, err
	}
	for i, e := range ensured {
		id := list[i].Resource.ID
		if e.Err != nil {
			faults[id] = errors.Join(faults[id], e.Err)
		}
		for k, entry := range e.Entries {
			if entry != nil {
				made[index.Name{Resource: id, Metric: list[i].Metrics[k].Name}] = entry
			}
		}
	}
	return made, faults, nil
}

// leaveOut takes metrics without an entry out of a request, and their points, of which it
// gives the number.
func (in *intake) leaveOut() (points int) {
	p := &in.posted
	kept, from, to := 0, 0, 0 // points from, before, and to, after
	for i, entry := range in.entries {
		end := p.ends[i]
		if entry == nil {
			points += end - from
		} else {
			to += copy(p.points[to:], p.points[from:end])
			in.entries[kept], p.ends[kept] = entry, to
			if i < len(p.named) {
				p.named[kept] = p.named[i]
			}
			kept++
		}
		from = end
	}
	in.entries, p.ends, p.points = in.entries[:kept], p.ends[:kept], p.points[:to]
	p.named = p.named[:min(kept, len(p.named))]
	return points
}
