package block

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// Verify reads everything in a file, and reports what is damaged. It fails as Open does, and
// when the file can't be read.
func Verify(r io.ReaderAt, size int64, report func(*DamageError)) (Summary, error) {
	b, err := Open(r, size)
	if err != nil {
		return Summary{}, err
	}
	header, err := readAt(r, 0, headerLength, nil)
	if err != nil {
		return Summary{}, err
	}
	granularity, err := parseHeader(header)
	if err == nil && granularity != b.footer.granularity {
		err = fmt.Errorf("it is that of windows of %d ns, the footer that of %d ns", granularity, b.footer.granularity)
	}
	if err != nil {
		report(&DamageError{Part: Header, Length: headerLength, Reason: err.Error()})
	}
	for _, d := range b.damage {
		report(d)
	}
	var m reading
	var values [maxSegment]float64
	for e := range b.footer.all() {
		err := b.segments(&m, e, math.MinInt64, math.MaxInt64, func(s *segment, body []byte) error {
			err := m.unpacker.open(e.ref, s, body)
			for i := 0; i < len(m.unpacker.columns) && err == nil; i++ {
				err = m.unpacker.values(m.unpacker.columns[i].column, 0, s.windows, values[:s.windows])
			}
			if err != nil {
				report(b.segmentDamage(e, s, err))
			}
			return nil
		})
		if damage := (*DamageError)(nil); errors.As(err, &damage) {
			report(damage)
		} else if err != nil {
			return Summary{}, fmt.Errorf("cannot read block file: %w", err)
		}
	}
	return b.Summary(), nil
}
