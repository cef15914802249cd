// Package index keeps what is known of metrics beside their points: archive
// policies and their rules, resource types with typed attributes, resources and
// their history, and metrics. It is SQL: SQLite in the aggregator's folder, or
// PostgreSQL, in one code path. What every write needs of a metric is held in
// memory as well.
package index

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/search"
)

// Kind is a kind of thing in the index, in Gnocchi's words.
type Kind string

// The kinds.
const (
	KindMetric       Kind = "Metric"
	KindResource     Kind = "Resource"
	KindResourceType Kind = "Resource type"
	KindPolicy       Kind = "Archive policy"
	KindRule         Kind = "Archive policy rule"
)

// NotFoundError says that there is no such thing. Its text is Gnocchi's.
type NotFoundError struct {
	Kind Kind
	Name string
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("%s %s does not exist", e.Kind, e.Name) }

// ExistsError says that there is such a thing already.
type ExistsError struct {
	Kind Kind
	Name string
}

func (e *ExistsError) Error() string { return fmt.Sprintf("%s %s already exists", e.Kind, e.Name) }

// InUseError says that a thing can't be deleted because others refer to it.
type InUseError struct {
	Kind Kind
	Name string
}

func (e *InUseError) Error() string { return fmt.Sprintf("%s %s is still in use", e.Kind, e.Name) }

// NoRuleError says that a metric was to be created without a policy, and that no
// rule matches its name.
type NoRuleError struct{ Metric string }

func (e *NoRuleError) Error() string {
	return "No archive policy name specified and no archive policy rule found matching the metric name " + e.Metric
}

// InvalidError says what is wrong with a value or a query; callers answer 400.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return e.Reason }

// ErrRevision says that a resource has another revision by now than the one that
// was to be changed.
var ErrRevision = errors.New("the resource has another revision by now")

// PageError says what is wrong with a [Page]: "Sort key supplied is invalid: x", or
// "Invalid marker: `x'". Callers answer 400.
type PageError struct{ Reason string }

func (e *PageError) Error() string { return e.Reason }

// NamedMetricError says that the resource has a metric of that name already.
type NamedMetricError struct{ Name string }

func (e *NamedMetricError) Error() string { return "Named metric " + e.Name + " already exists" }

// Rule says which policy new metrics get.
type Rule struct{ Name, Pattern, Policy string }

// Metric is a metric.
type Metric struct {
	ID       uuid.UUID
	Ref      engine.Ref
	Name     string // "" for none
	Unit     string
	Creator  string // "" for none
	Policy   string
	PolicyID uint32
	Resource uuid.UUID // uuid.Nil for none
	Created  time.Time
	Deleted  bool // marked, and gone from its resource; its data is purged later
	// Labels of a metric that came by Prometheus remote write; nil for others.
	Labels map[string]string
}

// AttributeType is the type of an attribute's values.
type AttributeType string

// The types of attributes.
const (
	String   AttributeType = "string"
	UUID     AttributeType = "uuid"
	Bool     AttributeType = "bool"
	Datetime AttributeType = "datetime"
	Number   AttributeType = "number"
)

// Attribute is an attribute of a resource type.
type Attribute struct {
	Type     AttributeType
	Required bool
	// MinLength and MaxLength limit strings.
	MinLength, MaxLength int
	// Min and Max limit numbers; nil for no limit.
	Min, Max *float64
}

// ResourceType is a kind of resource.
type ResourceType struct {
	Name       string
	Attributes map[string]Attribute
}

// Resource is a resource at one time of its life. Values of attributes are nil,
// string (also for UUIDs), bool, float64, or [time.Time].
type Resource struct {
	ID            uuid.UUID
	Original      string // as it was given
	Type          string
	Creator       string // "" for none
	User, Project *string
	Started       time.Time
	Ended         *time.Time
	RevisionStart time.Time
	RevisionEnd   *time.Time // nil for the current revision
	// Revision numbers revisions in lists of history; -1 is the current one.
	Revision   int64
	Attributes map[string]any
	// Metrics are names and ids.
	Metrics map[string]uuid.UUID
}

// SortKey is a part of an order, as Gnocchi's sort parameter has it.
type SortKey struct {
	Name string
	Desc bool
	// Nulls is first, last, or "" for the default: last when ascending.
	Nulls string
}

// Page is a part of a list.
type Page struct {
	Limit  int // at least 1
	Marker string
	Sort   []SortKey
}

// Scope limits lists to what a project may see; the zero value to nothing.
type Scope struct {
	// Project is the project of the one who asks, "" for no limit: it sees resources
	// of the project, those created by it, and metrics of both.
	Project string
}

// ResourceQuery says which resources are listed.
type ResourceQuery struct {
	Type    string // generic: all types
	Filter  search.Node
	History bool // all revisions
	Details bool // also attributes of the types, in a list of generic
	Scope   Scope
	Page    Page
	// WithoutMetrics leaves the metrics of the resources out, which costs less.
	WithoutMetrics bool
	// Asker makes ids in filters that are no UUIDs the ids of this creator's resources.
	Asker string
}

// MetricQuery says which metrics are listed. Zero values do not limit.
type MetricQuery struct {
	ID       uuid.UUID
	Name     *string
	Unit     *string
	Creator  *string
	Policy   string
	Resource uuid.UUID
	Deleted  bool // those, instead of the active ones
	Scope    Scope
	Page     Page
}

// NewMetric is a metric to be created.
type NewMetric struct {
	ID       uuid.UUID // uuid.Nil for a new one
	Name     string
	Unit     string
	Creator  string
	Policy   string // "" for that of the first rule that matches
	Resource uuid.UUID
	Labels   map[string]string
}

// namespace is that of ids of resources that are given as text that is no UUID. It is
// Gnocchi's, so that both give the same ids.
var namespace = uuid.MustParse("0a7a15ff-aa13-4ac2-897c-9bdf30ce175b")

// ResourceID is the id of a resource that a creator calls by the given text: the
// UUID that it is, or one made of it, as Gnocchi does.
func ResourceID(text, creator string) (uuid.UUID, error) {
	if id, err := uuid.Parse(text); err == nil {
		return id, nil
	}
	if len(text) > 255 {
		return uuid.Nil, &InvalidError{fmt.Sprintf("transformable resource id >255 max allowed characters for %s", text)}
	}
	return uuid.NewSHA1(namespace, []byte(text+"\x00"+creator)), nil
}
