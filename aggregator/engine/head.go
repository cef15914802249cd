package engine

import (
	"math"
	"slices"
	"sync"

	"github.com/nephoscope/nepho/aggregator/window"
)

// shards is the number of parts of the head, each with its own lock.
const shards = 64

// noTime is the time of no point.
const noTime = math.MinInt64

// metric is what the head knows of a metric, in a cache line. Its points are a row
// of packed ones (see pack) in a chain of pages and then a few plain ones, the tail,
// in ascending order of time without equal times. They are all that is not in blocks,
// for every granularity, and at least one point before that if there was one.
type metric struct {
	newest int64 // time of the newest point; if it was forgotten, when
	edge   int64 // windows that end at or before it are in blocks
	packed int64 // time of the newest packed point
	base   int64 // time before the first packed point

	policy uint32
	stamp  uint32 // of the batch's entry that wrote it last, see applier
	tail   uint32 // number of the tail, 0 for none
	first  uint32 // page of the packed points, 0 for none
	last   uint32
	length uint32 // of the packed points, bytes
	points uint32 // that are packed
	plain  uint8  // points in the tail
	state  state
}

type state uint8

const (
	live      state = 1 << iota // was written, and not forgotten
	forgotten                   // takes no more points
	touched                     // was written since the last checkpoint
	lossy                       // is among the losses
)

const (
	tailLen = 32
	pageLen = 124
)

type tail [tailLen]window.Point

// page is a part of a row of packed points.
type page struct {
	next uint32
	data [pageLen]byte
}

// shard is the metrics whose ref has the same remainder.
type shard struct {
	mu      sync.Mutex
	groups  []*[groupLen]metric // by ref/shards
	metrics int                 // that are live
	tails   arena[tail]
	pages   arena[page]
	scratch scratch
}

const groupLen = 32

// scratch is memory that is used again.
type scratch struct {
	packed []byte
	times  []int64
	values []float64
	// of merges
	late         []window.Point
	mergedTimes  []int64
	mergedValues []float64
}

// find is the metric of a ref, nil if it was never seen.
func (s *shard) find(ref Ref) *metric {
	i := ref / shards
	if i/groupLen >= Ref(len(s.groups)) || s.groups[i/groupLen] == nil {
		return nil
	}
	return &s.groups[i/groupLen][i%groupLen]
}

// metric is the metric of a ref, which is made if it was never seen.
func (s *shard) metric(ref Ref) *metric {
	if m := s.find(ref); m != nil {
		return m
	}
	i := ref / shards
	if n := int(i/groupLen) + 1; n > len(s.groups) {
		s.groups = append(s.groups, make([]*[groupLen]metric, n-len(s.groups))...)
	}
	s.groups[i/groupLen] = new([groupLen]metric)
	return &s.groups[i/groupLen][i%groupLen]
}

// start makes m a live metric without points.
func (s *shard) start(m *metric, policyID uint32) {
	*m = metric{newest: noTime, edge: noTime, packed: noTime, policy: policyID, state: live}
	s.metrics++
}

// forget drops the points of m, and all that is written to it later.
func (s *shard) forget(m *metric, now int64) {
	if m.state&live != 0 {
		s.metrics--
	}
	s.release(m)
	*m = metric{state: forgotten, newest: now}
}

// gone is the state of a metric that was forgotten.
func (s *shard) gone(ref Ref) headEntry {
	m := s.find(ref)
	if m == nil || m.state&forgotten == 0 {
		return headEntry{}
	}
	return headEntry{ref: ref, newest: m.newest, edge: noTime, gone: true}
}

// bytes is what the points take.
func (s *shard) bytes() int64 { return s.tails.bytes() + s.pages.bytes() }

