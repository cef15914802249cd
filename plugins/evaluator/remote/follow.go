package remote

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/definitions"
	"github.com/nephoscope/nepho/sdk"
)

const (
	// quiet is after how long without a line a feed is taken for dead: it has one every 15
	// seconds.
	quiet = time.Minute
	// advanced is how many series an Advance has at most.
	advanced = 10_000
	// longestLine is the longest line of a feed in bytes.
	longestLine = 64 << 10
)

// Follow implements sdk.SeriesReader by the change feed of another Nepho, and gives
// errors.ErrUnsupported where there is none, as in Gnocchi itself.
func (g *Gnocchi) Follow(ctx context.Context, q sdk.FollowQuery) iter.Seq2[*sdk.Advance, error] {
	return func(yield func(*sdk.Advance, error) bool) {
		f := follower{g: g, describe: !q.Undescribed}
		for _, m := range q.Meters {
			if f.meters == nil {
				f.meters = map[string]bool{}
			}
			f.meters[definitions.MetricName(m)] = true
		}
		if err := f.run(ctx, func(a *sdk.Advance) bool { return yield(a, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// follower knows what one who follows wants, and was told of.
type follower struct {
	g        *Gnocchi
	meters   map[string]bool // nil is all
	describe bool
	known    bits // looked at
	wanted   bits // of these
}

// run follows the feed. It gives nil if it was told to end.
func (f *follower) run(ctx context.Context, yield func(*sdk.Advance) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := errors.New("the change feed has been silent for too long")
	alarm := time.AfterFunc(quiet, func() { cancel(silent) })
	defer alarm.Stop()
	resp, err := f.g.server.open(ctx, request{method: http.MethodGet, path: "/v1/changes", stream: true})
	var failed *failure
	if errors.As(err, &failed) {
		switch failed.status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
		}
	}
	if err != nil {
		return cut(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // it is read only
	r := bufio.NewReaderSize(resp.Body, longestLine)
	times := map[uuid.UUID]int64{}
	for first := true; ; first = false {
		alarm.Reset(quiet)
		if err := readChanges(r, times); err != nil {
			return cut(ctx, err)
		}
		// Describing metrics, and the one who follows, may take their time.
		alarm.Stop()
		if first && !yield(new(sdk.Advance)) {
			return nil
		}
		a, err := f.advance(ctx, times)
		if err != nil {
			return err
		}
		clear(times)
		if len(a.Numbers) > 0 && !yield(a) {
			return nil
		}
	}
}

// cut gives the reason why a context ended instead of what that led to.
func cut(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// readChanges reads a line, and those that have come with it.
func readChanges(r *bufio.Reader, times map[uuid.UUID]int64) error {
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("a line of the change feed is longer than %d bytes", longestLine)
		}
		if err != nil {
			return fmt.Errorf("the change feed ends: %w", err)
		}
		var change struct {
			Now       *time.Time
			Metric    *uuid.UUID
			Timestamp time.Time
		}
		if err := json.Unmarshal(line, &change); err != nil || change.Now == nil && change.Metric == nil {
			return fmt.Errorf("%.100q is no line of a change feed", line)
		}
		if change.Metric != nil {
			times[*change.Metric] = change.Timestamp.UnixNano()
		}
		come, err := r.Peek(r.Buffered())
		if err != nil {
			return err
		}
		if len(times) >= advanced || bytes.IndexByte(come, '\n') < 0 {
			return nil
		}
	}
}

// advance makes an Advance of changes.
func (f *follower) advance(ctx context.Context, times map[uuid.UUID]int64) (*sdk.Advance, error) {
	a := &sdk.Advance{}
	all := f.meters == nil && !f.describe
	if !all {
		var unknown []string
		for id := range times {
			if !f.known.has(f.g.numbers.of(id)) {
				unknown = append(unknown, id.String())
			}
		}
		found, err := f.g.describe(ctx, unknown)
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			if s == nil {
				continue // it was deleted since
			}
			f.known.add(s.Number)
			if f.meters != nil && !f.meters[s.Meter] {
				continue
			}
			f.wanted.add(s.Number)
			if f.describe {
				a.New = append(a.New, *s)
			}
		}
	}
	for id, at := range times {
		if number := f.g.numbers.of(id); all || f.wanted.has(number) {
			a.Numbers, a.Times = append(a.Numbers, number), append(a.Times, at)
		}
	}
	return a, nil
}

// bits is a set of numbers, a bit for each: numbers are given one after the other.
type bits []uint64

func (b bits) has(n uint64) bool { return n/64 < uint64(len(b)) && b[n/64]&(1<<(n%64)) != 0 }

func (b *bits) add(n uint64) {
	if word := int(n / 64); word >= len(*b) {
		*b = append(*b, make([]uint64, word+1-len(*b))...)
	}
	(*b)[n/64] |= 1 << (n % 64)
}
