package index

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/search"
)

// Index is an open index. Its methods may be called concurrently.
type Index struct{}

var errNotYet = errors.New("not written yet")

// Options of [Open].
type Options struct {
	// URL is postgres://..., or the path of a SQLite file, which is made.
	URL string
	// DefaultPolicies makes low, medium, high and bool and the rule "default" when
	// there is no policy and no rule.
	DefaultPolicies bool
}

func Open(ctx context.Context, o Options) (*Index, error) { return nil, errNotYet }
func (x *Index) Close() error                             { return errNotYet }

// Policies and rules. OnPolicy is called for each policy that was created or changed, before it can be used, so that the engine knows it.
func (x *Index) OnPolicy(f func(*policy.Policy))                          {}
func (x *Index) CreatePolicy(ctx context.Context, p *policy.Policy) error { return errNotYet }
func (x *Index) Policies(ctx context.Context) ([]*policy.Policy, error)   { return nil, errNotYet }
func (x *Index) Policy(ctx context.Context, name string) (*policy.Policy, error) {
	return nil, errNotYet
}
func (x *Index) PolicyByID(id uint32) (*policy.Policy, bool) { return nil, false }
func (x *Index) SetDefinitions(ctx context.Context, name string, d []policy.Definition) (*policy.Policy, error) {
	return nil, errNotYet
}
func (x *Index) DeletePolicy(ctx context.Context, name string) error { return errNotYet }
func (x *Index) CreateRule(ctx context.Context, r Rule) error        { return errNotYet }
func (x *Index) Rules(ctx context.Context) ([]Rule, error)           { return nil, errNotYet } // by pattern descending, then name
func (x *Index) Rule(ctx context.Context, name string) (Rule, error) { return Rule{}, errNotYet }
func (x *Index) RenameRule(ctx context.Context, name, to string) (Rule, error) {
	return Rule{}, errNotYet
}
func (x *Index) DeleteRule(ctx context.Context, name string) error { return errNotYet }

// Resource types. A change adds and removes attributes in one step; fill gives existing resources a value.
func (x *Index) CreateType(ctx context.Context, t ResourceType) error { return errNotYet }
func (x *Index) Types(ctx context.Context) ([]ResourceType, error)    { return nil, errNotYet }
func (x *Index) Type(ctx context.Context, name string) (ResourceType, error) {
	return ResourceType{}, errNotYet
}
func (x *Index) ChangeType(ctx context.Context, name string, add map[string]Attribute, fill map[string]any, remove []string) (ResourceType, error) {
	return ResourceType{}, errNotYet
}
func (x *Index) DeleteType(ctx context.Context, name string) error { return errNotYet }

// Resources. CreateResource creates the resource, attaches metrics that exist (same creator) and creates others, in one transaction.
func (x *Index) CreateResource(ctx context.Context, r *Resource, attach map[string]uuid.UUID, create []NewMetric) (*Resource, error) {
	return nil, errNotYet
}
func (x *Index) Resource(ctx context.Context, typ string, id uuid.UUID) (*Resource, error) {
	return nil, errNotYet
}

// Change of a resource: nil fields stay. A changed attribute makes a new revision; metrics alone do not.
type Change struct {
	User, Project  **string
	Started        *time.Time
	Ended          **time.Time
	Attributes     map[string]any // these are set, others stay
	ReplaceMetrics bool           // metrics that are neither attached nor created are detached
	Attach         map[string]uuid.UUID
	Create         []NewMetric
}

func (x *Index) ChangeResource(ctx context.Context, typ string, id uuid.UUID, c Change) (*Resource, error) {
	return nil, errNotYet
}
func (x *Index) DeleteResource(ctx context.Context, typ string, id uuid.UUID) error { return errNotYet }
func (x *Index) DeleteResources(ctx context.Context, q ResourceQuery) (int, error) {
	return 0, errNotYet
}

// Resources lists resources; with History all their revisions.
func (x *Index) Resources(ctx context.Context, q ResourceQuery) ([]*Resource, error) {
	return nil, errNotYet
}

// History lists the revisions of one resource, oldest first unless the page sorts them otherwise.
func (x *Index) History(ctx context.Context, typ string, id uuid.UUID, p Page) ([]*Resource, error) {
	return nil, errNotYet
}

// Metrics.
func (x *Index) CreateMetrics(ctx context.Context, m []NewMetric) ([]*Metric, error) {
	return nil, errNotYet
}
func (x *Index) Metric(ctx context.Context, id uuid.UUID) (*Metric, error)     { return nil, errNotYet }
func (x *Index) Metrics(ctx context.Context, q MetricQuery) ([]*Metric, error) { return nil, errNotYet }
func (x *Index) ResourceMetrics(ctx context.Context, resources []uuid.UUID) (map[uuid.UUID][]*Metric, error) {
	return nil, errNotYet
}
func (x *Index) DeleteMetric(ctx context.Context, id uuid.UUID) error { return errNotYet } // marks and detaches
func (x *Index) Purge(ctx context.Context, before time.Time, limit int) ([]engine.Ref, error) {
	return nil, errNotYet
}                                                                             // removes marked metrics for good, and gives their refs
func (x *Index) Alive(ctx context.Context, refs []engine.Ref) ([]bool, error) { return nil, errNotYet }

// Entry is what the hot path needs of a metric, from memory.
type Entry struct {
	Ref      engine.Ref
	PolicyID uint32
	// Creator and Project (the resource's project; "" for none) say who may write.
	Creator, Project string
}

// Lookup finds metrics by id: those in memory cost a map access, others one query for all. Unknown (or deleted) ones have a nil entry.
func (x *Index) Lookup(ctx context.Context, ids []uuid.UUID, into []*Entry) ([]*Entry, error) {
	return nil, errNotYet
}

// Cached is Lookup of one metric in memory only. It does not allocate.
func (x *Index) Cached(id uuid.UUID) (*Entry, bool) { return nil, false }

// Name is a metric by its resource.
type Name struct {
	Resource uuid.UUID
	Metric   string
}

// LookupNames is Lookup by resource and name.
func (x *Index) LookupNames(ctx context.Context, names []Name, into []*Entry) ([]*Entry, error) {
	return nil, errNotYet
}

// Label matching, for Prometheus: metrics with labels that satisfy all matchers.
type Matcher struct {
	Name, Value string
	Not, Regexp bool
}

func (x *Index) Labelled(ctx context.Context, m []Matcher, s Scope, limit int) ([]*Metric, error) {
	return nil, errNotYet
}

// Parse helpers of values by attribute type.
func (a Attribute) Parse(v json.RawMessage) (any, error) { return nil, errNotYet }

var _ search.Node