// write adds points in any order to a live metric: those from the time `from` on,
// which is asked for only if it matters. It returns how many were late,
// and the place of the first of them.
func (s *shard) write(m *metric, points []window.Point, from func() int64) (late, firstLate int) {
	m.state |= touched
	writable, known := int64(0), false
	old := s.scratch.late[:0]
	for i := 0; i < len(points); i++ {
		p := points[i]
		if p.Time > m.newest {
			i += s.append(m, points[i:]) - 1
			continue
		}
		if !known {
			writable, known = from(), true
		}
		switch {
		case p.Time < writable:
			if late == 0 {
				firstLate = i
			}
			late++
		case p.Time > m.packed:
			s.insert(m, p)
		default:
			old = append(old, p)
		}
	}
	if len(old) > 0 {
		s.merge(m, old)
	}
	s.scratch.late = old[:0]
	return late, firstLate
}

// append adds those of the points, from the first on, that are later than all others,
// as many as there is room for in the tail, and at least one. It returns how many.
func (s *shard) append(m *metric, points []window.Point) int {
	if m.plain == tailLen {
		s.packTail(m)
	}
	if m.tail == 0 {
		m.tail = s.tails.get()
	}
	free := s.tails.at(m.tail)[m.plain:]
	n, newest := 0, m.newest
	for n < len(points) && n < len(free) && points[n].Time > newest {
		newest = points[n].Time
		free[n] = points[n]
		n++
	}
	m.plain += uint8(n)
	m.newest = newest
	return n
}

// insert adds a point that is later than all packed ones, or replaces one.
func (s *shard) insert(m *metric, p window.Point) {
	if m.tail == 0 { // the newest point was lost
		m.tail = s.tails.get()
	}
	i := int(m.plain)
	t := s.tails.at(m.tail)
	for i > 0 && t[i-1].Time > p.Time {
		i--
	}
	if i > 0 && t[i-1].Time == p.Time {
		t[i-1] = p
		return
	}
	if m.plain == tailLen {
		// Packs the points before it, so that they stay in order.
		rest := *t
		m.plain = uint8(i)
		if i > 0 {
			s.packTail(m)
		}
		t[0] = p
		copy(t[1:], rest[i:])
		m.plain = uint8(1 + tailLen - i)
		if i == 0 {
			s.overflow(m, rest[tailLen-1])
		}
		return
	}
	copy(t[i+1:m.plain+1], t[i:m.plain])
	t[i] = p
	m.plain++
}

// overflow packs a tail of which the last point found no room, and makes that the next.
func (s *shard) overflow(m *metric, last window.Point) {
	m.plain = tailLen
	s.packTail(m)
	s.tails.at(m.tail)[0] = last
	m.plain = 1
}

// packTail moves the points of the tail to the packed ones.
func (s *shard) packTail(m *metric) {
	var times [tailLen]int64
	var values [tailLen]float64
	n := int(m.plain)
	for i, p := range s.tails.at(m.tail)[:n] {
		times[i], values[i] = p.Time, p.Value
	}
	before := m.packed
	if m.points == 0 {
		before = times[0]
		m.base = before
	}
	s.scratch.packed = pack(s.scratch.packed[:0], before, times[:n], values[:n])
	s.extend(m, s.scratch.packed)
	m.points += uint32(n)
	m.packed = times[n-1]
	m.plain = 0
}

// extend adds bytes to the row of packed points.
func (s *shard) extend(m *metric, b []byte) {
	used := pageLen
	if m.first != 0 {
		used = int(m.length-1)%pageLen + 1
	}
	m.length += uint32(len(b))
	for len(b) > 0 {
		if used == pageLen {
			next := s.pages.get()
			s.pages.at(next).next = 0
			if m.first == 0 {
				m.first = next
			} else {
				s.pages.at(m.last).next = next
			}
			m.last, used = next, 0
		}
		n := copy(s.pages.at(m.last).data[used:], b)
		used, b = used+n, b[n:]
	}
}

