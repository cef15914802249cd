package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/nephoscope/nepho/aggregator/column"
	"github.com/nephoscope/nepho/aggregator/window"
)

// maxSegment is how many windows a segment has at most, maxSegmentLength how many bytes.
const (
	maxSegment       = 2048
	maxSegmentLength = 1 << 26
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the checksum of bytes, CRC-32C.
func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// segmentSum is the checksum of a segment. It covers whose it is as well, so that
// bytes that ended up in another place do not pass for what should be there.
func segmentSum(ref uint64, first int64, body []byte) uint32 {
	var owner [16]byte
	binary.LittleEndian.PutUint64(owner[:], ref)
	binary.LittleEndian.PutUint64(owner[8:], uint64(first))
	return crc32.Update(sum(owner[:]), castagnoli, body)
}

// segment is where windows of a metric are in its chunk: what the chunk's head tells.
type segment struct {
	offset, length int64 // in the chunk
	first          int64 // number of the first window: its start divided by the granularity
	windows        int   // those that are there
	missing        int64 // those that are not, between the first and the last
}

func (s *segment) last() int64 { return s.first + int64(s.windows) - 1 + s.missing }

// unpacker unpacks segments. It keeps its buffers.
type unpacker struct {
	windows int
	numbers []int64 // of windows, less that of the first, when some are missing
	columns []packed
	place   [256]uint8 // of a column in columns, plus 1
	means   [2]packed  // floor(Sum/Count), of plain values and of rates
	rest    []int64    // of sums that are shared out
}

// packed is a column of a segment.
type packed struct {
	column   window.Column
	form     form
	body     []byte
	unpacked bool // so the following are set
	ints     []int64
	exponent int
	near     bool
	ulps     []int64
}

var (
	errSum      = errors.New("its checksum is wrong")
	errShort    = errors.New("it ends too early")
	errWindows  = errors.New("its windows are not in order")
	errColumns  = errors.New("it has columns or forms that are unknown, or some twice")
	errTrailing = errors.New("it has bytes too many")
	errDecimals = errors.New("it refers to what has more decimals")
)

// open takes the bytes of a segment, which must stay as they are.
func (u *unpacker) open(ref uint64, s *segment, b []byte) error {
	if len(b) < 4 {
		return errShort
	}
	body := b[:len(b)-4]
	if segmentSum(ref, s.first, body) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return errSum
	}
	u.windows = s.windows
	u.columns = u.columns[:0]
	u.place = [256]uint8{}
	u.means[0].unpacked, u.means[1].unpacked = false, false
	u.numbers = u.numbers[:0]
	if s.missing > 0 {
		var err error
		if u.numbers, body, err = column.Ints(body, s.windows, u.numbers); err != nil {
			return fmt.Errorf("starts of windows: %w", err)
		}
		before := int64(-1)
		for _, n := range u.numbers {
			if n <= before {
				return errWindows
			}
			before = n
		}
		if u.numbers[0] != 0 || before != s.last()-s.first {
			return errWindows
		}
	}
	return u.openColumns(body)
}

func (u *unpacker) openColumns(b []byte) error {
	if len(b) == 0 {
		return errShort
	}
	n := int(b[0])
	b = b[1:]
	u.columns = resize(u.columns, n)
	for i := range u.columns {
		c := &u.columns[i]
		if len(b) < 3 {
			return errShort
		}
		c.column, c.form, c.unpacked = window.Column(b[0]), form(b[1]), false
		b = b[2:]
		size := uint64(1)
		if c.form != formSame {
			var k int
			if size, k = binary.Uvarint(b); k <= 0 {
				return errShort
			}
			b = b[k:]
		}
		if size == 0 || size > uint64(len(b)) {
			return errShort
		}
		c.body, b = b[:size], b[size:]
		if c.form >= forms || u.has(c.column) || !window.ColumnsOf(c.column).Known() {
			return errColumns
		}
		u.place[c.column] = uint8(i + 1)
	}
	if len(b) > 0 {
		return errTrailing
	}
	return nil
}

// starts fills t with the starts of the windows from the i-th on; first is the number of the first one.
func (u *unpacker) starts(i int, first, granularity int64, t []int64) {
	if len(u.numbers) > 0 {
		for k, number := range u.numbers[i : i+len(t)] {
			t[k] = (first + number) * granularity
		}
		return
	}
	at := (first + int64(i)) * granularity
	for k := range t {
		t[k] = at
		at += granularity
	}
}

// find is the first window with this number, less that of the first, or a later one.
func (u *unpacker) find(number int64) int {
	if len(u.numbers) > 0 {
		i, _ := slices.BinarySearch(u.numbers, number)
		return i
	}
	return int(max(0, min(number, int64(u.windows))))
}

func (u *unpacker) has(c window.Column) bool { return u.place[c] != 0 }

