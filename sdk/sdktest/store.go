package sdktest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// Store is an [sdk.SeriesReader] in memory, for tests of what asks one. It keeps all
// points, and makes windows of any length of them, by the aggregations mean, min, max,
// sum, count, first and last. Its zero value is empty.
type Store struct {
	// Policy, if set, says whether the store keeps windows of a series: nil, or an
	// [sdk.Absence].
	Policy func(s sdk.Series, granularity time.Duration, aggregation string) error
	// Select, if set, says whether a search finds a series; else it does by its type and
	// meters, and a filter is refused.
	Select func(s sdk.Series, search sdk.ResourceSearch) bool
	// Expression, if set, answers Compute.
	Expression func(q sdk.ComputeQuery) ([]sdk.ComputedSeries, error)

	mu      sync.Mutex
	series  []kept // by number, from 1 on
	follows map[*follow]bool
}

// kept is a series and its points, by time.
type kept struct {
	sdk.Series
	gone   bool
	times  []int64
	values []float64
}

// follow is a reader of what advances.
type follow struct {
	q        sdk.FollowQuery
	wake     chan struct{}
	advanced map[uint64]bool
	told     map[uint64]bool
	err      error
}

// Add adds a series, and gives its number, which the store chooses. It has the number
// as its ID if it has none.
func (s *Store) Add(series sdk.Series) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	series.Number = uint64(len(s.series) + 1)
	if series.ID == "" {
		series.ID = fmt.Sprint(series.Number)
	}
	s.series = append(s.series, kept{Series: series})
	return series.Number
}

// Put adds a point to a series, or changes that of the same time.
func (s *Store) Put(number uint64, at time.Time, value float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &s.series[number-1]
	i, there := slices.BinarySearch(k.times, at.UnixNano())
	if there {
		k.values[i] = value
		return
	}
	newest := i == len(k.times)
	k.times, k.values = slices.Insert(k.times, i, at.UnixNano()), slices.Insert(k.values, i, value)
	if !newest {
		return
	}
	for f := range s.follows {
		if len(f.q.Meters) == 0 || slices.Contains(f.q.Meters, k.Meter) {
			f.advanced[number] = true
			ring(f.wake)
		}
	}
}

// Remove deletes a series.
func (s *Store) Remove(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.series[number-1].gone = true
}

// Fail ends all that is followed with an error, as a storage that is started again
// does.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.follows {
		f.err = err
		ring(f.wake)
	}
}

// ring puts an element into a channel of one, if it has none.
func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sees reports whether a scope sees a series.
func sees(who sdk.Scope, s *sdk.Series) bool {
	creator := who.User
	if who.Project != "" {
		creator += ":" + who.Project
		if s.Project == who.Project || hasProject(s.Creator, who.Project) {
			return true
		}
	}
	return who.All || creator != "" && s.Creator == creator
}

// hasProject reports whether a creator is of a project.
func hasProject(creator, project string) bool {
	n := len(creator) - len(project)
	return n > 0 && creator[n-1] == ':' && creator[n:] == project
}

// FindSeries implements [sdk.SeriesReader].
func (s *Store) FindSeries(ctx context.Context, q sdk.SeriesQuery) ([]sdk.FoundSeries, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Search != nil && q.Search.Filter != "" && s.Select == nil {
		return nil, sdk.Refuse(errors.New("this store knows no filters"))
	}
	if q.Search != nil && q.Scope.Project == "" && !q.Scope.All {
		return nil, sdk.Refuse(errors.New("a search needs a project"))
	}
	var list []sdk.FoundSeries
	for i := range s.series {
		k := &s.series[i]
		if k.gone || !sees(q.Scope, &k.Series) {
			continue
		}
		if q.Search != nil && s.finds(k.Series, *q.Search) {
			list = append(list, sdk.FoundSeries{Series: k.Series})
		}
		for at, id := range q.IDs {
			if id == k.ID {
				list = append(list, sdk.FoundSeries{Series: k.Series, Position: at})
			}
		}
		for at, n := range q.Names {
			if n == (sdk.SeriesName{Resource: k.Resource, Meter: k.Meter}) {
				list = append(list, sdk.FoundSeries{Series: k.Series, Position: at})
			}
		}
	}
	return list, ctx.Err()
}