// row appends the packed points, and padding.
func (s *shard) row(m *metric, dst []byte) []byte {
	left := int(m.length)
	dst = slices.Grow(dst, left+padding)
	for i := m.first; i != 0; {
		p := s.pages.at(i)
		dst = append(dst, p.data[:min(left, pageLen)]...)
		left -= pageLen
		i = p.next
	}
	return append(dst, make([]byte, padding)...)
}

// releaseRow frees the pages of the packed points.
func (s *shard) releaseRow(m *metric) {
	for i := m.first; i != 0; {
		next := s.pages.at(i).next
		s.pages.put(i)
		i = next
	}
	m.first, m.last, m.length, m.points, m.packed = 0, 0, 0, 0, noTime
}

// release frees all points.
func (s *shard) release(m *metric) {
	s.releaseRow(m)
	if m.tail != 0 {
		s.tails.put(m.tail)
		m.tail, m.plain = 0, 0
	}
}

// merge adds points that are not later than the newest packed one, in the order
// in which they were written.
func (s *shard) merge(m *metric, points []window.Point) {
	slices.SortStableFunc(points, func(a, b window.Point) int {
		switch {
		case a.Time < b.Time:
			return -1
		case a.Time > b.Time:
			return 1
		}
		return 0
	})
	c := &s.scratch
	c.packed = s.row(m, c.packed[:0])
	var err error
	if c.times, c.values, err = unpack(c.packed, m.base, c.times[:0], c.values[:0]); err != nil {
		panic("BUG: " + err.Error())
	}
	times, values := c.mergedTimes[:0], c.mergedValues[:0]
	from := 0
	for i, p := range points {
		if i+1 < len(points) && points[i+1].Time == p.Time {
			continue // written again
		}
		to, found := slices.BinarySearch(c.times[from:], p.Time)
		to += from
		times, values = append(times, c.times[from:to]...), append(values, c.values[from:to]...)
		times, values = append(times, p.Time), append(values, p.Value)
		if found {
			to++
		}
		from = to
	}
	times, values = append(times, c.times[from:]...), append(values, c.values[from:]...)
	s.repack(m, times, values)
	c.mergedTimes, c.mergedValues = times[:0], values[:0]
}

// repack makes the given points the packed ones.
func (s *shard) repack(m *metric, times []int64, values []float64) {
	s.releaseRow(m)
	if len(times) == 0 {
		return
	}
	m.base = times[0]
	s.scratch.packed = packAll(s.scratch.packed[:0], times, values)
	s.extend(m, s.scratch.packed)
	m.points = uint32(len(times))
	m.packed = times[len(times)-1]
}

// packAll appends a row of all points, of which the base is the time of the first.
func packAll(dst []byte, times []int64, values []float64) []byte {
	if len(times) == 0 {
		return dst
	}
	before := times[0]
	for len(times) > 0 {
		n := min(len(times), maxBlock)
		dst = pack(dst, before, times[:n], values[:n])
		before, times, values = times[n-1], times[n:], values[n:]
	}
	return dst
}

// copyOf is a metric's state and points, outside of its shard.
type copyOf struct {
	metric
	row   []byte // packed, and padding
	plain []window.Point
}

// copy copies a live metric; false if there is none.
func (s *shard) copy(ref Ref, c *copyOf) bool {
	m := s.find(ref)
	if m == nil || m.state&live == 0 {
		return false
	}
	c.metric = *m
	c.row = s.row(m, c.row[:0])
	c.plain = c.plain[:0]
	if m.plain > 0 {
		c.plain = append(c.plain, s.tails.at(m.tail)[:m.plain]...)
	}
	return true
}

// appendPoints appends the points, oldest first.
func (c *copyOf) appendPoints(times []int64, values []float64) ([]int64, []float64) {
	times, values, err := unpack(c.row, c.base, times, values)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	for _, p := range c.plain {
		times, values = append(times, p.Time), append(values, p.Value)
	}
	return times, values
}
