package aggregator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/definitions"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
)

// shelf is an index in memory that writes down what it is asked, and fails when it is
// told to.
type shelf struct {
	policies  map[string]*policy.Policy
	resources map[uuid.UUID]*index.Resource
	metrics   map[index.Name]*index.Entry
	changes   uint64
	removals  uint64
	revisions int // changes of attributes

	ensures, lookups int   // calls
	err              error // of the next call
}

func newShelf(policies ...*policy.Policy) *shelf {
	s := &shelf{policies: map[string]*policy.Policy{}, resources: map[uuid.UUID]*index.Resource{}, metrics: map[index.Name]*index.Entry{}}
	for _, p := range policies {
		s.policies[p.Name] = p
	}
	return s
}

func (s *shelf) fail() error {
	err := s.err
	s.err = nil
	return err
}

func (s *shelf) Removals() uint64 { return s.removals }

func (s *shelf) Lookup(_ context.Context, ids []uuid.UUID, into []*index.Entry) ([]*index.Entry, error) {
	s.lookups++
	if err := s.fail(); err != nil {
		return nil, err
	}
	byID := map[uuid.UUID]*index.Entry{}
	for _, e := range s.metrics {
		byID[e.ID] = e
	}
	for _, id := range ids {
		into = append(into, byID[id])
	}
	return into, nil
}

func (s *shelf) EnsureResources(_ context.Context, wanted []index.Wanted) ([]index.Ensured, error) {
	s.ensures++
	if err := s.fail(); err != nil {
		return nil, err
	}
	list := make([]index.Ensured, len(wanted))
	for i, w := range wanted {
		list[i] = s.ensure(w)
	}
	return list, nil
}

func (s *shelf) ensure(w index.Wanted) (e index.Ensured) {
	var errs []error
	e.Entries = make([]*index.Entry, len(w.Metrics))
	r := s.resources[w.Resource.ID]
	switch {
	case w.Resource.Attributes["host"] == "invalid":
		e.Err = &index.InvalidError{Reason: "attribute host is wrong"}
		return e
	case r == nil:
		made := w.Resource
		made.Attributes = maps.Clone(made.Attributes)
		r = &made
		s.resources[r.ID] = r
		e.Created = true
		s.changes++
	case r.Type != w.Resource.Type && r.Type != definitions.Generic && w.Resource.Type != definitions.Generic:
		errs = append(errs, &index.InvalidError{Reason: fmt.Sprintf("resource %s is of the type %s", r.Original, r.Type)})
	default:
		if r.Type != w.Resource.Type && r.Type == definitions.Generic {
			r.Type, e.Changed = w.Resource.Type, true
		}
		for k, v := range w.Resource.Attributes {
			if v != nil && r.Attributes[k] != v {
				if r.Attributes == nil {
					r.Attributes = map[string]any{}
				}
				r.Attributes[k], e.Changed = v, true
			}
		}
		for _, c := range []struct{ is, to **string }{{&r.Project, &w.Resource.Project}, {&r.User, &w.Resource.User}} {
			if *c.to != nil && (*c.is == nil || **c.is != **c.to) {
				*c.is, e.Changed = *c.to, true
			}
		}
		if e.Changed {
			s.changes++
			s.revisions++
		}
	}
	for i, m := range w.Metrics {
		name := index.Name{Resource: r.ID, Metric: m.Name}
		if s.metrics[name] == nil {
			p := s.policies[m.Policy]
			if p == nil {
				errs = append(errs, &index.NotFoundError{Kind: index.KindPolicy, Name: m.Policy})
				continue
			}
			s.changes++
			s.metrics[name] = &index.Entry{ID: uuid.New(), Ref: engine.Ref(s.changes), PolicyID: p.ID}
		}
		e.Entries[i] = s.metrics[name]
	}
	e.Err = errors.Join(errs...)
	return e
}

// remove deletes a resource as somebody does by hand, with its metrics.
func (s *shelf) remove(id uuid.UUID) {
	s.removals++
	delete(s.resources, id)
	maps.DeleteFunc(s.metrics, func(n index.Name, _ *index.Entry) bool { return n.Resource == id })
}

func (s *shelf) ResourcesByID(_ context.Context, ids []uuid.UUID) (map[uuid.UUID]*index.Resource, error) {
	found := map[uuid.UUID]*index.Resource{}
	for _, id := range ids {
		if r := s.resources[id]; r != nil {
			found[id] = r
		}
	}
	return found, s.fail()
}

// Resources gives a page of those of a type that have not ended; what the filter says
// otherwise is tested with the real index.
func (s *shelf) Resources(_ context.Context, q index.ResourceQuery) ([]*index.Resource, error) {
	var list []*index.Resource
	for _, r := range s.resources {
		if r.Type == q.Type && r.Ended == nil {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *index.Resource) int { return slices.Compare(a.ID[:], b.ID[:]) })
	list = slices.DeleteFunc(list, func(r *index.Resource) bool { return r.ID.String() <= q.Page.Marker })
	return list[:min(len(list), q.Page.Limit)], s.fail()
}

func (s *shelf) ChangeResource(_ context.Context, _ string, id uuid.UUID, c index.Change) (*index.Resource, error) {
	if err := s.fail(); err != nil {
		return nil, err
	}
	r := s.resources[id]
	if r == nil {
		return nil, &index.NotFoundError{Kind: index.KindResource, Name: id.String()}
	}
	s.changes++
	r.Ended = *c.Ended
	return r, nil
}
