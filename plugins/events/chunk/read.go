package chunk

import (
	"cmp"
	"slices"
	"sort"

	"github.com/nephoscope/nepho/sdk"
)

// Reader reads a chunk. It keeps what it has read, and is used by one goroutine.
type Reader struct {
	// Count and Packed are those of the [Chunk].
	Count  int
	Packed bool
	// Part gives a part; nil if there is none of the number.
	Part func(number int64) ([]byte, error)
	// All gives all parts that are no filters.
	All func() ([]Part, error)

	fetched map[int64][]byte            // all that are no filters, if not nil
	parts   map[int64]map[string][]byte // those that were opened
	columns map[string]*column
	times   []int64
}

// Fetch gets all parts at once, for a question that most of them are needed for.
func (r *Reader) Fetch() error {
	if r.fetched != nil {
		return nil
	}
	list, err := r.All()
	if err != nil {
		return err
	}
	r.fetched = make(map[int64][]byte, len(list))
	for _, p := range list {
		r.fetched[p.Number] = p.Data
	}
	return nil
}

// entry gives an entry; nil if there is none.
func (r *Reader) entry(key string) ([]byte, error) {
	number := int64(partPacked)
	if !r.Packed {
		number = partOf(key)
	}
	if _, ok := r.parts[number]; !ok {
		data := r.fetched[number]
		if r.fetched == nil {
			var err error
			if data, err = r.Part(number); err != nil {
				return nil, err
			}
		}
		if err := r.load(number, data); err != nil {
			return nil, err
		}
	}
	return r.parts[number][key], nil
}

// load opens a part.
func (r *Reader) load(number int64, data []byte) error {
	if r.Count < 1 || r.Count > MaxEvents {
		return damaged("it has %d events", r.Count)
	}
	if r.parts == nil {
		r.parts, r.columns = map[int64]map[string][]byte{}, map[string]*column{}
	}
	list := map[string][]byte{}
	if data != nil {
		opened, err := open(data)
		if err != nil {
			return err
		}
		if err := entries(opened, func(key string, body []byte) error { list[key] = body; return nil }); err != nil {
			return err
		}
	}
	r.parts[number] = list
	return nil
}

// column gives a column; nil if there is none.
func (r *Reader) column(key string, t sdk.TraitType) (*column, error) {
	if c, ok := r.columns[key]; ok {
		return c, nil
	}
	body, err := r.entry(key)
	if err != nil || body == nil {
		return nil, err
	}
	c, err := readColumn(body, t, r.Count)
	if err != nil {
		return nil, err
	}
	r.columns[key] = c
	return c, nil
}

// whole gives a column that every chunk has.
func (r *Reader) whole(key string) (*column, error) {
	c, err := r.column(key, sdk.Text)
	if err == nil && (c == nil || c.rows != nil) {
		return nil, damaged("the column %q is not there, or not whole", key)
	}
	return c, err
}

// Times are the times of the events, in nanoseconds, sorted.
func (r *Reader) Times() ([]int64, error) {
	if r.times != nil {
		return r.times, nil
	}
	body, err := r.entry(keyTimes)
	if err != nil {
		return nil, err
	}
	if body == nil {
		return nil, damaged("it has no times")
	}
	r.times, err = readTimes(body, r.Count)
	return r.times, err
}

// ID gives the message id of an event.
func (r *Reader) ID(row int) (string, error) {
	c, err := r.whole(keyIDs)
	if err != nil {
		return "", err
	}
	return c.text(row), nil
}

// IDs gives the sorted hashes of the message ids.
func (r *Reader) IDs() ([]uint64, error) {
	c, err := r.whole(keyIDs)
	if err != nil {
		return nil, err
	}
	hashes := make([]uint64, r.Count)
	var text []byte
	for i := range hashes {
		text = c.texts.append(text[:0], c.word(i))
		hashes[i] = Hash(string(text))
	}
	slices.Sort(hashes)
	return hashes, nil
}

// FilterPart is the number of the part that says whether a chunk that is not packed may
// hold what a query looks for, by its most selective condition; 0 if none says so.
func (q *Query) FilterPart() int64 {
	key, _ := q.filter()
	if key == "" {
		return 0
	}
	return partOf(key)
}

