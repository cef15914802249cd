package influxdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// Bounds on the search for refused lines in one batch. A few bad meters, or a
// stretch of bad times, take some dozen requests.
const (
	maxResends = 1000
	maxSearch  = 20 * time.Second
	maxStrange = 10 // refusals of single lines
)

// delivery is the work on one batch. A server that refuses lines tells how many
// at best, so what it is about is found by sending parts again: the others are
// written by that, if they were not yet. Writing a point twice changes nothing.
type delivery struct {
	client   *client
	resends  int       // left
	deadline time.Time // of the search
	scratch  []byte

	refused []int // rows
	reason  error // of the first of them
	written bool  // some lines were
	// strange counts the lines refused in words that are not InfluxDB's.
	strange int
}

// doubt gives an error if nothing was written and the refusals are perhaps not
// about lines at all, but a proxy's or some other server's.
func (d *delivery) doubt() error {
	if d.written || d.strange == 0 {
		return nil
	}
	return sdk.RetryAfter(fmt.Errorf("this may be no InfluxDB, check url: %w", d.reason), missingPause)
}

// deliver sends the lines. The error says that the host is to come again.
func (d *delivery) deliver(ctx context.Context, l *lines) error {
	err := d.client.writeLines(ctx, l.text)
	if err == nil {
		d.written = true
		return nil
	}
	if r := (*rejected)(nil); !errors.As(err, &r) && !errors.Is(err, errTooLarge) {
		return err
	}
	group := make([]int, len(l.ends))
	for i := range group {
		group[i] = i
	}
	return d.settle(ctx, l, group, err)
}

// send sends the group of lines, a part of what was refused.
func (d *delivery) send(ctx context.Context, l *lines, group []int) error {
	d.scratch = d.scratch[:0]
	for _, i := range group {
		d.scratch = append(d.scratch, l.line(i)...)
	}
	d.resends--
	err := d.client.writeLines(ctx, d.scratch)
	if err == nil {
		d.written = true
		return nil
	}
	return d.settle(ctx, l, group, err)
}

// settle decides what becomes of a group of lines that gave an error.
func (d *delivery) settle(ctx context.Context, l *lines, group []int, err error) error {
	var r *rejected
	isRejected := errors.As(err, &r)
	switch {
	case !isRejected && !errors.Is(err, errTooLarge):
		return err
	case len(group) == 1, isRejected && r.dropped >= len(group):
		d.refuse(l, group, err)
		if isRejected && r.foreign {
			d.strange++
		}
		if d.strange > maxStrange {
			return d.doubt()
		}
		return nil
	case isRejected && (d.resends <= 0 || time.Now().After(d.deadline)):
		d.refuse(l, group, fmt.Errorf("the search for the refused lines was given up, some of them may have been written: %w", err))
		return nil
	}
	if isRejected {
		// Lines of one meter mostly share their fate. That also groups what is
		// left after a split by size.
		slices.SortStableFunc(group, func(a, b int) int { return l.meters[a] - l.meters[b] })
	}
	middle := half(l, group)
	if err := d.send(ctx, l, group[:middle]); err != nil {
		return err
	}
	return d.send(ctx, l, group[middle:])
}

// half gives where to split a group of at least two lines: between two meters if
// there are several, as near to the middle as that goes.
func half(l *lines, group []int) int {
	middle := len(group) / 2
	for off := range middle {
		for _, at := range [...]int{middle - off, middle + off} {
			if at > 0 && at < len(group) && l.meters[group[at-1]] != l.meters[group[at]] {
				return at
			}
		}
	}
	return middle
}

func (d *delivery) refuse(l *lines, group []int, reason error) {
	for _, i := range group {
		d.refused = append(d.refused, l.rows[i])
	}
	if d.reason == nil {
		d.reason = reason
	}
}
