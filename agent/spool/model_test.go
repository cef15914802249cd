package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// model is what a spool promises, in the plainest form: a list of segments,
// which are lists of entries.
type model struct {
	limit, segmentSize int64
	segs               []*modelSegment
	open               bool  // the last segment takes entries
	cursor             int   // number of entries handed out since acked
	orphans            Count // handed out, then dropped, and not settled yet
	dropped            Count
	acked              Count
}

type modelSegment struct {
	all   []Entry
	acked int
}

func (g *modelSegment) size() (size int64) {
	for _, e := range g.all {
		size += frameSize(e.Payload)
	}
	return size
}

func (g *modelSegment) held() bool {
	return slices.ContainsFunc(g.all[g.acked:], func(e Entry) bool { return e.Held })
}

func (m *model) size() (size int64) {
	for _, g := range m.segs {
		size += g.size()
	}
	return size
}

func (m *model) waiting() (all []Entry) {
	for _, g := range m.segs {
		all = append(all, g.all[g.acked:]...)
	}
	return all
}

// tidy removes segments in which nothing waits.
func (m *model) tidy() {
	m.segs = slices.DeleteFunc(m.segs, func(g *modelSegment) bool {
		return g.acked == len(g.all) && !(m.open && g == m.segs[len(m.segs)-1])
	})
}

func (m *model) drop() bool {
	before := 0
	for i, g := range m.segs {
		waiting := g.all[g.acked:]
		if g.held() {
			before += len(waiting)
			continue
		}
		for n, e := range waiting {
			if before+n < m.cursor {
				m.orphans.add(one(e.Samples))
			} else {
				m.dropped.add(one(e.Samples))
			}
		}
		if m.cursor > before {
			m.cursor = max(before, m.cursor-len(waiting))
		}
		if i == len(m.segs)-1 {
			m.open = false
		}
		m.segs = slices.Delete(m.segs, i, i+1)
		return true
	}
	return false
}

// append returns what Append must: nil, ErrFull, ErrTooLarge, or
// context.DeadlineExceeded when the entry must wait.
func (m *model) append(e Entry) error {
	size := frameSize(e.Payload)
	if size > m.limit {
		return ErrTooLarge
	}
	for m.size()+size > m.limit {
		if last := len(m.segs) - 1; m.open && m.segs[last].acked == len(m.segs[last].all) {
			m.open = false
			m.tidy()
			continue
		}
		if e.Held {
			return context.DeadlineExceeded
		}
		if !m.drop() {
			m.dropped.add(one(e.Samples))
			return ErrFull
		}
	}
	if !m.open || m.segs[len(m.segs)-1].size()+size > m.segmentSize {
		m.open = false
		m.tidy()
		m.segs, m.open = append(m.segs, &modelSegment{}), true
	}
	g := m.segs[len(m.segs)-1]
	g.all = append(g.all, e)
	return nil
}

func (m *model) ack() {
	for _, g := range m.segs {
		if g.acked < len(g.all) {
			m.acked.add(one(g.all[g.acked].Samples))
			g.acked++
			m.cursor--
			break
		}
	}
	m.tidy()
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(40) {
		onDiskAndInMemory(t, func(t *testing.T, dir string) { againstModel(t, dir, seed) })
	}
}

func againstModel(t *testing.T, dir string, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	o := Options{Dir: dir, Limit: 3000 + r.Int64N(3000), SegmentSize: 300 + r.Int64N(900)}
	m := &model{limit: o.Limit, segmentSize: o.SegmentSize}
	s := open(t, o)
	fail := func(step int, format string, args ...any) {
		t.Helper()
		t.Fatalf("seed %d step %d: %s", seed, step, fmt.Sprintf(format, args...))
	}
	heldShare := r.IntN(3)
	var out []Delivery
	var appended, recovered Count
	for step := range 400 {
		switch op := r.IntN(100); {
		case op < 50:
			e := entry(step, r.IntN(400))
			e.Held = r.IntN(10) < heldShare
			if r.IntN(200) == 0 {
				e = entry(step, int(o.Limit))
			}
			want := m.append(e)
			ctx, cancel := context.WithCancel(t.Context())
			if errors.Is(want, context.DeadlineExceeded) {
				want = context.Canceled
				cancel()
			} else if !errors.Is(want, ErrTooLarge) {
				appended.add(one(e.Samples))
			}
			c, err := s.Append(ctx, e)
			cancel()
			if err == nil {
				err = c.Wait(t.Context())
			}
			if !errors.Is(err, want) {
				fail(step, "Append: %v, want %v", err, want)
			}
		case op < 75:
			if waiting := m.waiting(); m.cursor < len(waiting) {
				d := mustNext(t, s)
				if want := waiting[m.cursor]; number(t, d.Entry) != number(t, want) || d.Held != want.Held {
					fail(step, "Next: %q, want %q", d.Payload[:8], want.Payload[:8])
				}
				m.cursor++
				out = append(out, d)
			}
		case op < 93:
			if len(out) > 0 {
				if n := one(out[0].Samples); out[0].seg.removed {
					m.orphans.sub(n)
					m.acked.add(n)
				} else {
					m.ack()
				}
				mustAck(t, s, out[0])
				out = out[1:]
			}
		case op < 97:
			s.Rewind()
			m.cursor, out = 0, nil
			m.dropped.add(m.orphans)
			m.orphans = Count{}
		case dir != "":
			closeSpool(t, s)
			s = open(t, o)
			m.cursor, out, m.open, m.orphans = 0, nil, false, Count{}
			m.tidy()
			m.dropped, m.acked, appended, recovered = Count{}, Count{}, Count{}, Count{}
			for _, e := range m.waiting() {
				recovered.add(one(e.Samples))
			}
		}
		st := s.Stats()
		checkBalance(t, st)
		waiting := m.orphans
		for _, e := range m.waiting() {
			waiting.add(one(e.Samples))
		}
		if st.Waiting != waiting || st.Dropped.Full != m.dropped || st.Acked != m.acked || st.Appended != appended ||
			st.Recovered != recovered || st.Bytes != m.size() || st.Segments != len(m.segs) {
			fail(step, "stats %+v\nwaiting %v dropped %v acked %v appended %v recovered %v bytes %d segments %d",
				st, waiting, m.dropped, m.acked, appended, recovered, m.size(), len(m.segs))
		}
	}
}
