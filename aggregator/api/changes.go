package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/timetext"
)

// keepAlive is the longest time without a line in the answer of the change feed, so
// that both ends notice when the other is gone.
const keepAlive = 15 * time.Second

// EndStreams ends answers that otherwise go on as long as their client listens, so that
// [http.Server.Shutdown] need not wait for them. Call it once, with
// [http.Server.RegisterOnShutdown].
func (s *Server) EndStreams() { close(s.ending) }

// watched is the metrics whose changes somebody wants to know of; nil is all.
type watched map[engine.Ref]*index.Entry

// getChanges tells of all metrics that get newer points and that the asker may see,
// or of those that are named, until the client goes: lines of JSON.
func (d *dataPlane) getChanges(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	if !q.has("metric") {
		return d.tellChanges(w, r, nil)
	}
	var ids []uuid.UUID
	for _, name := range q.all("metric") {
		id, err := uuid.Parse(name)
		if err != nil {
			return &index.NotFoundError{Kind: index.KindMetric, Name: name}
		}
		ids = append(ids, id)
	}
	return d.watch(w, r, ids)
}

// postChanges is getChanges of the metrics that the body lists.
func (d *dataPlane) postChanges(w http.ResponseWriter, r *http.Request) error {
	ids, err := d.bodyIDs(w, r)
	if err != nil {
		return err
	}
	return d.watch(w, r, ids)
}

// watch tells of changes of the named metrics.
func (d *dataPlane) watch(w http.ResponseWriter, r *http.Request, ids []uuid.UUID) error {
	entries, err := d.entries(r.Context(), ids)
	if err != nil {
		return err
	}
	set := watched{}
	for _, entry := range entries {
		set[entry.Ref] = entry
	}
	return d.tellChanges(w, r, set)
}

// tellChanges writes a line at once, after which no change is missed, a line for
// each metric that has newer points, and one when nothing happens for a while.
func (d *dataPlane) tellChanges(w http.ResponseWriter, r *http.Request, set watched) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	feed := d.o.Engine.Subscribe()
	defer feed.Close()
	go func() {
		select {
		case <-d.ending:
			cancel()
		case <-ctx.Done():
		}
	}()
	// The request was read whole; what ends it now is that the client goes.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "application/x-ndjson")
	var times timetext.Formatter
	alive := func(out []byte) []byte {
		return append(times.Append(append(out, `{"now":"`...), d.o.Now().UnixNano()), "\"}\n"...)
	}
	var told time.Time // when the last line was written
	for out := alive(nil); ; {
		if len(out) > 0 {
			if _, err := w.Write(out); err != nil {
				return nil // nobody reads it
			}
			if err := control.Flush(); err != nil {
				return nil
			}
			told = time.Now()
		}
		advances, err := nextAdvances(ctx, feed, told.Add(keepAlive))
		switch {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			out = alive(out[:0])
		case err != nil:
			return nil // the client is gone, or the server or the store is closed
		default:
			if out, err = d.appendChanges(ctx, out[:0], &times, advances, set); err != nil {
				return err
			}
		}
	}
}

// nextAdvances waits for the next changes until a time.
func nextAdvances(ctx context.Context, feed *engine.Feed, until time.Time) ([]engine.Advance, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return feed.Next(ctx)
}

// appendChanges appends a line for each change that the asker may know of.
func (d *dataPlane) appendChanges(ctx context.Context, out []byte, times *timetext.Formatter, advances []engine.Advance, set watched) ([]byte, error) {
	who := auth.From(ctx)
	find := func(i int) *index.Entry { return set[advances[i].Ref] }
	if set == nil {
		refs := make([]engine.Ref, len(advances))
		for i, a := range advances {
			refs[i] = a.Ref
		}
		entries, err := d.o.Index.LookupRefs(ctx, refs, nil)
		if err != nil {
			return out, err
		}
		find = func(i int) *index.Entry { return entries[i] }
	}
	for i, a := range advances {
		entry := find(i)
		if entry == nil || set == nil && !sees(who, entry.Creator, entry.Project) {
			continue
		}
		out = append(append(append(out, `{"metric":"`...), entry.ID.String()...), `","timestamp":"`...)
		out = append(times.Append(out, a.Time), "\"}\n"...)
	}
	return out, nil
}

// entries finds metrics by their ids, and refuses those who may not see one of them.
func (d *dataPlane) entries(ctx context.Context, ids []uuid.UUID) ([]*index.Entry, error) {
	entries, err := d.o.Index.Lookup(ctx, ids, nil)
	if err != nil {
		return nil, err
	}
	var unknown []string
	for i, entry := range entries {
		if entry == nil {
			unknown = append(unknown, ids[i].String())
		}
	}
	if unknown != nil {
		return nil, notFound(Cause{Cause: "Unknown metrics", Reason: "Provided metrics don't exists", Detail: unknown})
	}
	for _, entry := range entries {
		if err := requireEntry(ctx, entry, false); err != nil {
			return nil, err
		}
	}
	return entries, nil
}
