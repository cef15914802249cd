package block

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// mend makes the checksums of a changed file right, so that what they protect is
// reached.
func mend(b []byte, ends []int64) {
	for i := 1; i < len(ends); i++ {
		part := b[ends[i-1]:ends[i]]
		var c chunk
		if err := c.parse(part, math.MaxInt64/minute); errors.Is(err, errHeadSum) {
			n := headEnd(part)
			binary.LittleEndian.PutUint32(part[n-4:], sum(part[:n-4]))
		}
		if c.parse(part, math.MaxInt64/minute) != nil {
			continue
		}
		for k := range c.segments {
			s := &c.segments[k]
			if end := s.offset + s.length; s.length >= 4 && end <= int64(len(part)) {
				binary.LittleEndian.PutUint32(part[end-4:], segmentSum(c.ref, s.first, part[s.offset:end-4]))
			}
		}
	}
	footer := b[ends[len(ends)-1]:]
	binary.LittleEndian.PutUint32(footer[len(footer)-12:], sum(footer[:len(footer)-12]))
}

// headEnd is the length of a head whose checksum is wrong.
func headEnd(b []byte) int {
	for n := 6; n <= len(b); n++ {
		var c chunk
		if err := c.parse(b[:n], math.MaxInt64/minute); !errors.Is(err, errHeadCut) {
			return n
		}
	}
	return len(b)
}

// tryAll uses everything that there is to use of a file; nothing may panic, or give
// more than there can be.
func tryAll(t *testing.T, b []byte) {
	if err := Inspect(io.Discard, bytes.NewReader(b), int64(len(b))); err == nil {
		if _, err := Verify(bytes.NewReader(b), int64(len(b)), func(*DamageError) {}); err != nil {
			t.Errorf("inspected, but not verified: %v", err)
		}
	}
	r, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return
	}
	var f window.Frame
	refs := 0
	for e := range r.Entries() {
		if refs++; refs > 100 {
			break
		}
		for _, columns := range []window.Columns{
			window.ColumnsOf(window.Count), window.ColumnsOf(window.Count, window.Sum), window.Needs(policy.SetOf(allMethods...)),
		} {
			f.Reset(r.Summary().Granularity, columns)
			err := r.Read(e.Ref, math.MinInt64, math.MaxInt64, &f)
			for i := 1; i < f.Len(); i++ {
				if f.Starts[i] <= f.Starts[i-1] {
					t.Fatalf("window %d starts at %d, the one before at %d, %v", i, f.Starts[i], f.Starts[i-1], err)
				}
			}
			f.Reset(r.Summary().Granularity, columns)
			r.Read(e.Ref, e.First+1, e.Last, &f) //nolint:errcheck // it may fail, but not otherwise
		}
	}
	w := NewWriter(io.Discard, r.Summary().Granularity)
	for e := range r.Entries() {
		if refs--; refs < 0 || w.Merge(e.Ref, 0, []*Reader{r, r}, func(*Reader, *DamageError) {}) != nil {
			break
		}
	}
}

func FuzzGarbage(f *testing.F) {
	b, _ := damageable(f)
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add(appendHeader(nil, minute))
	f.Add([]byte{})
	f.Fuzz(tryAll)
}

// FuzzChanged changes a sound file, and makes the checksums right again or not.
func FuzzChanged(f *testing.F) {
	frames := []*window.Frame{
		fold(minute, 30*second, walk("cpu2", 1, 40), allMethods...),
		frameAt([]int64{start, start + 2*minute, start + 7*minute}, minute),
		fold(minute, 10*second, walk("cpuf", 1, 40), allMethods...),
	}
	sound := file(f, frames...)
	r := open(f, sound)
	ends := []int64{headerLength}
	for e := range r.Entries() {
		ends = append(ends, e.Offset+e.Length)
	}
	f.Add(uint16(40), byte(1), uint16(100), byte(200), true)
	f.Add(uint16(24), byte(255), uint16(len(sound)-30), byte(1), false)
	f.Fuzz(func(t *testing.T, at uint16, flip byte, at2 uint16, flip2 byte, right bool) {
		b := bytes.Clone(sound)
		b[int(at)%len(b)] ^= flip
		b[int(at2)%len(b)] ^= flip2
		if right {
			mend(b, ends)
			tryAll(t, b)
			return
		}
		mustBeHonest(t, b, frames)
	})
}

// FuzzSegment unpacks garbage whose checksum is right.
func FuzzSegment(f *testing.F) {
	for _, kind := range []string{"cpu2", "cpuf", "counter"} {
		frame := fold(minute, 20*second, walk(kind, 1, 100), allMethods...)
		b := new(packer).segment(nil, 0, frame, 0, frame.Len())
		f.Add(b[:len(b)-4], uint16(frame.Len()), uint16(0))
	}
	gaps := frameAt([]int64{0, 3 * minute, 7 * minute}, minute)
	b := new(packer).segment(nil, 0, gaps, 0, 3)
	f.Add(b[:len(b)-4], uint16(3), uint16(5))
	var u unpacker
	var values [maxSegment]float64
	f.Fuzz(func(t *testing.T, body []byte, windows, missing uint16) {
		s := segment{windows: int(windows)%maxSegment + 1, missing: int64(missing)}
		b := binary.LittleEndian.AppendUint32(bytes.Clone(body), segmentSum(0, 0, body))
		if u.open(0, &s, b) != nil {
			return
		}
		for i := range u.columns {
			c := &u.columns[i]
			c.describe(s.windows)
			u.values(c.column, s.windows/3, s.windows, values[:s.windows-s.windows/3]) //nolint:errcheck // it may fail, but not otherwise
			u.values(c.column, 0, s.windows, values[:s.windows])                       //nolint:errcheck // the same
		}
	})
}

// FuzzFrame writes windows whose values are made of the input.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("12345678abcdefgh12345678ABCDEFGH"), uint16(3), uint64(7))
	f.Add(bytes.Repeat([]byte{0, 0, 0, 0, 0, 0, 0, 0x40}, 30), uint16(1), uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, gap uint16, set uint64) {
		columns := window.Columns{set, set >> 8, set << 3, set}
		for c := range columns.All() {
			if !window.ColumnsOf(c).Known() {
				columns[c/64] &^= 1 << (c % 64)
			}
		}
		if columns.HasRates() {
			columns.Add(window.Count.Rate())
		}
		n := len(b) / 8
		if n == 0 {
			return
		}
		var want window.Frame
		want.Reset(minute, columns)
		want.Grow(n)
		for i := range n {
			want.Starts[i] = start + int64(i)*minute
			if i > n/2 {
				want.Starts[i] += int64(gap) * minute
			}
		}
		k := 0
		for c := range columns.All() {
			for i := range n {
				u := binary.LittleEndian.Uint64(b[8*((i+k*7)%n):])
				switch v := want.Values(c); {
				case c.Plain() == window.Count:
					v[i] = float64(u % 5)
				case k%3 == 0:
					v[i] = math.Float64frombits(u)
				default:
					v[i] = float64(int32(u)) / 100
				}
			}
			k++
		}
		var got window.Frame
		got.Reset(minute, columns)
		if err := open(t, file(t, &want)).Read(0, math.MinInt64, math.MaxInt64, &got); err != nil {
			t.Fatal(err)
		}
		if err := equalFrames(&got, &want); err != nil {
			t.Error(err)
		}
	})
}
