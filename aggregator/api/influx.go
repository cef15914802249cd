package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/window"
)

// influxRoutes adds InfluxDB's way to write. A database is a resource type, the tag
// host says the resource, and a field is a metric.
func (d *dataPlane) influxRoutes() {
	d.handle("GET /v1/influxdb/ping", influx(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("X-Influxdb-Version", "Nepho")
		return writeNothing(w, http.StatusNoContent)
	}), public, anyMedia)
	d.handle("POST /v1/influxdb/query", influx(d.postInfluxQuery), anyMedia)
	d.handle("POST /v1/influxdb/write", influx(d.postInflux), anyMedia)
}

// influxError is a refusal in the words that clients of InfluxDB look for.
type influxError struct {
	refused *Error
	text    string
}

func (e *influxError) Error() string { return e.text }
func (e *influxError) Unwrap() error { return e.refused }

// influx adds to errors, whatever the client accepts, what clients of InfluxDB look
// for.
func influx(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := h(w, r)
		if err == nil {
			return nil
		}
		e := refusal(err)
		if e == nil {
			return err
		}
		text := describe(e.Description)
		var told *influxError
		var missing *index.NotFoundError
		switch {
		case errors.As(err, &told):
			text = told.text
		case errors.As(err, &missing) && missing.Kind == index.KindResourceType:
			text = fmt.Sprintf("database not found: %q", missing.Name) // Telegraf creates it then
		}
		e.headers(w.Header())
		w.Header().Set("X-Influxdb-Error", strings.Map(printable, text))
		return writeJSON(w, e.Code, struct {
			Code        int    `json:"code"`
			Title       string `json:"title"`
			Description any    `json:"description"`
			Error       string `json:"error"`
		}{e.Code, http.StatusText(e.Code), e.Description, text})
	}
}

// printable keeps what a header may hold.
func printable(c rune) rune {
	if c < ' ' || c > '~' {
		return '?'
	}
	return c
}

// createDatabase is the only query that is understood. Patterns are compiled when
// they are needed: every plugin's process has this package in it.
var createDatabase = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^\s*create\s+database\s+(?:"((?:[^"\\]|\\.)*)"|([\pL_][\pL\pN_]*))\s*(?:;\s*)?$`)
})