// filter gives the entry of that part, and the condition on it.
func (q *Query) filter() (key string, c Condition) {
	switch {
	case q.ID != nil:
		return filterKey(keyIDs), Condition{Type: sdk.Text, Text: *q.ID}
	case len(q.Where) > 0:
		best := &q.Where[0]
		for i := range q.Where {
			// Who an event belongs to has been added to what somebody looks for.
			if w := &q.Where[i]; best.Op != Equal && w.Op == Equal {
				best = w
			}
		}
		return filterKey(traitKey(best.Trait, best.Type)), *best
	case q.Type != nil:
		return filterKey(keyTypes), Condition{Type: sdk.Text, Text: *q.Type}
	}
	return "", c
}

// Selective reports whether a chunk that [Query.MayHold] lets through most likely has
// something: its filter is one of values.
func (q *Query) Selective() bool {
	key, c := q.filter()
	return key != "" && c.Op == Equal
}

// MayHold reports whether a chunk that is not packed may hold what a query looks for,
// given its part of the number [Query.FilterPart]; nil if it has none.
func (q *Query) MayHold(part []byte) (bool, error) {
	key, c := q.filter()
	if key == "" {
		return true, nil
	}
	if part == nil {
		return false, nil // no event has the trait
	}
	opened, err := open(part)
	if err != nil {
		return false, err
	}
	may := false
	err = entries(opened, func(k string, body []byte) (err error) {
		if k == key {
			may, err = mayHold(body, &c)
		}
		return err
	})
	return may, err
}

// Match gives the rows of the events that are looked for, in ascending order.
func (r *Reader) Match(q *Query) ([]int, error) {
	times, err := r.Times()
	if err != nil {
		return nil, err
	}
	from := sort.Search(len(times), func(i int) bool { return times[i] >= q.From })
	to := sort.Search(len(times), func(i int) bool { return times[i] > q.To })
	if from >= to {
		return nil, nil
	}
	met := newSelection(r.Count, from, to)
	text := func(key string, value *string) error {
		if value == nil || met.none() {
			return nil
		}
		c, err := r.whole(key)
		if err == nil {
			met.keep(c, &Condition{Type: sdk.Text, Text: *value})
		}
		return err
	}
	if err := text(keyIDs, q.ID); err != nil {
		return nil, err
	}
	if err := text(keyTypes, q.Type); err != nil {
		return nil, err
	}
	for i := range q.Where {
		w := &q.Where[i]
		if met.none() {
			return nil, nil
		}
		c, err := r.column(traitKey(w.Trait, w.Type), w.Type)
		if err != nil || c == nil {
			return nil, err
		}
		met.keep(c, w)
	}
	if q.Project != nil && !met.none() {
		c, err := r.column(traitKey(ProjectTrait, sdk.Text), sdk.Text)
		if err != nil {
			return nil, err
		}
		if c != nil {
			met.keepOwn(c, *q.Project)
		}
	}
	return met.list(), nil
}

// selection is rows of a chunk.
type selection struct {
	rows, met []bool
	n         int
}

func newSelection(events, from, to int) *selection {
	both := make([]bool, 2*events)
	s := &selection{rows: both[:events], met: both[events:], n: to - from}
	for i := from; i < to; i++ {
		s.rows[i] = true
	}
	return s
}

func (s *selection) none() bool { return s.n == 0 }

func (s *selection) list() []int {
	list := make([]int, 0, s.n)
	for i, in := range s.rows {
		if in {
			list = append(list, i)
		}
	}
	return list
}

// keep keeps the rows with a value that meets a condition.
func (s *selection) keep(c *column, w *Condition) {
	clear(s.met)
	switch c.typ {
	case sdk.Text:
		words := make([]bool, c.texts.len())
		if w.Op == Equal {
			stored := want(w.Text)
			for i := range words {
				words[i] = c.texts.equal(i, stored)
			}
		} else {
			var text []byte
			for i := range words {
				text = c.texts.append(text[:0], i)
				words[i] = w.Op.holds(cmp.Compare(string(text), w.Text))
			}
		}
		for i := range c.n {
			if words[c.word(i)] {
				s.met[c.row(i)] = true
			}
		}
	case sdk.Integer:
		for i, v := range c.ints {
			if w.Op.holds(cmp.Compare(v, w.Integer)) {
				s.met[c.row(i)] = true
			}
		}
	case sdk.Float:
		for i, v := range c.reals {
			if w.meetsReal(v) {
				s.met[c.row(i)] = true
			}
		}
	case sdk.Datetime:
		for i, v := range c.times {
			if w.Op.holds(v.Compare(w.Time)) {
				s.met[c.row(i)] = true
			}
		}
	}
	s.and()
}