// values unpacks the windows i to j of a column, which must be there, into v.
func (u *unpacker) values(c window.Column, i, j int, v []float64) error {
	if err := u.valuesAt(int(u.place[c])-1, i, j, v); err != nil {
		return fmt.Errorf("column %v: %w", c, err)
	}
	return nil
}

func (u *unpacker) valuesAt(at, i, j int, v []float64) error {
	c := &u.columns[at]
	switch {
	case c.form == formSame:
		other, err := u.before(at, window.Column(c.body[0]))
		if err != nil {
			return err
		}
		return u.valuesAt(other, i, j, v)
	case c.form != formOwn || c.unpacked:
		if err := u.unpack(at); err != nil {
			return err
		}
		if c.near {
			column.UnscaleNear(c.ints[i:j], c.exponent, c.ulps[i:j], v)
		} else {
			column.Unscale(c.ints[i:j], c.exponent, v)
		}
		return nil
	}
	if j-i < u.windows {
		return column.FloatsFrom(c.body, u.windows, i, v)
	}
	_, rest, err := column.Floats(c.body, u.windows, v[:0])
	if err == nil && len(rest) > 0 {
		err = errTrailing
	}
	return err
}

// before is the place of a column that the one at a place refers to. It must be
// earlier, so that nothing refers to itself.
func (u *unpacker) before(at int, c window.Column) (int, error) {
	other := int(u.place[c]) - 1
	if other < 0 || other >= at {
		return 0, fmt.Errorf("it refers to column %v, which is not there, or later", c)
	}
	return other, nil
}

// integers unpacks the column that the one at a place refers to.
func (u *unpacker) integers(at int, name window.Column, largest int) (*packed, error) {
	other, err := u.before(at, name)
	if err != nil {
		return nil, err
	}
	for u.columns[other].form == formSame {
		if other, err = u.before(other, window.Column(u.columns[other].body[0])); err != nil {
			return nil, err
		}
	}
	if err := u.unpack(other); err != nil {
		return nil, err
	}
	if c := &u.columns[other]; c.exponent <= largest {
		return c, nil
	}
	return nil, errDecimals
}

// unpack makes the integers of a column.
func (u *unpacker) unpack(at int) error {
	c := &u.columns[at]
	if c.unpacked {
		return nil
	}
	body := c.body
	var other window.Column
	if c.form.refers() {
		other, body = window.Column(body[0]), body[1:]
	}
	if len(body) == 0 {
		return errShort
	}
	c.near = body[0]&nearDecimals != 0
	c.exponent, body = int(body[0]&^nearDecimals), body[1:]
	if c.exponent > 2*column.MaxExponent {
		return errors.New("its exponent is unknown, or it is not made of integers")
	}
	var err error
	if c.ints, body, err = column.Ints(body, u.windows, c.ints[:0]); err != nil {
		return err
	}
	if c.near {
		if c.ulps, body, err = column.Ints(body, u.windows, c.ulps[:0]); err != nil {
			return err
		}
	}
	var o *packed
	switch {
	case c.form == formShare:
		if body, err = u.unshare(at, body); err != nil {
			return err
		}
	case c.form == formMean:
		o, err = u.mean(at)
	case c.form.refers():
		o, err = u.integers(at, other, c.exponent)
	}
	switch {
	case err != nil:
		return err
	case len(body) > 0:
		return errTrailing
	case o != nil && o.exponent > c.exponent:
		return errDecimals
	case o != nil:
		add(c.form, c.ints, o.ints, between(o.exponent, c.exponent))
	}
	c.unpacked = true
	return nil
}

// unshare makes sums of means and what remains.
func (u *unpacker) unshare(at int, body []byte) (rest []byte, err error) {
	c := &u.columns[at]
	remains, body, err := column.Ints(body, u.windows, u.rest[:0])
	if err != nil {
		return nil, err
	}
	u.rest = remains
	counts, err := u.integers(at, of(c.column, window.Count), 0)
	if err != nil {
		return nil, err
	}
	for i, r := range remains {
		c.ints[i] = c.ints[i]*counts.ints[i] + r
	}
	return body, nil
}

// mean is floor(Sum/Count) of the group of the column at a place.
func (u *unpacker) mean(at int) (*packed, error) {
	c := u.columns[at].column
	m := &u.means[0]
	if c.IsRate() {
		m = &u.means[1]
	}
	if m.unpacked {
		return m, nil
	}
	sums, err := u.integers(at, of(c, window.Sum), 2*column.MaxExponent)
	if err != nil {
		return nil, err
	}
	counts, err := u.integers(at, of(c, window.Count), 0)
	if err != nil {
		return nil, err
	}
	m.ints, m.exponent, m.unpacked = resize(m.ints, u.windows), sums.exponent, true
	means(m.ints, sums.ints, counts.ints)
	return m, nil
}
