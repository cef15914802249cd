package sdk

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nephoscope/nepho/sdk/wire"
)

// Limits of what storages are asked by series.
const (
	// MaxSeries is the most series of one question, and of the answer to it.
	MaxSeries = 1 << 20
	// MaxWindows is the most windows, or points, of one answer.
	MaxWindows = 1 << 20
)

// A message of an answer has about so many rows and windows at most, so that the next
// is on its way while one is read.
const (
	partRows    = 1 << 15
	partWindows = 1 << 15
)

// errAnswer is wrapped by errors that say that bytes are no answer to what was asked.
var errAnswer = errors.New("invalid answer of the storage")

func badAnswer(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errAnswer, fmt.Errorf(format, args...))
}

// textTable is a table of strings; 0 is "".
type textTable struct {
	list   []string
	places map[string]uint32
}

func newTextTable() *textTable {
	return &textTable{list: []string{""}, places: map[string]uint32{"": 0}}
}

func (t *textTable) place(s string) uint32 {
	place, ok := t.places[s]
	if !ok {
		place = uint32(len(t.list))
		t.list, t.places[s] = append(t.list, s), place
	}
	return place
}

func encodeScope(s Scope) *wire.Scope {
	return &wire.Scope{All: s.All, User: s.User, Project: s.Project}
}

func decodeScope(w *wire.Scope) Scope {
	return Scope{All: w.GetAll(), User: w.GetUser(), Project: w.GetProject()}
}

func encodeSearch(s *ResourceSearch) *wire.ResourceSearch {
	if s == nil {
		return nil
	}
	return &wire.ResourceSearch{Type: s.Type, Filter: s.Filter, Meters: s.Meters}
}

func decodeSearch(w *wire.ResourceSearch) *ResourceSearch {
	if w == nil {
		return nil
	}
	return &ResourceSearch{Type: w.Type, Filter: w.Filter, Meters: w.Meters}
}

func encodeSeriesQuery(q SeriesQuery) *wire.FindRequest {
	w := &wire.FindRequest{Scope: encodeScope(q.Scope), Ids: q.IDs, Search: encodeSearch(q.Search)}
	for _, n := range q.Names {
		w.NameResource, w.NameMeter = append(w.NameResource, n.Resource), append(w.NameMeter, n.Meter)
	}
	return w
}

// decodeSeriesQuery refuses what asks for nothing, or too much.
func decodeSeriesQuery(w *wire.FindRequest) (SeriesQuery, error) {
	q := SeriesQuery{Scope: decodeScope(w.Scope), IDs: w.Ids, Search: decodeSearch(w.Search)}
	if len(w.NameResource) != len(w.NameMeter) {
		return q, Refuse(fmt.Errorf("%d resources and %d meters do not go together", len(w.NameResource), len(w.NameMeter)))
	}
	for i, r := range w.NameResource {
		q.Names = append(q.Names, SeriesName{Resource: r, Meter: w.NameMeter[i]})
	}
	ways := 0
	for _, asked := range []bool{len(q.IDs) > 0, len(q.Names) > 0, q.Search != nil} {
		if asked {
			ways++
		}
	}
	if ways != 1 {
		return q, Refuse(errors.New("series are found by one of IDs, Names and Search"))
	}
	if n := len(q.IDs) + len(q.Names); n > MaxSeries {
		return q, Refuse(fmt.Errorf("%d series are asked for at once, at most %d can be", n, MaxSeries))
	}
	return q, nil
}

// tableOf makes a table of so many series, the i-th of which series gives.
func tableOf(n int, series func(i int) *Series) *wire.SeriesTable {
	t := newTextTable()
	w := &wire.SeriesTable{
		Number: make([]uint64, n), Id: make([]string, n), Meter: make([]uint32, n), Unit: make([]uint32, n), Resource: make([]uint32, n),
		ResourceType: make([]uint32, n), Project: make([]uint32, n), Creator: make([]uint32, n),
	}
	for i := range n {
		s := series(i)
		w.Number[i], w.Id[i] = s.Number, s.ID
		w.Meter[i], w.Unit[i], w.Resource[i], w.ResourceType[i] = t.place(s.Meter), t.place(s.Unit), t.place(s.Resource), t.place(s.ResourceType)
		w.Project[i], w.Creator[i] = t.place(s.Project), t.place(s.Creator)
	}
	w.Strings = t.list
	return w
}

