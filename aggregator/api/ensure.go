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
// of the type, and of the one who asks. Metrics that could not be made are missing,
// and the error says why.
func (d *dataPlane) ensure(ctx context.Context, wanted []*index.Wanted) (map[index.Name]*index.Entry, error) {
	list := make([]index.Wanted, len(wanted))
	ids := make([]uuid.UUID, len(wanted))
	for i, want := range wanted {
		list[i], ids[i] = *want, want.Resource.ID
	}
	known, err := d.o.Index.ResourcesByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	who := auth.From(ctx)
	for _, want := range list {
		switch resource := known[want.Resource.ID]; {
		case resource == nil:
		case resource.Type != want.Resource.Type:
			return nil, conflict(Cause{Cause: "Resource already exists", Detail: resource.ID.String()})
		case !owns(who, resource.Creator):
			return nil, forbidden()
		}
	}
	ensured, err := d.o.Index.EnsureResources(ctx, list)
	if err != nil {
		return nil, err
	}
	made := map[index.Name]*index.Entry{}
	var faults []error
	for i, e := range ensured {
		if e.Err != nil {
			faults = append(faults, e.Err)
		}
		for k, entry := range e.Entries {
			if entry != nil {
				made[index.Name{Resource: ids[i], Metric: list[i].Metrics[k].Name}] = entry
			}
		}
	}
	return made, errors.Join(faults...)
}