func (s *Store) finds(series sdk.Series, search sdk.ResourceSearch) bool {
	if s.Select != nil {
		return s.Select(series, search)
	}
	return series.Resource != "" && series.ResourceType == search.Type && (len(search.Meters) == 0 || slices.Contains(search.Meters, series.Meter))
}

// Windows implements [sdk.SeriesReader].
func (s *Store) Windows(ctx context.Context, qs []sdk.WindowQuery) (*sdk.Windows, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := new(sdk.Windows)
	for _, q := range qs {
		for _, number := range q.Series {
			before := len(all.Times)
			err := s.windows(all, q, number)
			var absent sdk.Absence
			switch {
			case err == nil:
				all.Counts = append(all.Counts, int32(len(all.Times)-before))
			case errors.As(err, &absent):
				all.Counts = append(all.Counts, -int32(absent))
			default:
				return nil, err
			}
		}
	}
	return all, ctx.Err()
}

// windows appends the windows of a series.
func (s *Store) windows(to *sdk.Windows, q sdk.WindowQuery, number uint64) error {
	if number == 0 || number > uint64(len(s.series)) || s.series[number-1].gone {
		return sdk.NoSeries
	}
	k := &s.series[number-1]
	if s.Policy != nil {
		if err := s.Policy(k.Series, q.Granularity, q.Aggregation); err != nil {
			return err
		}
	}
	g := int64(q.Granularity)
	first := floor(q.From.UnixNano(), g)
	for i := 0; i < len(k.times); {
		start, end := floor(k.times[i], g), i
		for end < len(k.times) && k.times[end] < start+g {
			end++
		}
		if start >= first && start < q.To.UnixNano() {
			value, ok := aggregate(q.Aggregation, k.values[i:end])
			if !ok {
				return sdk.NoAggregation
			}
			to.Times, to.Values = append(to.Times, start), append(to.Values, value)
		}
		i = end
	}
	return nil
}

// floor is the greatest multiple of g up to t.
func floor(t, g int64) int64 {
	r := t % g
	if r < 0 {
		r += g
	}
	return t - r
}

// aggregate makes one of the values of a window, of which there is at least one.
func aggregate(name string, values []float64) (v float64, ok bool) {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	switch n := len(values); name {
	case "mean":
		return sum / float64(n), true
	case "sum":
		return sum, true
	case "count":
		return float64(n), true
	case "min":
		return slices.Min(values), true
	case "max":
		return slices.Max(values), true
	case "first":
		return values[0], true
	case "last":
		return values[n-1], true
	}
	return 0, false
}

// Follow implements [sdk.SeriesReader].
func (s *Store) Follow(ctx context.Context, q sdk.FollowQuery) iter.Seq2[*sdk.Advance, error] {
	return func(yield func(*sdk.Advance, error) bool) {
		f := &follow{q: q, wake: make(chan struct{}, 1), advanced: map[uint64]bool{}, told: map[uint64]bool{}}
		s.mu.Lock()
		if s.follows == nil {
			s.follows = map[*follow]bool{}
		}
		s.follows[f] = true
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.follows, f)
		}()
		if !yield(new(sdk.Advance), nil) {
			return
		}
		for {
			select {
			case <-f.wake:
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
			a, err := s.advance(f)
			switch {
			case err != nil:
				yield(nil, err)
				return
			case len(a.Numbers) == 0: // the last one had what this was about
			case !yield(a, nil):
				return
			}
		}
	}
}

// advance takes what advanced.
func (s *Store) advance(f *follow) (*sdk.Advance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := new(sdk.Advance)
	for number := range f.advanced {
		k := &s.series[number-1]
		a.Numbers, a.Times = append(a.Numbers, number), append(a.Times, k.times[len(k.times)-1])
		if !f.q.Undescribed && !f.told[number] {
			f.told[number] = true
			a.New = append(a.New, k.Series)
		}
	}
	clear(f.advanced)
	return a, f.err
}

// Compute implements [sdk.SeriesReader].
func (s *Store) Compute(ctx context.Context, q sdk.ComputeQuery) ([]sdk.ComputedSeries, error) {
	if s.Expression == nil {
		return nil, fmt.Errorf("this store knows no language %q: %w", q.Language, errors.ErrUnsupported)
	}
	list, err := s.Expression(q)
	return list, errors.Join(err, ctx.Err())
}
