package sdk

import (
	"context"
	"iter"
	"time"
)

// SeriesStorage is a [Storage] that gives each of its series a number, and can be
// asked by it. It is for alarms: tens of thousands of thresholds cost one question,
// and are looked at when there is something new.
type SeriesStorage interface {
	Storage
	SeriesReader
}

// SeriesReader is what a [SeriesStorage] can be asked. An alarm has it of
// [Host].Series, and its tests of anything that implements it.
//
// All methods may be called concurrently, and while Publish runs. They return when
// ctx ends. An error that is a [*Refused] says that the question itself is wrong and
// that it makes no sense to ask it again; one that is [errors.ErrUnsupported], that
// the storage, or the host, can't be asked this; any other, that it may go well later:
// a storage that is started again is one of them.
type SeriesReader interface {
	// FindSeries finds series. Those that are not there, or that the scope may not see,
	// are left out.
	FindSeries(ctx context.Context, q SeriesQuery) ([]FoundSeries, error)
	// Windows gives the windows of many series, whoever may see them: numbers come from
	// FindSeries. A series whose windows can't be given does not keep others from theirs.
	Windows(ctx context.Context, qs []WindowQuery) (*Windows, error)
	// Follow yields which series have newer points, from its first Advance on, which is
	// empty and comes at once: nothing that is written after it is missed. It ends with
	// an error only. Between two Advances the one who asks may take any time: it
	// holds up nobody, and the next Advance has each series once.
	Follow(ctx context.Context, q FollowQuery) iter.Seq2[*Advance, error]
	// Compute evaluates an expression over series.
	Compute(ctx context.Context, q ComputeQuery) ([]ComputedSeries, error)
}

// Series is a meter of a resource, or one without a resource.
type Series struct {
	// Number is the storage's own. It is never given to another series, also after this
	// one was deleted and the storage was started again.
	Number uint64
	// ID is the storage's name of it: of the aggregator the metric's UUID.
	ID    string
	Meter string
	Unit  string
	// Resource is as samples name it; "" for none. ResourceType is the storage's word.
	Resource, ResourceType string
	// Project is that of the resource, "" for none. Creator is who made the series: a
	// user, or user:project.
	Project, Creator string
}

// Scope says on whose behalf a storage is asked. The zero value sees nothing.
//
// One sees what belongs to one's project, what others created for it, and what one
// created oneself. What is searched needs a project.
type Scope struct {
	// All is for those who may see everything.
	All bool
	// User and Project are ids, "" for none.
	User, Project string
}

// SeriesQuery asks for series: by one of IDs, Names and Search.
type SeriesQuery struct {
	Scope  Scope
	IDs    []string
	Names  []SeriesName
	Search *ResourceSearch
}

// SeriesName names a series as samples do. The resource may also be the storage's
// id of it.
type SeriesName struct{ Resource, Meter string }

// ResourceSearch asks for resources, and for series of theirs.
type ResourceSearch struct {
	// Type is a type of resources in the storage's words; of the aggregator, generic is
	// all.
	Type string
	// Filter is in the storage's language: of the aggregator what POST
	// /v1/search/resource takes, as JSON or as text. "" is all.
	Filter string
	// Meters are names; none is all.
	Meters []string
}

// FoundSeries is an answer to a [SeriesQuery].
type FoundSeries struct {
	Series
	// Position is the place in IDs or Names of what it was found by; 0 with Search. An
	// entry of Names may find several series, of resources that users called the same.
	Position int
}

// WindowQuery asks for windows of some length of many series.
type WindowQuery struct {
	// Series are numbers.
	Series []uint64
	// Granularity is the length of the windows. They begin at multiples of it since 1970
	// in UTC.
	Granularity time.Duration
	// Aggregation is what is made of the points of a window: mean, min, max, sum, count,
	// last, ..., as the storage names it.
	Aggregation string
	// From and To limit the start of windows: that which From is in is the first, the
	// last one starts before To. The newest window may still get points.
	From, To time.Time
}

// Windows answers WindowQueries with a row for each of their series, in their order.
type Windows struct {
	// Counts has, for each row, how many windows there are; or, below 0, an [Absence],
	// negated. Windows without points are not there.
	Counts []int32
	// Times and Values are those of the windows of all rows, one row after the other,
	// oldest first. A time is the start of a window in nanoseconds since 1970, UTC.
	Times  []int64
	Values []float64
}

// WindowRow is the windows of a series.
type WindowRow struct {
	Times  []int64
	Values []float64
	// Err is nil or an [Absence].
	Err error
}

// All gives the rows and their places.
func (w *Windows) All() iter.Seq2[int, WindowRow] {
	return func(yield func(int, WindowRow) bool) {
		at := 0
		for i, count := range w.Counts {
			var row WindowRow
			if count < 0 {
				row.Err = Absence(-count)
			} else {
				next := at + int(count)
				row.Times, row.Values = w.Times[at:next:next], w.Values[at:next:next]
				at = next
			}
			if !yield(i, row) {
				return
			}
		}
	}
}

// Absence is why a storage has no windows of a series. It is an error.
type Absence uint8

// The reasons.
const (
	// NoSeries: there is no series of this number any more.
	NoSeries Absence = iota + 1
	// NoGranularity: the storage does not keep windows of this length of it.
	NoGranularity
	// NoAggregation: the storage does not keep this of its points.
	NoAggregation
	// Unreadable: the windows are damaged or can't be read now; the storage's log says
	// more.
	Unreadable
)

func (a Absence) Error() string {
	switch a {
	case NoSeries:
		return "there is no such series any more"
	case NoGranularity:
		return "the storage keeps no windows of this length of the series"
	case NoAggregation:
		return "the storage does not keep this aggregation of the series"
	}
	return "the storage cannot read the windows of the series"
}

// FollowQuery says which series are followed.
type FollowQuery struct {
	// Meters are names; none is all.
	Meters []string
	// Undescribed leaves New empty in all Advances, for those who know the numbers that
	// they wait for.
	Undescribed bool
}

// Advance says which series have newer points.
type Advance struct {
	// New describes those of Numbers that no Advance before had. What is changed of a
	// series later is not told: FindSeries knows it.
	New []Series
	// Numbers are the series, each once, in no particular order. Times are those of the
	// newest points they have by now, in nanoseconds since 1970, UTC.
	Numbers []uint64
	Times   []int64
}

// ComputeQuery asks for the value of an expression.
type ComputeQuery struct {
	Scope Scope
	// Language is what the expression is in; the aggregator knows "operations", that of
	// Gnocchi's dynamic aggregates, and "promql".
	Language   string
	Expression string
	// Search, with operations, says in which resources the names in the expression are
	// looked for. Without it the expression has ids of series. Its Meters must be empty.
	Search *ResourceSearch
	// From and To limit the times of points. With operations they are those of
	// WindowQuery; with promql both are inclusive.
	From, To time.Time
	// Granularity is the length of windows, or the time between two points. 0, with
	// promql only, asks for the value at the time To.
	Granularity time.Duration
}

// ComputedSeries is a series that was computed.
type ComputedSeries struct {
	// Labels tell series apart. With operations they are series (its id) or resource
	// and meter, and aggregation; none if there is one series, made of all.
	Labels map[string]string
	// Times are in nanoseconds since 1970, UTC, ascending.
	Times  []int64
	Values []float64
}