var escaped = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\\(.)`) })

// databaseToCreate is the name in a query that creates a database.
func databaseToCreate(q string) (name string, ok bool) {
	match := createDatabase().FindStringSubmatch(q)
	switch {
	case match == nil:
		return "", false
	case match[2] != "":
		return match[2], true
	}
	return escaped().ReplaceAllString(match[1], "$1"), true
}

// postInfluxQuery creates a resource type for a database.
func (d *dataPlane) postInfluxQuery(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, d.o.MaxBody)
	if err := r.ParseForm(); err != nil {
		return badRequest("The query cannot be parsed: " + err.Error())
	}
	if !r.Form.Has("q") {
		return writeNothing(w, http.StatusNoContent)
	}
	name, ok := databaseToCreate(r.Form.Get("q"))
	if !ok {
		return &Error{http.StatusNotImplemented, Cause{Cause: "Not implemented error", Detail: "q", Reason: "Query not implemented"}}
	}
	ctx := r.Context()
	if err := requireAdmin(ctx); err != nil {
		return err
	}
	var exists *index.ExistsError
	if err := d.o.Index.CreateType(ctx, index.ResourceType{Name: name}); err != nil && !errors.As(err, &exists) {
		return err
	}
	return writeNothing(w, http.StatusNoContent)
}

// precisions are the units of times in InfluxDB's version 1.
var precisions = map[string]time.Duration{
	"": 1, "n": 1, "ns": 1, "u": time.Microsecond, "us": time.Microsecond, "µ": time.Microsecond, "ms": time.Millisecond,
	"s": time.Second, "m": time.Minute, "h": time.Hour,
}

// postInflux takes lines. Either all can be read, or nothing is stored. Resources
// and metrics are made as they are needed; those that can't be made are left out, and
// the rest is stored.
func (d *dataPlane) postInflux(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	unit, ok := precisions[q.text("precision")]
	if !ok {
		return badArgument("precision", "must be one of n, u, ms, s, m and h")
	}
	database := q.text("db")
	if !q.has("db") {
		database = "influxdb"
	}
	tag := r.Header.Get("X-Gnocchi-InfluxDB-Tag-Resource-ID")
	if tag == "" {
		tag = "host"
	}
	in := d.intake()
	defer d.release(in)
	in.posted.hold = func(n int64) error { return hold(w, n) }
	body, err := d.read(w, r, in)
	if err != nil {
		return err
	}
	if _, err := d.o.Index.Type(r.Context(), database); err != nil {
		return err
	}
	lines := lineReader{p: &in.posted, tag: tag, unit: int64(unit), now: d.o.Now().UnixNano()}
	if err := lines.read(body); err != nil {
		return err
	}
	why, err := d.resolveLines(r.Context(), in, database)
	if err != nil {
		return err
	}
	left := lines.tooLong + in.leaveOut()
	if lines.tooLong > 0 && why == nil {
		why = badRequest(fmt.Sprintf("the name of a metric must not be longer than %d bytes", maxLineName))
	}
	if why != nil && len(in.posted.points) == 0 {
		return why
	}
	outcome, err := d.write(r.Context(), in)
	if err != nil {
		return err
	}
	if why != nil {
		e := refusal(why)
		if e == nil {
			e = badRequest(why.Error())
		}
		told := in.dropped(&outcome)
		return &influxError{
			badRequest(Cause{Cause: "Some points were not stored", Reason: describe(e.Description), Detail: told}),
			fmt.Sprintf("partial write: %s dropped=%d", describe(e.Description), left+in.batch.Points()-outcome.Accepted),
		}
	}
	if lost := in.batch.Points() - outcome.Accepted; lost > 0 {
		// Those who write lines do not look at the body of a success.
		return &influxError{badRequest(in.dropped(&outcome)), fmt.Sprintf("partial write: points beyond retention policy dropped=%d", lost)}
	}
	return writeNothing(w, http.StatusNoContent)
}

// resolveLines finds the metrics of lines, and makes those that are missing, and
// their resources. Those that can't be made have no entry, and why says of one why.
func (d *dataPlane) resolveLines(ctx context.Context, in *intake, typ string) (why, err error) {
	p := &in.posted
	resources := make([]uuid.UUID, len(p.resources)) // uuid.Nil for what can be no resource
	for i, text := range p.resources {
		id, err := resourceID(ctx, text)
		if err != nil {
			why = cmp.Or(why, err)
		}
		resources[i] = id
	}
	for _, m := range p.named {
		in.names = append(in.names, index.Name{Resource: resources[m.resource], Metric: m.name})
	}
	if in.entries, err = d.o.Index.LookupNames(ctx, in.names, in.entries[:0]); err != nil {
		return why, err
	}
	for i, entry := range in.entries {
		if entry != nil && !owns(auth.From(ctx), entry.Creator) {
			in.entries[i], in.names[i].Resource, why = nil, uuid.Nil, cmp.Or[error](why, forbidden())
		}
	}
	creator := auth.From(ctx).Creator()
	wanted := map[uuid.UUID]*index.Wanted{}
	asked := map[index.Name]bool{}
	for i, entry := range in.entries {
		name := in.names[i]
		if entry != nil || asked[name] || name.Resource == uuid.Nil {
			continue
		}
		asked[name] = true
		want := wanted[name.Resource]
		if want == nil {
			want = &index.Wanted{Resource: index.Resource{
				ID: name.Resource, Original: p.resources[p.named[i].resource], Type: typ, Creator: creator,
			}}
			wanted[name.Resource] = want
		}
		want.Metrics = append(want.Metrics, index.NewMetric{Name: name.Metric})
	}
	if len(wanted) == 0 {
		return why, nil
	}
	made, faults, err := d.ensure(ctx, slices.Collect(maps.Values(wanted)))
	if err != nil {
		return why, err
	}
	for i, entry := range in.entries {
		if entry != nil {
			continue
		}
		if in.entries[i] = made[in.names[i]]; in.entries[i] == nil {
			why = cmp.Or(why, faults[in.names[i].Resource])
		}
	}
	return why, nil
}

// maxTags is how many tags a line may have.
const maxTags = 1000

// lineReader reads InfluxDB's line protocol.
type lineReader struct {
	p         *posted
	tag       string // whose value is the resource
	unit      int64  // of times, ns
	now       int64
	resources map[string]int // place in p.resources
	tags      [][2]string
	name      []byte
	tooLong   int // points of metrics whose names are
}

// maxLineName is the longest name of a metric in bytes, as many as the index takes characters.
const maxLineName = 4096

// badLine refuses lines that cannot be read.
func badLine(line int64, err error) error {
	var decode *lineprotocol.DecodeError
	if errors.As(err, &decode) {
		line, err = decode.Line, decode.Err
	}
	text := fmt.Sprintf("nable to parse line %d", line)
	return &influxError{
		badRequest(Cause{Cause: "Value error", Detail: "line", Reason: "U" + text + ": " + err.Error()}),
		"u" + text + ": " + err.Error(), // Telegraf drops the lines then
	}
}

func (l *lineReader) read(body []byte) error {
	l.resources = map[string]int{}
	d := lineprotocol.NewDecoderWithBytes(body)
	for line := int64(1); d.Next(); line++ {
		var refused *Error
		switch err := l.line(d); {
		case errors.As(err, &refused):
			return err
		case err != nil:
			return badLine(line, err)
		}
	}
	return nil
}

func (l *lineReader) line(d *lineprotocol.Decoder) error {
	measurement, err := d.Measurement()
	if err != nil {
		return err
	}
	l.name = append(append(l.name[:0], measurement...), '.')
	resource, found := "", false
	l.tags = l.tags[:0]
	for {
		key, value, err := d.NextTag()
		if err != nil {
			return err
		}
		if key == nil {
			break
		}
		if len(l.tags) == maxTags {
			return fmt.Errorf("it has more than %d tags", maxTags)
		}
		if string(key) == l.tag {
			resource, found = unslash(string(value)), true
			continue
		}
		l.tags = append(l.tags, [2]string{string(key), string(value)})
	}
	if !found {
		return badRequest(Cause{Cause: "Value error", Detail: "key", Reason: "Unable to find key `" + l.tag + "' in tags"})
	}
	place, known := l.resources[resource]
	if !known {
		place = len(l.p.resources)
		l.resources[resource] = place
		l.p.resources = append(l.p.resources, resource)
	}
	tags := l.suffix()
	first := len(l.p.points)
	for {
		key, value, err := d.NextField()
		if err != nil {
			return err
		}
		if key == nil {
			break
		}
		v, ok := fieldValue(value)
		if !ok {
			continue
		}
		if len(l.name)+len(key)+len(tags) > maxLineName {
			l.tooLong++
			continue
		}
		name := string(l.name) + string(key) + tags
		l.p.text += len(name)
		l.p.named = append(l.p.named, namedMetric{resource: place, name: strings.ReplaceAll(name, "/", "_")})
		l.p.points = append(l.p.points, window.Point{Value: v})
		if !l.p.end() {
			return l.p.full
		}
	}
	t, err := l.time(d)
	for i := range l.p.points[first:] {
		l.p.points[first+i].Time = t
	}
	return err
}

