package aggregator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nephoscope/nepho/aggregator/definitions"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/search"
	"github.com/nephoscope/nepho/sdk"

	"github.com/google/uuid"
)

// events applies what a batch's events do to resources. The store keeps no events.
func (in *intake) events(ctx context.Context, b *sdk.Batch) error {
	for e := range b.Events() {
		if !in.known.d.ActsOn(b.EventType(e)) {
			continue
		}
		event := b.Event(e)
		wrong := func(what string, err error) { in.tell.event(event.EventType, what, err) }
		for _, a := range in.known.d.Actions(&event, wrong) {
			err := in.apply(ctx, a)
			var invalid *index.InvalidError
			switch {
			case errors.As(err, &invalid):
				in.refuse(b.Len()+e, err)
			case err != nil:
				return fmt.Errorf("cannot apply event %s: %w", event.EventType, err)
			}
		}
	}
	return nil
}

// apply does what an event does to a resource. Done again it changes nothing.
func (in *intake) apply(ctx context.Context, a definitions.Action) error {
	id, err := index.ResourceID(a.Resource, in.creator)
	if err != nil {
		return err
	}
	found, err := in.x.ResourcesByID(ctx, []uuid.UUID{id})
	if err != nil {
		return err
	}
	r := found[id]
	switch {
	case a.Kind == definitions.End:
		return in.end(ctx, r, a)
	case a.Kind == definitions.Update && r == nil:
		return nil // nothing is known of it, so there is nothing to change
	}
	w := index.Wanted{Resource: index.Resource{
		ID: id, Original: a.Resource, Type: a.Type.Name, Creator: in.creator, Started: a.Time, Attributes: a.Attributes,
		Project: optional(a.Project), User: optional(a.User),
	}}
	ensured, err := in.x.EnsureResources(ctx, []index.Wanted{w})
	in.known.change(id) // also if it is not sure that it did not
	if err != nil {
		return err
	}
	if e := ensured[0].Err; e != nil {
		return &index.InvalidError{Reason: e.Error()}
	}
	return nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// end notes that a resource and what belongs to it have ended.
func (in *intake) end(ctx context.Context, r *index.Resource, a definitions.Action) error {
	if r != nil {
		if err := in.endOne(ctx, r, a.Time); err != nil {
			return err
		}
	}
	for typ, attribute := range a.Ends {
		if err := in.endAll(ctx, typ, attribute, a); err != nil {
			return err
		}
	}
	return nil
}

// endAll ends the resources of a type that have not ended, and an attribute of which is
// what an action is about.
func (in *intake) endAll(ctx context.Context, typ, attribute string, a definitions.Action) error {
	q := index.ResourceQuery{
		Type: typ, WithoutMetrics: true, Page: index.Page{Limit: rows},
		Filter: search.And{
			search.Compare{Operator: search.Equal, Attribute: attribute, Value: a.Resource},
			search.Compare{Operator: search.Equal, Attribute: "ended_at", Value: nil},
		},
	}
	for {
		list, err := in.x.Resources(ctx, q)
		var invalid *index.InvalidError
		if errors.As(err, &invalid) || errors.As(err, new(*index.NotFoundError)) {
			return nil // an id that is no UUID is that of no instance
		}
		if err != nil {
			return err
		}
		for _, r := range list {
			if err := in.endOne(ctx, r, a.Time); err != nil {
				return err
			}
		}
		if len(list) < rows {
			return nil
		}
		q.Page.Marker = list[len(list)-1].ID.String()
	}
}

func (in *intake) endOne(ctx context.Context, r *index.Resource, at time.Time) error {
	if r.Ended != nil {
		return nil
	}
	if at.Before(r.Started) {
		at = r.Started
	}
	ended := &at
	_, err := in.x.ChangeResource(ctx, r.Type, r.ID, index.Change{Ended: &ended})
	if errors.As(err, new(*index.NotFoundError)) {
		return nil // somebody deleted it
	}
	return err
}
