package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// maxHoles is how many damaged parts of one series are left out; with more, none of
// it is read.
const maxHoles = 100

// frame reads windows of a metric. Windows that are lost are left out, and told in
// the answer: a damaged file costs what is in it, and nothing else.
func (d *dataPlane) frame(ctx context.Context, rd *reader, q engine.Query, into *window.Frame) error {
	err := d.o.Engine.Frame(ctx, q, into)
	if err == nil {
		return nil
	}
	return d.around(ctx, rd, err, q, into, maxHoles)
}

// around reads what is before and after windows that err says are lost.
func (d *dataPlane) around(ctx context.Context, rd *reader, err error, q engine.Query, into *window.Frame, holes int) error {
	var lost *engine.LostError
	if !errors.As(err, &lost) || holes == 0 || lost.From >= q.To || lost.To <= q.From {
		return err
	}
	rd.lost = append(rd.lost, lost)
	g := int64(q.Granularity)
	parts := [2]engine.Query{q, q}
	parts[0].To = min(q.To, lost.From)
	parts[1].From = policy.Floor(lost.To+g-1, g)
	into.Reset(g, window.Needs(q.Methods))
	var frame window.Frame
	for _, part := range parts {
		if part.From >= part.To {
			continue
		}
		if err := d.o.Engine.Frame(ctx, part, &frame); err != nil {
			if err := d.around(ctx, rd, err, part, &frame, holes-1); err != nil {
				return err
			}
		}
		into.Append(&frame)
	}
	return nil
}

// mend answers those of several queries of which err says that windows are lost, in
// the way of [engine.Engine.Frames].
func (d *dataPlane) mend(ctx context.Context, rd *reader, err error, queries []engine.Query, f func(i int, frame *window.Frame) error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	for _, err := range joined.Unwrap() {
		var failed *engine.QueryError
		if !errors.As(err, &failed) {
			return err
		}
		var frame window.Frame
		if err := d.around(ctx, rd, err, queries[failed.Index], &frame, maxHoles); err != nil {
			return err
		}
		if err := f(failed.Index, &frame); err != nil {
			return err
		}
	}
	return nil
}

// maxWarnings is how many lost parts an answer tells of.
const maxWarnings = 10

// finish sends the rest of an answer, and before it what was lost of what was asked
// for.
func (d *dataPlane) finish(ctx context.Context, rd *reader, p *pieces) error {
	if len(rd.lost) > 0 {
		name := "Warning"
		if p.sent {
			name = http.TrailerPrefix + name
		}
		for _, text := range d.warnings(ctx, rd.lost) {
			p.w.Header().Add(name, "199 - "+strconv.QuoteToASCII(text))
		}
	}
	return p.finish()
}

// warnings tell what was lost.
func (d *dataPlane) warnings(ctx context.Context, lost []*engine.LostError) []string {
	told := lost[:min(len(lost), maxWarnings)]
	refs := make([]engine.Ref, len(told))
	for i, l := range told {
		refs[i] = l.Ref
	}
	entries, err := d.o.Index.LookupRefs(ctx, refs, nil)
	texts := make([]string, len(told))
	for i, l := range told {
		metric := fmt.Sprintf("number %d", l.Ref)
		if err == nil && entries[i] != nil {
			metric = entries[i].ID.String()
		}
		texts[i] = fmt.Sprintf("windows of metric %s from %s to %s are lost", metric, timetext.FormatTime(l.From), timetext.FormatTime(l.To))
	}
	if more := len(lost) - len(told); more > 0 {
		texts = append(texts, fmt.Sprintf("%d more parts are lost", more))
	}
	return texts
}
