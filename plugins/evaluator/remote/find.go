package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/nephoscope/nepho/aggregator/definitions"
	"github.com/nephoscope/nepho/aggregator/search"
	"github.com/nephoscope/nepho/sdk"
)

const (
	// page is how many resources one answer has.
	page = 1000
	// named is how many resources one search names.
	named = 100
)

// resource is one in Gnocchi's words.
type resource struct {
	ID       string               `json:"id"`
	Original string               `json:"original_resource_id"`
	Type     string               `json:"type"`
	Creator  string               `json:"creator"`
	Project  string               `json:"project_id"`
	Metrics  map[string]uuid.UUID `json:"metrics"`
}

func (g *Gnocchi) series(r *resource, meter string, id uuid.UUID) sdk.Series {
	s := sdk.Series{Number: g.numbers.of(id), ID: id.String(), Meter: meter, Resource: r.Original, ResourceType: r.Type, Project: r.Project, Creator: r.Creator}
	if s.Resource == "" {
		s.Resource = r.ID
	}
	return s
}

// FindSeries implements sdk.SeriesReader. By Names and Search the creator of a series is
// that of its resource, and there is no unit: Gnocchi says neither there.
func (g *Gnocchi) FindSeries(ctx context.Context, q sdk.SeriesQuery) ([]sdk.FoundSeries, error) {
	switch {
	case q.Search != nil:
		return g.search(ctx, &q.Scope, q.Search)
	case len(q.Names) > 0:
		return g.names(ctx, &q.Scope, q.Names)
	}
	series, err := g.describe(ctx, q.IDs)
	var list []sdk.FoundSeries
	for i, s := range series {
		if s != nil && sees(&q.Scope, s.Creator, s.Project) {
			list = append(list, sdk.FoundSeries{Series: *s, Position: i})
		}
	}
	return list, err
}

