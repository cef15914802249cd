package influxdb

import (
	"hash/fnv"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/glob"
)

// eventForm says how events are written: as points of one measurement, with the
// event's type and some traits as tags, its id and all other traits as fields.
type eventForm struct {
	measurement []byte
	tags        *glob.Globs // nil: none
	pairs       []pair      // scratch
	written     map[string]bool
}

func newEventForm(p *influxdb) (*eventForm, error) {
	tags, err := compileGlobs(p.EventTags)
	measurement := appendEscaped(nil, cleanMeasurement(p.EventMeasurement), measurementSpecial)
	return &eventForm{measurement: measurement, tags: tags, written: map[string]bool{}}, err
}

// append appends the event's line. After an error the text has part of it.
func (f *eventForm) append(b []byte, ev sdk.Event) ([]byte, error) {
	if !isTime(ev.Generated.UnixNano()) {
		return b, errTime
	}
	f.pairs = append(f.pairs[:0], pair{"event_type", clean(ev.EventType)})
	for _, t := range ev.Traits {
		if key := clean(t.Name); f.isTag(t.Name) && !isReserved(key) {
			f.pairs = append(f.pairs, pair{key, clean(traitText(t))})
		}
	}
	slices.SortStableFunc(f.pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	f.pairs = slices.CompactFunc(f.pairs, func(a, b pair) bool { return a.key == b.key })

	start := len(b)
	b = append(b, f.measurement...)
	for _, p := range f.pairs {
		b = appendTag(b, p.key, p.value)
		if len(b)-start > maxKey {
			return b, errKey
		}
	}
	b = append(b, " message_id="...)
	b = appendQuoted(b, ev.MessageID)
	// A field that is there twice may have two types, for which the server would
	// refuse the line.
	clear(f.written)
	for _, t := range ev.Traits {
		key := clean(t.Name)
		if f.isTag(t.Name) || key == "" || key == "message_id" {
			continue
		}
		if isReserved(key) {
			key = "trait_" + key
		}
		if f.written[key] {
			continue
		}
		f.written[key] = true
		b = append(b, ',')
		b = appendEscaped(b, key, tagSpecial)
		b = append(b, '=')
		b = appendTrait(b, t)
	}
	b = append(b, ' ')
	b = strconv.AppendInt(b, eventTime(ev), 10)
	return append(b, '\n'), nil
}

// eventTime gives the nanoseconds under which an event is stored. Points of equal
// tags and time overwrite each other, and services tell of events in microseconds
// at best: what is below that comes from the event's id, so that events of one
// moment are told apart and one that is sent again still replaces itself.
func eventTime(ev sdk.Event) int64 {
	ns := ev.Generated.UnixNano()
	if ns%1000 != 0 || ns > math.MaxInt64-1000 {
		return ns
	}
	h := fnv.New64a()
	io.WriteString(h, ev.MessageID)
	return ns + int64(h.Sum64()%1000)
}

func (f *eventForm) isTag(trait string) bool { return f.tags != nil && f.tags.Match(trait) }

// appendTrait appends a field's value. Integers are written as floats: a field
// has one type in InfluxDB, and one trait may be either in different events.
func appendTrait(b []byte, t sdk.Trait) []byte {
	switch v := t.Value.(type) {
	case int64:
		return strconv.AppendInt(b, v, 10)
	case float64:
		if isFinite(v) {
			return appendFloat(b, v)
		}
	}
	return appendQuoted(b, traitText(t))
}

func traitText(t sdk.Trait) string {
	switch v := t.Value.(type) {
	case time.Time:
		return v.Format(time.RFC3339Nano)
	default:
		return tagText(v)
	}
}
