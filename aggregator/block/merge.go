package block

import (
	"errors"
	"math"

	"github.com/nephoscope/nepho/aggregator/window"
)

// merging is the buffers of Merge.
type merging struct {
	reading reading
	frame   window.Frame // windows that are to be packed together
}

// Merge writes the windows of a metric that start at from or later (nanoseconds since 1970), out of files of the same
// granularity, which are given in the order of time. Of a window that several files have, the first one's
// is taken. Segments that are long enough are copied as they are, others are unpacked and packed together; none is
// copied that is damaged. What is damaged is left out and reported; report may be called with the same damage as Read.
func (w *Writer) Merge(ref uint64, from int64, sources []*Reader, report func(*Reader, *DamageError)) error {
	g := w.footer.granularity
	w.begin(ref)
	next := ceil(from, g)
	m := &w.merge
	m.frame.Reset(g, window.Columns{})
	for _, r := range sources {
		if r.footer.granularity != g && w.err == nil {
			w.err = errors.New("cannot merge block files of different granularities")
		}
		e, ok := r.footer.find(ref)
		if !ok || e.last < next || w.err != nil {
			continue
		}
		err := r.segments(&m.reading, e, next, math.MaxInt64, func(s *segment, body []byte) error {
			if err := w.mergeSegment(ref, s, body, next); err != nil {
				report(r, r.segmentDamage(e, s, err))
			} else {
				next = s.last() + 1
			}
			return w.err
		})
		if damage := (*DamageError)(nil); errors.As(err, &damage) {
			report(r, damage)
		} else if err != nil && w.err == nil {
			w.err = err
		}
	}
	w.pack(ref, &m.frame)
	return w.end(ref)
}

// mergeSegment adds the windows of a segment with numbers from next on.
func (w *Writer) mergeSegment(ref uint64, s *segment, body []byte, next int64) error {
	m := &w.merge
	u := &m.reading.unpacker
	if err := u.open(ref, s, body); err != nil {
		return err
	}
	if s.first >= next && s.windows >= maxSegment/2 {
		w.pack(ref, &m.frame)
		m.frame.Reset(w.footer.granularity, m.frame.Columns)
		raw := *s
		raw.offset = int64(len(w.body))
		w.segments = append(w.segments, raw)
		w.body = append(w.body, body...)
		return nil
	}
	var columns window.Columns
	for i := range u.columns {
		columns.Add(u.columns[i].column)
	}
	if columns != m.frame.Columns {
		w.pack(ref, &m.frame)
		m.frame.Reset(w.footer.granularity, columns)
	}
	return u.read(ref, s, body, next, math.MaxInt64, w.footer.granularity, &m.frame)
}
