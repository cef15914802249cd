package index

import (
	"context"
	"encoding/json"
	"errors"
	"io"
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
	// CacheSize is the most metrics that are kept in memory for [Index.Lookup],
	// and once more for [Index.LookupNames]; 0 is a million.
	CacheSize int
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

// ResourcesByID gives resources of any type with the attributes of their types, without their metrics. Unknown ones are not in the map.
func (x *Index) ResourcesByID(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*Resource, error) {
	return nil, errNotYet
}

// Wanted is a resource as it should be, and the metrics that it should have.
type Wanted struct {
	// Resource has ID, Original, Type and Creator. User, Project, Ended and those
	// attributes that are nil stay as they are. Started is for a new one; the zero
	// time is now.
	Resource Resource
	// Metrics have Name, and for new ones Unit, Policy ("" by rule) and Labels;
	// their creator is the resource's.
	Metrics []NewMetric
}

// Ensured is what became of a [Wanted].
type Ensured struct {
	Entries          []*Entry // in the order of the wanted metrics; nil for one that could not be made
	Created, Changed bool     // the resource
	// Err says what could not be done: an attribute is not of its type (nothing of
	// this resource is done then), the resource is of another type (its metrics are
	// made nevertheless), a metric's policy is unknown (other metrics are made). It
	// joins several.
	Err error
}

// EnsureResources creates what is missing of resources and their metrics and
// changes what differs, in one transaction; without a transaction when nothing is
// missing and nothing differs. What is wrong with one resource stays with it; the
// error is for failures that undid all.
func (x *Index) EnsureResources(ctx context.Context, wanted []Wanted) ([]Ensured, error) {
	return nil, errNotYet
}

// EnsureMetrics creates those of the named metrics of existing resources that are missing, in one transaction that is
// done whole or not at all, and gives the entries of all in their order. Metrics that exist stay as they are.
// An unknown resource is a [*NotFoundError].
func (x *Index) EnsureMetrics(ctx context.Context, m []NewMetric) ([]*Entry, error) {
	return nil, errNotYet
}

// Metrics.
func (x *Index) CreateMetrics(ctx context.Context, m []NewMetric) ([]*Metric, error) {
	return nil, errNotYet
}
func (x *Index) Metric(ctx context.Context, id uuid.UUID) (*Metric, error)     { return nil, errNotYet }
func (x *Index) Metrics(ctx context.Context, q MetricQuery) ([]*Metric, error) { return nil, errNotYet }
func (x *Index) ResourceMetrics(ctx context.Context, resources []uuid.UUID, names ...string) (map[uuid.UUID][]*Metric, error) {
	return nil, errNotYet
}
func (x *Index) DeleteMetric(ctx context.Context, id uuid.UUID) error { return errNotYet } // marks and detaches
func (x *Index) Purge(ctx context.Context, before time.Time, limit int) ([]engine.Ref, error) {
	return nil, errNotYet
}                                                                             // removes marked metrics for good, and gives their refs
func (x *Index) Alive(ctx context.Context, refs []engine.Ref) ([]bool, error) { return nil, errNotYet }

// Entry is what the hot path needs of a metric, from memory.
type Entry struct {
	ID       uuid.UUID
	Ref      engine.Ref
	PolicyID uint32
	// Creator and Project (the resource's project; "" for none) say who may write.
	Creator, Project string
}

// Lookup finds metrics by id: those in memory cost a map access, others one query for all. Unknown (or deleted) ones have a nil entry.
func (x *Index) Lookup(ctx context.Context, ids []uuid.UUID, into []*Entry) ([]*Entry, error) {
	return nil, errNotYet
}

// LookupRefs is Lookup by the engine's numbers: the change feed tells of these.
func (x *Index) LookupRefs(ctx context.Context, refs []engine.Ref, into []*Entry) ([]*Entry, error) {
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

// LabelNames lists names of labels, ascending, after the given one, of metrics that satisfy the matchers (nil: of all).
func (x *Index) LabelNames(ctx context.Context, m []Matcher, s Scope, after string, limit int) ([]string, error) {
	return nil, errNotYet
}

// LabelValues lists the values of a label in the same way.
func (x *Index) LabelValues(ctx context.Context, name string, m []Matcher, s Scope, after string, limit int) ([]string, error) {
	return nil, errNotYet
}

// MetricNames lists the different names of metrics without labels that belong to resources, ascending, after the given one.
func (x *Index) MetricNames(ctx context.Context, s Scope, after string, limit int) ([]string, error) {
	return nil, errNotYet
}

// Changes counts the changes since the index was opened: when it stands still, the last [Index.Snapshot] is the index.
func (x *Index) Changes() uint64 { return 0 }

// ErrNoSnapshot says that the index is in PostgreSQL, which has backups of its own.
var ErrNoSnapshot = errors.New("an index in PostgreSQL gives no snapshots")

// Snapshot writes a consistent copy of a SQLite index, which is a SQLite file.
func (x *Index) Snapshot(ctx context.Context, w io.Writer) error { return errNotYet }

// Reserve makes sure that no new metric gets a ref up to the given one. After a
// snapshot was restored, call it with the highest ref that the engine knows.
func (x *Index) Reserve(ctx context.Context, highest engine.Ref) error { return errNotYet }

// Parse helpers of values by attribute type: Parse of JSON, Value of anything that JSON or a sample's metadata gives.
func (a Attribute) Value(v any) (any, error)             { return nil, errNotYet }
func (a Attribute) Parse(v json.RawMessage) (any, error) { return nil, errNotYet }

var _ search.Node