// seriesOf gives the series of a table.
func seriesOf(w *wire.SeriesTable) ([]Series, error) {
	n := len(w.GetNumber())
	if n == 0 {
		return nil, nil
	}
	if n > MaxSeries || len(w.Id) != n {
		return nil, badAnswer("%d ids of %d series", len(w.Id), n)
	}
	list := make([]Series, n)
	for i := range list {
		list[i].Number, list[i].ID = w.Number[i], w.Id[i]
	}
	for _, c := range []struct {
		name   string
		column []uint32
		field  func(*Series) *string
	}{
		{"meter", w.Meter, func(s *Series) *string { return &s.Meter }},
		{"unit", w.Unit, func(s *Series) *string { return &s.Unit }},
		{"resource", w.Resource, func(s *Series) *string { return &s.Resource }},
		{"resource_type", w.ResourceType, func(s *Series) *string { return &s.ResourceType }},
		{"project", w.Project, func(s *Series) *string { return &s.Project }},
		{"creator", w.Creator, func(s *Series) *string { return &s.Creator }},
	} {
		if len(c.column) != n {
			return nil, badAnswer("column %s has %d entries for %d series", c.name, len(c.column), n)
		}
		for i, place := range c.column {
			if uint64(place) >= uint64(len(w.Strings)) {
				return nil, badAnswer("string %d of %d in column %s", place, len(w.Strings), c.name)
			}
			*c.field(&list[i]) = w.Strings[place]
		}
	}
	return list, nil
}

func encodeFound(list []FoundSeries, send func(*wire.SeriesTable) error) error {
	for len(list) > 0 {
		part := list[:min(len(list), partRows)]
		list = list[len(part):]
		w := tableOf(len(part), func(i int) *Series { return &part[i].Series })
		w.Position = make([]uint32, len(part))
		for i, f := range part {
			w.Position[i] = uint32(f.Position)
		}
		if err := send(w); err != nil {
			return err
		}
	}
	return nil
}

// appendFound appends a part of an answer to a question about so many series.
func appendFound(list []FoundSeries, w *wire.SeriesTable, asked int) ([]FoundSeries, error) {
	series, err := seriesOf(w)
	if err != nil {
		return nil, err
	}
	if len(w.Position) != len(series) {
		return nil, badAnswer("%d positions of %d series", len(w.Position), len(series))
	}
	if len(list)+len(series) > MaxSeries {
		return nil, badAnswer("more than %d series", MaxSeries)
	}
	for i, s := range series {
		if uint64(w.Position[i]) >= uint64(max(asked, 1)) {
			return nil, badAnswer("position %d of %d", w.Position[i], asked)
		}
		list = append(list, FoundSeries{s, int(w.Position[i])})
	}
	return list, nil
}

func encodeWindowQueries(qs []WindowQuery) *wire.WindowsRequest {
	w := &wire.WindowsRequest{Queries: make([]*wire.WindowQuery, len(qs))}
	for i, q := range qs {
		w.Queries[i] = &wire.WindowQuery{
			Series: q.Series, GranularityNs: int64(q.Granularity), Aggregation: q.Aggregation, From: q.From.UnixNano(), To: q.To.UnixNano(),
		}
	}
	return w
}