// describe gives what there is of metrics by their ids; nil where there is nothing.
func (g *Gnocchi) describe(ctx context.Context, ids []string) ([]*sdk.Series, error) {
	list := make([]*sdk.Series, len(ids))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(connections)
	for i, text := range ids {
		id, err := uuid.Parse(text)
		if err != nil {
			continue
		}
		work.Go(func() (err error) {
			list[i], err = g.metric(ctx, id)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	return list, nil
}

// metric describes one; nil if there is none, or nobody may see it.
func (g *Gnocchi) metric(ctx context.Context, id uuid.UUID) (*sdk.Series, error) {
	var m struct {
		Name, Unit, Creator string
		Resource            resource
	}
	_, err := g.json(ctx, request{method: http.MethodGet, path: "/v1/metric/" + id.String()}, &m)
	var f *failure
	if errors.As(err, &f) && (f.status == http.StatusNotFound || f.status == http.StatusForbidden) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := g.series(&m.Resource, m.Name, id)
	s.Unit, s.Creator = m.Unit, m.Creator
	g.seen.put(id, s)
	return &s, nil
}

// names finds metrics by resource and name.
func (g *Gnocchi) names(ctx context.Context, scope *sdk.Scope, wanted []sdk.SeriesName) ([]sdk.FoundSeries, error) {
	positions := map[string][]int{} // by the id of the resource, in either form
	var texts []any
	for i, n := range wanted {
		if n.Resource == "" {
			continue
		}
		text := definitions.ResourceID(n.Resource)
		if positions[text] == nil {
			texts = append(texts, text)
		}
		positions[text] = append(positions[text], i)
	}
	var mu sync.Mutex
	var list []sdk.FoundSeries
	take := func(r *resource) {
		if !sees(scope, r.Creator, r.Project) {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		places := positions[r.Original]
		if r.ID != r.Original {
			places = slices.Concat(places, positions[r.ID])
		}
		for _, i := range places {
			name := definitions.MetricName(wanted[i].Meter)
			if id, ok := r.Metrics[name]; ok {
				list = append(list, sdk.FoundSeries{Series: g.series(r, name, id), Position: i})
			}
		}
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(connections)
	for chunk := range slices.Chunk(texts, named) {
		work.Go(func() error {
			filter := search.Or{search.In{Attribute: "original_resource_id", Values: chunk}}
			var ids []any
			for _, text := range chunk {
				if id, err := uuid.Parse(text.(string)); err == nil && id.String() == text {
					ids = append(ids, text)
				}
			}
			if len(ids) > 0 {
				filter = append(filter, search.In{Attribute: "id", Values: ids})
			}
			return g.resources(ctx, definitions.Generic, filter, func(r *resource) error { take(r); return nil })
		})
	}
	if err := work.Wait(); err != nil {
		return nil, refuse(err)
	}
	slices.SortFunc(list, func(a, b sdk.FoundSeries) int {
		if a.Position != b.Position {
			return a.Position - b.Position
		}
		return strings.Compare(a.ID, b.ID)
	})
	return slices.CompactFunc(list, func(a, b sdk.FoundSeries) bool { return a.Position == b.Position && a.ID == b.ID }), nil
}

// search finds metrics of resources that a search finds among those that a scope has.
func (g *Gnocchi) search(ctx context.Context, scope *sdk.Scope, by *sdk.ResourceSearch) ([]sdk.FoundSeries, error) {
	filter, err := scoped(scope, by.Filter)
	if err != nil {
		return nil, sdk.Refuse(err)
	}
	var meters map[string]bool
	for _, m := range by.Meters {
		if meters == nil {
			meters = map[string]bool{}
		}
		meters[definitions.MetricName(m)] = true
	}
	var list []sdk.FoundSeries
	err = g.resources(ctx, by.Type, filter, func(r *resource) error {
		for name, id := range r.Metrics {
			if meters == nil || meters[name] {
				list = append(list, sdk.FoundSeries{Series: g.series(r, name, id)})
			}
		}
		if len(list) > sdk.MaxSeries {
			return sdk.Refuse(fmt.Errorf("more than %d series are found: search for fewer", sdk.MaxSeries))
		}
		return nil
	})
	if err != nil {
		return nil, refuse(err)
	}
	return list, nil
}

// resources gives the resources of a type that a filter finds.
func (g *Gnocchi) resources(ctx context.Context, kind string, filter search.Node, take func(*resource) error) error {
	query := url.Values{"limit": {strconv.Itoa(page)}, "sort": {"id:asc"}}
	for {
		var part []resource
		h, err := g.post(ctx, "/v1/search/resource/"+url.PathEscape(kind), query, tree(filter), &part)
		if err != nil {
			return err
		}
		for i := range part {
			if err := take(&part[i]); err != nil {
				return err
			}
		}
		// The server may have given fewer than it was asked for.
		if len(part) == 0 || !strings.Contains(h.Get("Link"), `rel="next"`) {
			return nil
		}
		last := part[len(part)-1].ID
		if last == query.Get("marker") {
			return errors.New("the pages of a search in Gnocchi do not go on")
		}
		query.Set("marker", last)
	}
}

// scoped is a filter that finds only what a scope has. It is nil if that is all.
func scoped(scope *sdk.Scope, filter string) (search.Node, error) {
	var wanted search.Node
	var err error
	if text := strings.TrimSpace(filter); strings.HasPrefix(text, "{") {
		wanted, err = search.ParseJSON([]byte(text))
	} else if text != "" {
		wanted, err = search.Parse(text)
	}
	if err != nil {
		return nil, err
	}
	if scope.All {
		return wanted, nil
	}
	if scope.Project == "" {
		return nil, errors.New("a search needs a project, or the right to see everything")
	}
	own := search.Or{search.Compare{Operator: search.Equal, Attribute: "project_id", Value: scope.Project}, search.Compare{Operator: search.Equal, Attribute: "created_by_project_id", Value: scope.Project}}
	if wanted == nil {
		return own, nil
	}
	return search.And{own, wanted}, nil
}

// tree is a filter as Gnocchi's JSON. All filters are sent so: as text, one might mean
// another thing there than here, and escape its scope.
func tree(n search.Node) any {
	list := func(nodes []search.Node) []any {
		trees := make([]any, len(nodes))
		for i, n := range nodes {
			trees[i] = tree(n)
		}
		return trees
	}
	switch n := n.(type) {
	case search.Compare:
		return map[string]any{string(n.Operator): map[string]any{n.Attribute: n.Value}}
	case search.In:
		return map[string]any{"in": map[string]any{n.Attribute: n.Values}}
	case search.And:
		return map[string]any{"and": list(n)}
	case search.Or:
		return map[string]any{"or": list(n)}
	case search.Not:
		return map[string]any{"not": tree(n.Node)}
	}
	return map[string]any{} // everything
}

// descriptions remembers metrics for a while, so that expressions about the same ones do
// not ask who may see them each time.
type descriptions struct {
	mu    sync.Mutex
	since time.Time
	list  map[uuid.UUID]sdk.Series
}

const (
	// maxDescriptions is how many are remembered.
	maxDescriptions = 10_000
	// remembered is for how long at most.
	remembered = 5 * time.Minute
)

func (d *descriptions) put(id uuid.UUID, s sdk.Series) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire()
	if len(d.list) >= maxDescriptions {
		clear(d.list)
	}
	d.list[id] = s
}

func (d *descriptions) get(id uuid.UUID) (sdk.Series, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire()
	s, ok := d.list[id]
	return s, ok
}

func (d *descriptions) expire() {
	if now := time.Now(); d.list == nil || now.Sub(d.since) > remembered {
		d.list, d.since = map[uuid.UUID]sdk.Series{}, now
	}
}
