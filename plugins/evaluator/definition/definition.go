// Package definition holds what an alarm is: its definition with one of several
// kinds of rules, and its status. It reads definitions from JSON as Aodh's clients
// send them and from TOML, checks them, fills in defaults, and writes them as Aodh
// answers them.
package definition

import (
	"time"

	"github.com/google/uuid"
)

// State is what an alarm is in.
type State uint8

// States. Their texts are Aodh's: "insufficient data", "ok", "alarm".
const (
	InsufficientData State = iota
	OK
	Alerting
)

// Severity is how bad it is if an alarm is in state alarm.
type Severity uint8

// Severities. Their texts are Aodh's: "low", "moderate", "critical".
const (
	Low Severity = iota
	Moderate
	Critical
)

// Alarm is what users define. What evaluation finds is its [Status].
type Alarm struct {
	ID                uuid.UUID
	Name, Description string
	Rule              Rule
	Enabled           bool
	Severity          Severity
	// Actions are URLs by the state that they are for, as they are stored: with trust ids.
	Actions [3][]string
	// Repeat does the actions of a state again at each evaluation interval.
	Repeat bool
	// Constraints limit when the alarm is looked at; none: always.
	Constraints []Constraint
	// Project and User own the alarm.
	Project, User string
	// Admin: made by an administrator, so that its rule may read series of all projects.
	Admin bool
	// Origin names the file that the alarm comes from; the API can't change it then.
	// Empty: it was made by the API.
	Origin string
	// Changed is when the definition was last written.
	Changed time.Time
	// Version is raised by every change of the definition.
	Version int64
}

// Status is what evaluation found, or a user set.
type Status struct {
	State  State
	Reason string
	// Since is when State was entered, Evaluated when the alarm was last looked at and that was
	// stored; zero: never.
	Since, Evaluated time.Time
	// Version is raised by every change of the status.
	Version int64
}

// Reasons of states that no rule found.
const (
	NotEvaluated = "Not evaluated yet"
	ManuallySet  = "Manually set via API"
)

// Constraint is a stretch of time that recurs, in which an alarm is looked at.
type Constraint struct {
	Name, Description string
	// Start is when it begins, as cron has it: "0 23 * * *".
	Start string
	// Duration is how long it lasts.
	Duration time.Duration
	// Timezone is a name of the IANA database; empty: UTC.
	Timezone string
}

// Rule says what brings an alarm into which state. It is one of the types of this
// package: [*ResourceThreshold], [*MetricsThreshold], [*ResourcesThreshold], [*Operations],
// [*Prometheus], [*Composite], [*Event], [*Absence].
type Rule interface {
	// Type is the text of the attribute "type"; the rule is in the attribute of that name and "_rule".
	Type() string
}

// Comparison is how a value is compared with a threshold: "lt", "le", "eq", "ne",
// "ge", "gt".
type Comparison string

// Threshold is what rules about windows of data have in common.
type Threshold struct {
	Threshold  float64
	Comparison Comparison // default eq
	// Method is the aggregation method of the windows, such as mean or rate:mean.
	Method string
	// Periods is how many windows are judged, Granularity their length.
	Periods     int
	Granularity time.Duration
}

// ResourceThreshold (gnocchi_resources_threshold) judges one metric of one resource.
type ResourceThreshold struct {
	Threshold
	Metric, Resource, ResourceType string
}

// MetricsThreshold (gnocchi_aggregation_by_metrics_threshold) judges the aggregate
// across metrics.
type MetricsThreshold struct {
	Threshold
	Metrics []string
}

// ResourcesThreshold (gnocchi_aggregation_by_resources_threshold) judges the aggregate
// across a metric of all resources that a search finds.
type ResourcesThreshold struct {
	Threshold
	Metric, ResourceType string
	// Query is JSON in Gnocchi's search language.
	Query string
}

// Operations (operations_threshold, Nepho's own) judges what an expression in Gnocchi's language of
// operations makes of metrics: rates, ratios, sums.
type Operations struct {
	Threshold // without Method
	// Operations such as (* 100 (/ (metric used mean) (metric size mean))).
	Operations string
	// ResourceType and Query choose the resources whose metrics are named; without them
	// metrics are named by id.
	ResourceType, Query string
}

// Prometheus (prometheus) judges what a PromQL expression gives now.
type Prometheus struct {
	Query      string
	Threshold  float64
	Comparison Comparison
}

// Composite (composite) joins threshold rules by "and" and "or".
type Composite struct {
	Root Node
}

// Node is a part of a composite rule: either Rule is set, or And tells how Nodes are
// joined.
type Node struct {
	Rule  Rule
	And   bool
	Nodes []Node
}

// Event (event) waits for an event.
type Event struct {
	// EventType is a pattern of the shell: * and ?.
	EventType string
	Query     []Condition
}

// Condition compares a field of an event, such as traits.instance_id, with a value.
type Condition struct {
	Field string
	Op    Comparison
	// Type is "string", "integer", "float", "boolean", or empty: the text of a literal.
	Type, Value string
}

// Absence (absence, Nepho's own) is in state alarm when what is expected did not come for a
// time: points of a metric, or an event.
type Absence struct {
	// Metric and Resource name the series, or Event what is expected.
	Metric, Resource, ResourceType string
	Event                          *Event
	// Period is how long nothing may come.
	Period time.Duration
}
