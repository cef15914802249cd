package chunk

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// Flags of a column.
const (
	// flagEach: each event has one value, so that there are no rows.
	flagEach = 1 << iota
	// flagWords: texts are kept once each, and values refer to them by number.
	flagWords
	flagsKnown = flagEach | flagWords
)

// columnWriter collects the values of a column.
type columnWriter struct {
	key   string
	typ   sdk.TraitType
	rows  []uint32
	texts []string
	ints  []int64
	reals []float64
	times []time.Time
}

func (c *columnWriter) reset(key string, t sdk.TraitType) {
	clear(c.texts) // what they refer to may go
	*c = columnWriter{key: key, typ: t, rows: c.rows[:0], texts: c.texts[:0], ints: c.ints[:0], reals: c.reals[:0], times: c.times[:0]}
}

// words numbers different texts.
type words struct {
	number map[string]uint32
	list   []string
	of     []uint32 // for each value its word
}

func (w *words) find(texts []string) {
	clear(w.number)
	clear(w.list)
	w.list, w.of = w.list[:0], w.of[:0]
	for _, text := range texts {
		n, ok := w.number[text]
		if !ok {
			n = uint32(len(w.list))
			w.number[text] = n
			w.list = append(w.list, text)
		}
		w.of = append(w.of, n)
	}
}

// appendTo appends a column of a chunk of some events: flags, how many values there
// are and the distances of their rows if not every event has one, and the values. For
// texts, words are those of the column, or nil if each is to be kept by itself.
func (c *columnWriter) appendTo(to []byte, events int, w *words, t *textsWriter) []byte {
	each := len(c.rows) == events
	for i := 0; each && i < events; i++ {
		each = c.rows[i] == uint32(i)
	}
	flags := byte(0)
	if each {
		flags |= flagEach
	}
	if w != nil {
		flags |= flagWords
	}
	to = append(to, flags)
	if !each {
		to = binary.AppendUvarint(to, uint64(len(c.rows)))
		before := uint32(0)
		for _, row := range c.rows {
			to = binary.AppendUvarint(to, uint64(row-before))
			before = row
		}
	}
	switch c.typ {
	case sdk.Text:
		t.reset()
		list := c.texts
		if w != nil {
			list = w.list
			for _, n := range w.of {
				to = binary.AppendUvarint(to, uint64(n))
			}
		}
		for _, text := range list {
			t.add(text)
		}
		return t.appendTo(to)
	case sdk.Integer:
		for _, v := range c.ints {
			to = binary.AppendVarint(to, v)
		}
	case sdk.Float:
		for _, v := range c.reals {
			to = binary.LittleEndian.AppendUint64(to, math.Float64bits(v))
		}
	case sdk.Datetime:
		before := int64(0)
		for _, v := range c.times {
			to = binary.AppendVarint(to, v.Unix()-before)
			to = binary.AppendUvarint(to, uint64(v.Nanosecond()))
			before = v.Unix()
		}
	}
	return to
}

// column is a column that is read.
type column struct {
	typ   sdk.TraitType
	rows  []uint32 // nil if each event has one value
	n     int      // values
	words []uint32 // for each value its text; nil if each has its own
	made  []string // of the texts those that were asked for, if there are words
	texts texts
	ints  []int64
	reals []float64
	times []time.Time
}

func readColumn(body []byte, t sdk.TraitType, events int) (*column, error) {
	r := reader{data: body}
	c := &column{typ: t, n: events}
	flags := r.byte()
	if flags&^flagsKnown != 0 || flags&flagWords != 0 && t != sdk.Text {
		return nil, damaged("a column has the flags %d", flags)
	}
	if flags&flagEach == 0 {
		c.n = r.count()
		c.rows = make([]uint32, c.n)
		row := uint64(0)
		for i := range c.rows {
			row += r.uvarint()
			if row >= uint64(events) {
				return nil, damaged("a column has row %d of %d", row, events)
			}
			c.rows[i] = uint32(row)
		}
	}
	if c.n > r.left() {
		return nil, damaged("a column with %d values has %d bytes", c.n, r.left())
	}
	switch t {
	case sdk.Text:
		if flags&flagWords != 0 {
			c.words = make([]uint32, c.n)
			for i := range c.words {
				c.words[i] = uint32(min(r.uvarint(), math.MaxUint32))
			}
		}
		var err error
		if c.texts, err = readTexts(&r); err != nil {
			return nil, err
		}
		for _, w := range c.words {
			if w >= uint32(c.texts.len()) {
				return nil, damaged("a column refers to text %d of %d", w, c.texts.len())
			}
		}
		if c.words == nil && c.texts.len() != c.n {
			return nil, damaged("a column has %d texts and %d values", c.texts.len(), c.n)
		}
		return c, nil
	case sdk.Integer:
		c.ints = make([]int64, c.n)
		for i := range c.ints {
			c.ints[i] = r.varint()
		}
	case sdk.Float:
		c.reals = make([]float64, c.n)
		for i := range c.reals {
			c.reals[i] = math.Float64frombits(r.uint64())
		}
	case sdk.Datetime:
		c.times = make([]time.Time, c.n)
		seconds := int64(0)
		for i := range c.times {
			seconds += r.varint()
			nanos := r.uvarint()
			if nanos >= 1e9 {
				return nil, damaged("a time has %d nanoseconds", nanos)
			}
			c.times[i] = time.Unix(seconds, int64(nanos)).UTC()
		}
	}
	if r.failed || r.left() > 0 {
		return nil, damaged("a column is cut off, or too long")
	}
	return c, nil
}