// decodeWindowQueries also gives how many rows they ask for.
func decodeWindowQueries(w *wire.WindowsRequest) (qs []WindowQuery, rows int, err error) {
	qs = make([]WindowQuery, len(w.Queries))
	for i, q := range w.Queries {
		qs[i] = WindowQuery{
			Series: q.Series, Granularity: time.Duration(q.GranularityNs), Aggregation: q.Aggregation,
			From: time.Unix(0, q.From).UTC(), To: time.Unix(0, q.To).UTC(),
		}
		if rows += len(q.Series); q.GranularityNs <= 0 {
			return nil, 0, Refuse(fmt.Errorf("windows have a length above 0, not %v", qs[i].Granularity))
		}
	}
	if rows > MaxSeries {
		return nil, 0, Refuse(fmt.Errorf("windows of %d series are asked for at once, at most of %d can be", rows, MaxSeries))
	}
	return qs, rows, nil
}

func encodeWindows(all *Windows, rows int, send func(*wire.WindowsReply) error) error {
	windows := 0
	for _, c := range all.Counts {
		windows += int(max(c, 0))
	}
	if len(all.Counts) != rows || len(all.Times) != windows || len(all.Values) != windows {
		return fmt.Errorf("BUG: the storage answers %d rows with %d, of %d windows, %d times and %d values", rows, len(all.Counts), windows, len(all.Times), len(all.Values))
	}
	if windows > MaxWindows {
		return Refuse(fmt.Errorf("the answer has %d windows, at most %d can be asked for at once", windows, MaxWindows))
	}
	row, at := 0, 0 // where the part begins
	end := 0        // of its windows
	for i, c := range all.Counts {
		end += int(max(c, 0))
		if end-at < partWindows && i+1-row < partRows && i+1 < rows {
			continue
		}
		err := send(&wire.WindowsReply{Count: all.Counts[row : i+1], Time: delta(nil, all.Times[at:end]), Value: all.Values[at:end]})
		if err != nil {
			return err
		}
		row, at = i+1, end
	}
	return nil
}

// appendWindows adds a part of an answer that has so many rows in all.
func appendWindows(to *Windows, w *wire.WindowsReply, rows int) error {
	windows := 0
	for _, c := range w.Count {
		if c < -math.MaxUint8 {
			return badAnswer("a row of %d windows", c)
		}
		windows += int(max(c, 0))
	}
	switch {
	case len(to.Counts)+len(w.Count) > rows:
		return badAnswer("more than the %d rows that were asked for", rows)
	case len(w.Time) != windows || len(w.Value) != windows:
		return badAnswer("%d times and %d values of %d windows", len(w.Time), len(w.Value), windows)
	case len(to.Times)+windows > MaxWindows:
		return badAnswer("more than %d windows", MaxWindows)
	}
	undelta(w.Time)
	if to.Counts == nil { // most answers have one part
		to.Counts, to.Times, to.Values = w.Count, w.Time, w.Value
		return nil
	}
	to.Counts, to.Times, to.Values = append(to.Counts, w.Count...), append(to.Times, w.Time...), append(to.Values, w.Value...)
	return nil
}

// encodeAdvance sends an Advance, in several if it is large.
func encodeAdvance(a *Advance, send func(*wire.AdvanceReply) error) error {
	if len(a.Numbers) != len(a.Times) {
		return fmt.Errorf("BUG: the storage tells of %d series with %d times", len(a.Numbers), len(a.Times))
	}
	described, numbers, times := a.New, a.Numbers, a.Times
	for {
		// A series is described before, or with, its first number: all described ones go
		// first, which are mostly none.
		part := described[:min(len(described), partRows)]
		described = described[len(part):]
		n := 0
		if len(described) == 0 {
			n = min(len(numbers), 8*partRows)
		}
		w := &wire.AdvanceReply{Number: numbers[:n], Time: delta(nil, times[:n])}
		if len(part) > 0 {
			w.New = tableOf(len(part), func(i int) *Series { return &part[i] })
		}
		numbers, times = numbers[n:], times[n:]
		if err := send(w); err != nil || len(described) == 0 && len(numbers) == 0 {
			return err
		}
	}
}

func decodeAdvance(w *wire.AdvanceReply) (*Advance, error) {
	described, err := seriesOf(w.New)
	if err != nil {
		return nil, err
	}
	if len(w.Number) != len(w.Time) {
		return nil, badAnswer("%d series with %d times", len(w.Number), len(w.Time))
	}
	undelta(w.Time)
	return &Advance{New: described, Numbers: w.Number, Times: w.Time}, nil
}

