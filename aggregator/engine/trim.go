package engine

import "iter"

// trim frees points before cut that are not needed: whole blocks of packed ones, as
// long as a point before cut remains.
func (s *shard) trim(m *metric, cut int64) {
	if m.plain > 0 && s.tails.at(m.tail)[0].Time < cut {
		s.releaseRow(m)
		t := s.tails.at(m.tail)
		from := 0
		for from+1 < int(m.plain) && t[from+1].Time < cut {
			from++
		}
		copy(t[:], t[from:m.plain])
		m.plain -= uint8(from)
		return
	}
	if m.points == 0 {
		return
	}
	c := &s.scratch
	c.packed = s.row(m, c.packed[:0])
	r := unpacker{src: c.packed, end: len(c.packed) - padding, last: m.base}
	keepFrom, base, left, dropped := 0, m.base, m.points, uint32(0)
	for r.at < r.end {
		at, before := r.at, r.last
		var ok bool
		if c.times, ok = r.blockTimes(c.times[:0]); !ok {
			panic("BUG: " + errPacked.Error())
		}
		if c.times[0] >= cut {
			break
		}
		keepFrom, base, left = at, before, m.points-dropped
		dropped += uint32(len(c.times))
		r.last = c.times[len(c.times)-1]
	}
	if keepFrom == 0 {
		return
	}
	row, packed := c.packed[keepFrom:r.end], m.packed
	s.releaseRow(m)
	m.base, m.points, m.packed = base, left, packed
	s.extend(m, row)
}

// rest makes a metric that was not written since the last call as small as it can
// be: struct and packed points.
func (s *shard) rest(ref Ref) {
	m := s.find(ref)
	if m.state&touched != 0 {
		m.state &^= touched
		return
	}
	if m.plain > 0 {
		s.packTail(m)
	}
	if m.tail != 0 {
		s.tails.put(m.tail)
		m.tail = 0
	}
}

// compact gives memory back after there were many more points than now.
func (s *shard) compact() {
	if !s.pages.sparse() && !s.tails.sparse() {
		return
	}
	var pages arena[page]
	var tails arena[tail]
	for _, group := range s.groups {
		if group == nil {
			continue
		}
		for i := range group {
			m := &group[i]
			m.tail = tails.move(&s.tails, m.tail)
			m.first = pages.move(&s.pages, m.first)
			m.last = m.first
			for m.last != 0 && pages.at(m.last).next != 0 {
				next := pages.move(&s.pages, pages.at(m.last).next)
				pages.at(m.last).next = next
				m.last = next
			}
		}
	}
	s.pages, s.tails = pages, tails
}

// refs are all refs that were seen, ascending. Those that are seen meanwhile may be missing.
func (h *head) refs() iter.Seq[Ref] {
	return func(yield func(Ref) bool) {
		groups := 0
		for i := range h.shards {
			s := &h.shards[i]
			s.mu.Lock()
			groups = max(groups, len(s.groups))
			s.mu.Unlock()
		}
		for group := range groups {
			var present [shards]bool
			for i := range h.shards {
				s := &h.shards[i]
				s.mu.Lock()
				present[i] = group < len(s.groups) && s.groups[group] != nil
				s.mu.Unlock()
			}
			for i := range groupLen {
				for shard, present := range present {
					if present && !yield(Ref((group*groupLen+i)*shards+shard)) {
						return
					}
				}
			}
		}
	}
}

// live are the refs of live metrics, ascending.
func (h *head) live() iter.Seq[Ref] {
	return func(yield func(Ref) bool) {
		for ref := range h.refs() {
			if _, ok := h.state(ref); ok && !yield(ref) {
				return
			}
		}
	}
}