// row is the event of a value.
func (c *column) row(i int) int {
	if c.rows == nil {
		return i
	}
	return int(c.rows[i])
}

func (c *column) word(i int) int {
	if c.words == nil {
		return i
	}
	return int(c.words[i])
}

// value gives a value as a trait has it.
func (c *column) value(i int) any {
	switch c.typ {
	case sdk.Integer:
		return c.ints[i]
	case sdk.Float:
		return c.reals[i]
	case sdk.Datetime:
		return c.times[i]
	}
	return c.text(i)
}

// text gives a value of a column of texts. Values of one text share it.
func (c *column) text(i int) string {
	if c.words == nil {
		return c.texts.get(i)
	}
	if c.made == nil {
		c.made = make([]string, c.texts.len())
	}
	word := c.words[i]
	if c.made[word] == "" {
		c.made[word] = c.texts.get(int(word))
	}
	return c.made[word]
}

// appendTimes appends the sorted times of events, in nanoseconds: whether they are
// kept in microseconds, the first, and the distances of the others.
func appendTimes(to []byte, times []int64) []byte {
	unit := int64(1000)
	for _, t := range times {
		if t%1000 != 0 {
			unit = 1
			break
		}
	}
	to = binary.AppendUvarint(to, uint64(unit))
	before := int64(0)
	for i, t := range times {
		if i == 0 {
			to = binary.AppendVarint(to, t/unit)
		} else {
			to = binary.AppendUvarint(to, uint64(t/unit)-uint64(before/unit))
		}
		before = t
	}
	return to
}

func readTimes(body []byte, events int) ([]int64, error) {
	r := reader{data: body}
	unit := r.uvarint()
	if unit != 1 && unit != 1000 || events > len(body) {
		return nil, damaged("times are in units of %d", unit)
	}
	times := make([]int64, events)
	var t int64
	for i := range times {
		if i == 0 {
			t = r.varint()
		} else {
			d := r.uvarint()
			if next := int64(uint64(t) + d); next < t {
				return nil, damaged("times are not sorted")
			} else {
				t = next
			}
		}
		if t > math.MaxInt64/int64(unit) || t < math.MinInt64/int64(unit) {
			return nil, damaged("a time is out of range")
		}
		times[i] = t * int64(unit)
	}
	if r.failed || r.left() > 0 {
		return nil, damaged("times are cut off, or too long")
	}
	return times, nil
}

// appendRaw appends raw forms: the length of each, and their bytes.
func appendRaw(to []byte, events []sdk.Event) []byte {
	for i := range events {
		to = binary.AppendUvarint(to, uint64(len(events[i].Raw)))
	}
	for i := range events {
		to = append(to, events[i].Raw...)
	}
	return to
}

// readRaw gives where the raw form of each event begins, and where the last ends, in
// their bytes.
func readRaw(body []byte, events int) (starts []uint32, data []byte, err error) {
	r := reader{data: body}
	if events > len(body) {
		return nil, nil, damaged("raw forms are cut off")
	}
	starts = make([]uint32, events+1)
	at := uint64(0)
	for i := range events {
		length := r.uvarint()
		if length > maxPart || at+length > maxPart {
			return nil, nil, damaged("a raw form has %d bytes", length)
		}
		at += length
		starts[i+1] = uint32(at)
	}
	if r.failed || uint64(r.left()) != at {
		return nil, nil, damaged("raw forms are cut off, or too long")
	}
	return starts, r.rest(), nil
}

func unixNano(t int64) time.Time { return time.Unix(0, t).UTC() }