func encodeComputeQuery(q ComputeQuery) *wire.ComputeRequest {
	return &wire.ComputeRequest{
		Scope: encodeScope(q.Scope), Language: q.Language, Expression: q.Expression, Search: encodeSearch(q.Search),
		From: q.From.UnixNano(), To: q.To.UnixNano(), GranularityNs: int64(q.Granularity),
	}
}

func decodeComputeQuery(w *wire.ComputeRequest) (ComputeQuery, error) {
	q := ComputeQuery{
		Scope: decodeScope(w.Scope), Language: w.Language, Expression: w.Expression, Search: decodeSearch(w.Search),
		From: time.Unix(0, w.From).UTC(), To: time.Unix(0, w.To).UTC(), Granularity: time.Duration(w.GranularityNs),
	}
	if q.Granularity < 0 {
		return q, Refuse(fmt.Errorf("a granularity is not below 0, as %v is", q.Granularity))
	}
	return q, nil
}

func encodeComputed(list []ComputedSeries, send func(*wire.ComputeReply) error) error {
	total := 0
	for i := 0; i < len(list); {
		t, w := newTextTable(), new(wire.ComputeReply)
		for len(w.Time) < partWindows && len(w.Points) < partRows && i < len(list) {
			s := list[i]
			i++
			if len(s.Times) != len(s.Values) {
				return fmt.Errorf("BUG: the storage computes a series of %d times and %d values", len(s.Times), len(s.Values))
			}
			if total += len(s.Times); total > MaxWindows || i > MaxSeries {
				return Refuse(fmt.Errorf("the answer has more than %d points: ask for a shorter time or fewer series", MaxWindows))
			}
			w.Labels, w.Points = append(w.Labels, uint32(len(s.Labels))), append(w.Points, uint32(len(s.Times)))
			for name, value := range s.Labels {
				w.LabelName, w.LabelValue = append(w.LabelName, t.place(name)), append(w.LabelValue, t.place(value))
			}
			w.Time, w.Value = append(w.Time, s.Times...), append(w.Value, s.Values...)
		}
		w.Strings, w.Time = t.list, delta(nil, w.Time)
		if err := send(w); err != nil {
			return err
		}
	}
	return nil
}

// appendComputed adds a part of an answer that has so many points before.
func appendComputed(list []ComputedSeries, w *wire.ComputeReply, before int) ([]ComputedSeries, error) {
	labels, points := 0, 0
	for i := range w.Labels {
		if i >= len(w.Points) || labels > len(w.LabelName) || points > len(w.Time) {
			break
		}
		labels, points = labels+int(w.Labels[i]), points+int(w.Points[i])
	}
	switch {
	case len(w.Labels) != len(w.Points) || labels != len(w.LabelName) || labels != len(w.LabelValue) || points != len(w.Time) || points != len(w.Value):
		return nil, badAnswer("columns of %d series with %d labels and %d points have other lengths", len(w.Points), labels, points)
	case len(list)+len(w.Points) > MaxSeries || before+points > MaxWindows:
		return nil, badAnswer("more than %d points", MaxWindows)
	}
	undelta(w.Time)
	text := func(place uint32) (string, bool) {
		if uint64(place) >= uint64(len(w.Strings)) {
			return "", false
		}
		return w.Strings[place], true
	}
	label, point := 0, 0
	for i := range w.Labels {
		s := ComputedSeries{Labels: make(map[string]string, w.Labels[i])}
		for range w.Labels[i] {
			name, ok := text(w.LabelName[label])
			value, also := text(w.LabelValue[label])
			if !ok || !also {
				return nil, badAnswer("a label refers to no string")
			}
			s.Labels[name] = value
			label++
		}
		next := point + int(w.Points[i])
		s.Times, s.Values = w.Time[point:next:next], w.Value[point:next:next]
		point = next
		list = append(list, s)
	}
	return list, nil
}
