package chunk

import (
	"fmt"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/nephoscope/nepho/sdk"
)

// Encoder encodes chunks. It is used by one goroutine at a time, and keeps its buffers.
type Encoder struct {
	z       *zstd.Encoder
	columns map[columnName]*columnWriter
	order   []*columnWriter // those in use
	spare   []*columnWriter
	words   words
	texts   textsWriter
	times   []int64
	hashes  []uint64
	body    []byte
	parts   map[int64][]byte
}

type columnName struct {
	name string
	typ  sdk.TraitType
}

// NewEncoder makes an encoder.
func NewEncoder() *Encoder {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(256<<10),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic("BUG: the options of the encoder are wrong: " + err.Error())
	}
	return &Encoder{z: z, columns: map[columnName]*columnWriter{}, words: words{number: map[string]uint32{}}, parts: map[int64][]byte{}}
}

// traitSize is about what a trait costs besides its texts without compression.
const traitSize = 16

// MaxSize is the longest event, by [Size], that is kept. Those of many short traits have
// some more bytes in a part, which may have four times as many.
const MaxSize = maxPart / 4

// Size is about how many bytes an event has without compression.
func Size(e *sdk.Event) int {
	size := 32 + len(e.MessageID) + len(e.EventType) + len(e.Raw)
	for i := range e.Traits {
		size += traitSize + len(e.Traits[i].Name)
		if text, ok := e.Traits[i].Value.(string); ok {
			size += len(text)
		}
	}
	return size
}

// Compare orders events by time, and those of one time by message id: the order of a
// chunk's.
func Compare(a, b *sdk.Event) int {
	if c := a.Generated.Compare(b.Generated); c != 0 {
		return c
	}
	switch {
	case a.MessageID < b.MessageID:
		return -1
	case a.MessageID > b.MessageID:
		return 1
	}
	return 0
}

// Encode makes a chunk of events, which are sorted by [Compare], at least one and at
// most [MaxEvents]. Traits whose value is not of their type are an error, and events
// longer than [MaxSize].
func (e *Encoder) Encode(events []sdk.Event) (*Chunk, error) {
	if len(events) == 0 || len(events) > MaxEvents {
		return nil, fmt.Errorf("BUG: a chunk of %d events", len(events))
	}
	defer e.reset()
	c := &Chunk{Count: len(events), Packed: len(events) < packedBelow}
	e.times = e.times[:0]
	ids := e.column(columnName{keyIDs, sdk.Text}, keyIDs)
	types := e.column(columnName{keyTypes, sdk.Text}, keyTypes)
	raw := false
	for row := range events {
		event := &events[row]
		e.times = append(e.times, event.Generated.UnixNano())
		ids.rows, ids.texts = append(ids.rows, uint32(row)), append(ids.texts, event.MessageID)
		types.rows, types.texts = append(types.rows, uint32(row)), append(types.texts, event.EventType)
		raw = raw || len(event.Raw) > 0
		size := Size(event)
		if size > MaxSize {
			return nil, fmt.Errorf("event %.100q has about %d bytes, at most %d can be kept", event.MessageID, size, MaxSize)
		}
		c.Size += size
		for t := range event.Traits {
			if err := e.trait(uint32(row), &event.Traits[t]); err != nil {
				return nil, err
			}
		}
	}
	c.First, c.Last = e.times[0], e.times[len(e.times)-1]
	c.IDs = make([]uint64, 0, len(events))
	for _, id := range ids.texts {
		c.IDs = append(c.IDs, Hash(id))
	}
	slices.Sort(c.IDs)

	e.add(c, keyTimes, appendTimes(e.body[:0], e.times))
	if raw {
		e.add(c, keyRaw, appendRaw(e.body[:0], events))
	}
	for _, column := range e.order {
		e.addColumn(c, column)
	}
	numbers := make([]int64, 0, len(e.parts))
	for number := range e.parts {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		c.Parts = append(c.Parts, Part{number, seal(e.z, nil, e.parts[number])})
	}
	return c, nil
}

// column gives the writer of a column.
func (e *Encoder) column(name columnName, key string) *columnWriter {
	if c, ok := e.columns[name]; ok {
		return c
	}
	var c *columnWriter
	if n := len(e.spare); n > 0 {
		c, e.spare = e.spare[n-1], e.spare[:n-1]
	} else {
		c = &columnWriter{}
	}
	if key == "" {
		key = traitKey(name.name, name.typ)
	}
	c.reset(key, name.typ)
	if key[0] == keyTrait { // those of all events are no traits
		e.columns[name] = c
	}
	e.order = append(e.order, c)
	return c
}

func (e *Encoder) trait(row uint32, t *sdk.Trait) error {
	c := e.column(columnName{t.Name, t.Type}, "")
	ok := false
	switch t.Type {
	case sdk.Text:
		var v string
		v, ok = t.Value.(string)
		c.texts = append(c.texts, v)
	case sdk.Integer:
		var v int64
		v, ok = t.Value.(int64)
		c.ints = append(c.ints, v)
	case sdk.Float:
		var v float64
		v, ok = t.Value.(float64)
		c.reals = append(c.reals, v)
	case sdk.Datetime:
		v, isTime := t.Value.(time.Time)
		if isTime {
			ok = true
			c.times = append(c.times, v.UTC())
		}
	}
	if !ok {
		return fmt.Errorf("trait %.100q has type %v but a value of type %T", t.Name, t.Type, t.Value)
	}
	c.rows = append(c.rows, row)
	return nil
}

// addColumn adds a column and, unless the chunk is packed, its filter.
func (e *Encoder) addColumn(c *Chunk, column *columnWriter) {
	var w *words
	distinct := column.texts
	if column.typ == sdk.Text && column.key != keyIDs {
		e.words.find(column.texts)
		distinct = e.words.list
		if len(distinct) <= len(column.texts)/4*3 {
			w = &e.words
		}
	}
	e.add(c, column.key, column.appendTo(e.body[:0], c.Count, w, &e.texts))
	if !c.Packed {
		var filter []byte
		filter, e.hashes = column.appendFilter(e.body[:0], distinct, e.hashes)
		e.add(c, filterKey(column.key), filter)
	}
}

// add adds an entry to its part, and keeps its body's buffer.
func (e *Encoder) add(c *Chunk, key string, body []byte) {
	number := int64(partPacked)
	if !c.Packed {
		number = partOf(key)
	}
	e.parts[number] = appendEntry(e.parts[number], key, body)
	e.body = body
}

// keepBuffer is the longest buffer that is kept for the next chunk.
const keepBuffer = 1 << 20

func (e *Encoder) reset() {
	clear(e.columns)
	clear(e.words.number)
	clear(e.words.list)
	clear(e.parts)
	for _, c := range e.order {
		clear(c.texts)
	}
	if len(e.order)+len(e.spare) <= 64 {
		e.spare = append(e.spare, e.order...)
	}
	e.order = e.order[:0]
	if cap(e.body) > keepBuffer {
		e.body = nil
	}
}