// keepOwn keeps the rows of a project, and those without a value in the column of
// projects.
func (s *selection) keepOwn(c *column, project string) {
	for i := range s.met {
		s.met[i] = true
	}
	for i := range c.n {
		s.met[c.row(i)] = false
	}
	stored := want(project)
	for i := range c.n {
		if c.texts.equal(c.word(i), stored) {
			s.met[c.row(i)] = true
		}
	}
	s.and()
}

func (s *selection) and() {
	s.n = 0
	for i := range s.rows {
		if s.rows[i] = s.rows[i] && s.met[i]; s.rows[i] {
			s.n++
		}
	}
}

// Events gives the events of some rows, which ascend. Their traits are sorted by name
// and type. Those are all, unless only is the trait that is asked for.
func (r *Reader) Events(rows []int, only *string) ([]sdk.Event, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	if only == nil {
		if err := r.Fetch(); err != nil {
			return nil, err
		}
		for number, data := range r.fetched {
			if _, ok := r.parts[number]; !ok {
				if err := r.load(number, data); err != nil {
					return nil, err
				}
			}
		}
	}
	times, err := r.Times()
	if err != nil {
		return nil, err
	}
	types, err := r.whole(keyTypes)
	if err != nil {
		return nil, err
	}
	ids, err := r.whole(keyIDs)
	if err != nil {
		return nil, err
	}
	events := make([]sdk.Event, len(rows))
	for i, row := range rows {
		events[i] = sdk.Event{MessageID: ids.text(row), EventType: types.text(row), Generated: unixNano(times[row])}
	}
	keys, err := r.traits(only)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := r.addTraits(events, rows, key); err != nil {
			return nil, err
		}
	}
	if only == nil {
		err = r.addRaw(events, rows)
	}
	return events, err
}

// traits gives the names of the columns of traits, in the order in which events have
// them.
func (r *Reader) traits(only *string) ([]string, error) {
	var keys []string
	if only != nil {
		for t := sdk.Text; t <= sdk.Datetime; t++ {
			key := traitKey(*only, t)
			body, err := r.entry(key)
			if err != nil {
				return nil, err
			}
			if body != nil {
				keys = append(keys, key)
			}
		}
		return keys, nil
	}
	for number, list := range r.parts {
		if number < 0 {
			continue
		}
		for key := range list {
			if _, _, ok := columnTrait(key); ok {
				keys = append(keys, key)
			}
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(a[2:], b[2:]), cmp.Compare(a[1], b[1])) })
	return keys, nil
}

// addTraits adds the values of a column to events that are in some rows.
func (r *Reader) addTraits(events []sdk.Event, rows []int, key string) error {
	name, t, _ := columnTrait(key)
	c, err := r.column(key, t)
	if err != nil || c == nil {
		return err
	}
	add := func(event, i int) {
		e := &events[event]
		e.Traits = append(e.Traits, sdk.Trait{Name: name, Type: t, Value: c.value(i)})
	}
	if c.rows == nil {
		for event, row := range rows {
			add(event, row)
		}
		return nil
	}
	event := 0
	for i, row := range c.rows {
		for event < len(rows) && rows[event] < int(row) {
			event++
		}
		if event == len(rows) {
			return nil
		}
		if rows[event] == int(row) {
			add(event, i)
		}
	}
	return nil
}

func (r *Reader) addRaw(events []sdk.Event, rows []int) error {
	body, err := r.entry(keyRaw)
	if err != nil || body == nil {
		return err
	}
	starts, data, err := readRaw(body, r.Count)
	if err != nil {
		return err
	}
	for i, row := range rows {
		if raw := data[starts[row]:starts[row+1]]; len(raw) > 0 {
			events[i].Raw = slices.Clone(raw)
		}
	}
	return nil
}