// suffix is the tags beside that of the resource, as names of metrics have them.
func (l *lineReader) suffix() string {
	slices.SortFunc(l.tags, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	var b strings.Builder
	for i, tag := range l.tags {
		b.WriteByte("@,"[min(i, 1)])
		b.WriteString(tag[0] + "=" + tag[1])
	}
	return b.String()
}

// fieldValue is the number that a field is. Text is none.
func fieldValue(v lineprotocol.Value) (float64, bool) {
	switch v.Kind() {
	case lineprotocol.Float:
		return v.FloatV(), true
	case lineprotocol.Int:
		return float64(v.IntV()), true
	case lineprotocol.Uint:
		return float64(v.UintV()), true
	case lineprotocol.Bool:
		if v.BoolV() {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// time is the time of a line; now without one.
func (l *lineReader) time(d *lineprotocol.Decoder) (int64, error) {
	text, err := d.TimeBytes()
	if err != nil || text == nil {
		return l.now, err
	}
	t, err := strconv.ParseInt(string(text), 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("the timestamp %s is no whole number", text)
	case t < 0:
		return 0, fmt.Errorf("the timestamp %s is before 1970", text)
	case t > math.MaxInt64/l.unit:
		return 0, fmt.Errorf("the timestamp %s is after 2262; is the precision right?", text)
	}
	return t * l.unit, nil
}
