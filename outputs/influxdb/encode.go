package influxdb

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/glob"
)

const (
	// maxKey is InfluxDB's limit on measurement and tags together.
	maxKey = 65535
	// maxCached bounds what is remembered of a batch's resources: a batch can be
	// made in which many refer to one huge string.
	maxCached = 16 << 20
)

var errKey = fmt.Errorf("measurement and tags have more than the %d bytes that InfluxDB takes", maxKey)
var errFinite = errors.New("InfluxDB takes no volume that is infinite or not a number")
var errTime = errors.New("InfluxDB takes no times at the very ends of the range")

// lines are what one request holds: line i belongs to row rows[i] of the batch,
// is about meter meters[i] of its table, and ends at ends[i].
type lines struct {
	text   []byte
	ends   []int
	rows   []int
	meters []int
}

func (l *lines) reset() {
	l.text, l.ends, l.rows, l.meters = l.text[:0], l.ends[:0], l.rows[:0], l.meters[:0]
}

// line gives the text of line i, with its newline.
func (l *lines) line(i int) []byte {
	from := 0
	if i > 0 {
		from = l.ends[i-1]
	}
	return l.text[from:l.ends[i]]
}

// encoder turns a batch into lines, one request's worth at a time. Measurement
// and tags make up nearly all of a line and depend on the meter and the resource
// alone, so they are put together once per table entry.
type encoder struct {
	maxLines, maxBytes int

	measurement []template
	tags        [4]bool // of resources, by resourceTags
	meterTags   []string
	metadata    *glob.Globs // nil: none
	events      *eventForm  // nil: left out

	batch     *sdk.Batch
	row       int // the next to be written; events follow samples
	meters    []meterText
	resources []resourceText
	cache     []byte // what the resources' texts point into
	pairs     []pair // scratch

	lines
	unwritable []int // rows that line protocol cannot express
	reason     error // of the first of them
}

// meterText holds a meter's measurement and its tags, one for each of
// encoder.meterTags.
type meterText struct {
	measurement []byte
	tags        [len(allMeterTags)][]byte
	size        int
}

// resourceText holds a resource's tags in order, in the parts between which the
// meter's tags belong.
type resourceText struct {
	known bool
	tags  [len(allMeterTags) + 1][]byte
	size  int
}

type pair struct{ key, value string }

// The tags that depend on the resource and those that depend on the meter, each
// in alphabetical order.
var resourceTags = [...]string{"project_id", "resource_id", "source", "user_id"}
var allMeterTags = [...]string{"meter", "type", "unit"}

func newEncoder(p *influxdb) (*encoder, error) {
	e := &encoder{maxLines: p.MaxLines, maxBytes: int(p.MaxBytes)}
	var err error
	if e.measurement, err = parseTemplate(p.Measurement); err != nil {
		return nil, err
	}
	for i, tag := range resourceTags {
		e.tags[i] = slices.Contains(p.Tags, tag)
	}
	for _, tag := range allMeterTags {
		// Without the meter anywhere, different meters would overwrite each other.
		needed := tag == "meter" && !slices.Contains(e.measurement, template{name: "meter"})
		if needed || slices.Contains(p.Tags, tag) {
			e.meterTags = append(e.meterTags, tag)
		}
	}
	if e.metadata, err = compileGlobs(p.MetadataTags); err != nil {
		return nil, err
	}
	if p.Events {
		e.events, err = newEventForm(p)
	}
	return e, err
}

// compileGlobs is glob.Compile for options where an empty list selects nothing.
func compileGlobs(patterns []string) (*glob.Globs, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	return glob.Compile(patterns)
}

// begin starts on a batch.
func (e *encoder) begin(b *sdk.Batch) {
	e.batch, e.row = b, 0
	e.unwritable, e.reason = nil, nil
	e.cache = e.cache[:0]
	e.resources = slices.Grow(e.resources[:0], b.Resources())[:b.Resources()]
	clear(e.resources)
	e.meters = e.meters[:0]
	for m := range b.Meters() {
		e.meters = append(e.meters, e.meterText(b.Meter(m)))
	}
}

// next writes the lines of the next request and tells whether there are any.
func (e *encoder) next() bool {
	e.lines.reset()
	b := e.batch
	rows := b.Len()
	if e.events != nil {
		rows += b.Events()
	}
	for ; e.row < rows && len(e.ends) < e.maxLines; e.row++ {
		start := len(e.text)
		meter := b.Meters()
		var err error
		if e.row < b.Len() {
			meter = b.MeterOf(e.row)
			err = e.sample(e.row)
		} else {
			e.text, err = e.events.append(e.text, b.Event(e.row-b.Len()))
		}
		if err != nil {
			e.text = e.text[:start]
			e.refuse(err)
			continue
		}
		if len(e.text) > e.maxBytes && start > 0 {
			e.text = e.text[:start]
			break // it is the first of the next request
		}
		e.ends = append(e.ends, len(e.text))
		e.rows = append(e.rows, e.row)
		e.lines.meters = append(e.lines.meters, meter)
	}
	return len(e.ends) > 0
}

