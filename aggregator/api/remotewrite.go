package api

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/klauspost/compress/snappy"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/timetext"
)

// postRemoteWrite takes what Prometheus writes to remote storage (version 1.0). Every
// set of labels is a metric of its own, which belongs to the resource JOB@INSTANCE.
//
// Samples that can never be stored are answered with 400 when the others are: of
// those Prometheus tells its operator, and does not send them again.
func (d *dataPlane) postRemoteWrite(w http.ResponseWriter, r *http.Request) error {
	if err := checkRemoteWrite(r); err != nil {
		return err
	}
	in := d.intake()
	defer d.release(in)
	body, err := d.body(w, r, in.body[:0])
	if err != nil {
		return err
	}
	in.body = body
	size, err := snappy.DecodedLen(body)
	if err != nil {
		return badRequest("The body is not packed with snappy: " + err.Error())
	}
	if int64(size) > d.o.MaxBody {
		return &http.MaxBytesError{Limit: d.o.MaxBody}
	}
	if err := hold(w, int64(size)); err != nil {
		return err
	}
	rw := d.remote.writes.Get().(*remoteWrite)
	defer func() {
		if cap(rw.message) <= keepIntake {
			d.remote.writes.Put(rw)
		}
	}()
	if rw.message, err = snappy.Decode(slices.Grow(rw.message[:0], size)[:size], body); err != nil {
		return badRequest("The body cannot be unpacked with snappy: " + err.Error())
	}
	rw.skipped = skipped{}
	in.posted.hold = func(n int64) error { return hold(w, n) }
	if rw.series, err = readWriteRequest(rw.message, rw.series[:0], &in.posted, &rw.skipped); err != nil {
		if in.posted.full != nil {
			return in.posted.full
		}
		return badRequest("The body is no WriteRequest of Prometheus: " + err.Error())
	}
	if err := d.remote.resolve(r.Context(), rw, in); err != nil {
		return err
	}
	outcome, err := d.write(r.Context(), in)
	if err != nil {
		return err
	}
	rw.skipped.late, rw.skipped.future, rw.skipped.forgotten = outcome.Late, outcome.Future, outcome.Forgotten
	for _, p := range outcome.Refused[:min(1, len(outcome.Refused))] {
		rw.skipped.first = p.Point.Time
	}
	if err := rw.skipped.err(); err != nil {
		return err
	}
	return writeNothing(w, http.StatusAccepted)
}

// checkRemoteWrite refuses what is another version or another encoding. Those who
// say nothing are believed to write version 1.0.
func checkRemoteWrite(r *http.Request) error {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "snappy" {
		return &Error{http.StatusUnsupportedMediaType, fmt.Sprintf("The body has the content encoding %q; it must be snappy.", encoding)}
	}
	header := r.Header.Get("Content-Type")
	if header == "" {
		return nil
	}
	media, parameters, err := mime.ParseMediaType(header)
	proto := parameters["proto"]
	if err != nil || media != "application/x-protobuf" || proto != "" && proto != "prometheus.WriteRequest" {
		return &Error{http.StatusUnsupportedMediaType, fmt.Sprintf("The body is of the content type %q; it must be application/x-protobuf with a prometheus.WriteRequest (remote write 1.0).", header)}
	}
	return nil
}

// remoteWrite is what a request of Prometheus needs beside an intake. It is used
// again.
type remoteWrite struct {
	message []byte
	series  []remoteSeries
	skipped skipped
}

// skipped counts what was not stored.
type skipped struct {
	late, future, early, histograms, unnamed, refused, forgotten int
	first                                                        int64  // time of one that was late or in the future
	why                                                          string // one was refused
}

// note remembers why a series is refused, and gives the names of metrics for which it is
// that no rule gives them an archive policy.
func (s *skipped) note(fault error) (noRule map[string]bool) {
	var rule *index.NoRuleError
	if joined, ok := fault.(interface{ Unwrap() []error }); ok {
		noRule = map[string]bool{}
		for _, one := range joined.Unwrap() {
			maps.Copy(noRule, s.note(one))
		}
		return noRule
	}
	if errors.As(fault, &rule) {
		return map[string]bool{rule.Metric: true}
	}
	if fault != nil && s.why == "" {
		s.why = fault.Error()
		if e := refusal(fault); e != nil {
			s.why = describe(e.Description)
		}
	}
	return nil
}

// err says what was not stored, if anything was not.
func (s *skipped) err() error {
	var parts []string
	for _, part := range []struct {
		n    int
		text string
	}{
		{s.late, "are too late for the archive policy of their metric"},
		{s.future, "are too far in the future"},
		{s.early, "are before 1970 or after 2262"},
		{s.histograms, "are native histograms, which are not supported"},
		{s.unnamed, "belong to metrics without an archive policy: no archive policy rule matches their name"},
		{s.refused, "belong to series of which no metric can be made: " + s.why},
		{s.forgotten, "belong to metrics that were deleted just now"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.text))
		}
	}
	if parts == nil {
		return nil
	}
	text := "Some samples were not stored: " + strings.Join(parts, "; ")
	if s.late+s.future > 0 {
		text += "; one of them is of " + timetext.FormatTime(s.first)
	}
	return badRequest(text + ". The others were.")
}