func (e *encoder) refuse(err error) {
	e.unwritable = append(e.unwritable, e.row)
	if e.reason == nil {
		e.reason = err
	}
}

func (e *encoder) sample(row int) error {
	b := e.batch
	v, at := b.Volume(row), b.UnixNano(row)
	m := &e.meters[b.MeterOf(row)]
	r := &e.resources[b.ResourceOf(row)]
	if !r.known {
		e.resourceText(b.ResourceOf(row))
	}
	switch {
	case !isFinite(v):
		return errFinite
	case !isTime(at):
		return errTime
	case m.size+r.size > maxKey:
		return errKey
	}
	t := append(e.text, m.measurement...)
	t = append(t, r.tags[0]...)
	for i := range e.meterTags {
		t = append(t, m.tags[i]...)
		t = append(t, r.tags[i+1]...)
	}
	t = append(t, " value="...)
	t = appendFloat(t, v)
	t = append(t, ' ')
	t = strconv.AppendInt(t, at, 10)
	e.text = append(t, '\n')
	return nil
}

// isTime tells whether InfluxDB takes a time; it keeps the outermost ones for
// itself.
func isTime(ns int64) bool { return ns > math.MinInt64+1 && ns < math.MaxInt64 }

func (e *encoder) meterText(m sdk.Meter) meterText {
	var name strings.Builder
	for _, part := range e.measurement {
		name.WriteString(part.expand(m))
	}
	t := meterText{measurement: appendEscaped(nil, cleanMeasurement(name.String()), measurementSpecial)}
	t.size = len(t.measurement)
	for i, tag := range e.meterTags {
		t.tags[i] = appendTag(nil, tag, clean(template{name: tag}.expand(m)))
		t.size += len(t.tags[i])
	}
	return t
}

// resourceText puts a resource's tags together.
func (e *encoder) resourceText(r int) {
	if len(e.cache) > maxCached {
		clear(e.resources)
		// Not reused: lines do not point into it, but texts being made do.
		e.cache = nil
	}
	resource := e.batch.Resource(r)
	e.pairs = e.pairs[:0]
	for i, value := range [...]string{resource.ProjectID, resource.ID, resource.Source, resource.UserID} {
		if e.tags[i] {
			e.pairs = append(e.pairs, pair{resourceTags[i], clean(value)})
		}
	}
	if e.metadata != nil {
		own := len(e.pairs)
		e.addMetadata("", resource.Metadata)
		slices.SortFunc(e.pairs[own:], func(a, b pair) int { return strings.Compare(a.value, b.value) })
		// What comes first wins: the sample's own properties.
		slices.SortStableFunc(e.pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
		e.pairs = slices.CompactFunc(e.pairs, func(a, b pair) bool { return a.key == b.key })
	}
	t := resourceText{known: true}
	at, start := 0, len(e.cache)
	for i := 0; i <= len(e.meterTags); i++ {
		part := len(e.cache)
		for ; at < len(e.pairs) && (i == len(e.meterTags) || e.pairs[at].key < e.meterTags[i]); at++ {
			if t.size = len(e.cache) - start; t.size <= maxKey {
				e.cache = appendTag(e.cache, e.pairs[at].key, e.pairs[at].value)
			}
		}
		t.tags[i] = e.cache[part:]
	}
	t.size = len(e.cache) - start
	if t.size > maxKey { // no sample of it will be written
		e.cache, t.tags = e.cache[:start], [len(t.tags)][]byte{}
	}
	e.resources[r] = t
}

// addMetadata adds what the globs select as pairs.
func (e *encoder) addMetadata(prefix string, m map[string]any) {
	for k, v := range m {
		key := prefix + k
		if inner, ok := v.(map[string]any); ok {
			e.addMetadata(key+".", inner)
			continue
		}
		if !e.metadata.Match(key) {
			continue
		}
		key = clean(key)
		if isReserved(key) || slices.Contains(e.meterTags, key) {
			continue
		}
		if value := tagText(v); value != "" {
			e.pairs = append(e.pairs, pair{key, clean(value)})
		}
	}
}

// isReserved tells whether InfluxDB keeps a tag's name to itself. It refuses or
// hides points that have one.
func isReserved(key string) bool {
	return key == "" || key == "time" || key == "_field" || key == "_measurement"
}

// tagText gives a metadata value as a tag; empty for lists and what is not there.
func tagText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	default:
		return ""
	}
}
