package block

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// damageable is a small file of several metrics, one of them with several segments.
func damageable(t testing.TB) ([]byte, []*window.Frame) {
	frames := []*window.Frame{
		fold(minute, 30*second, walk("cpu2", 1, 40), fiveMethods...),
		fold(minute, 30*second, walk("constant", 2, 2*2500), policy.Mean, policy.Max),
		fold(minute, minute, walk("cpuf", 3, 9), policy.Mean, policy.Mean.Rate()),
	}
	return file(t, frames...), frames
}

// mustBeHonest reads everything that Open gives: what is not told to be damaged must
// be as it was written. It gives the number of windows that were told to be lost.
func mustBeHonest(t *testing.T, b []byte, frames []*window.Frame) (lost int) {
	t.Helper()
	r, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return 1
	}
	for ref, f := range frames {
		var got window.Frame
		got.Reset(minute, f.Columns)
		err := r.Read(uint64(ref), math.MinInt64, math.MaxInt64, &got)
		want := cut(f, f.Columns, math.MinInt64, math.MaxInt64)
		var d *DamageError
		switch {
		case errors.Is(err, ErrNone) && len(r.Damage()) > 0:
			want.Reset(minute, f.Columns)
		case errors.As(err, &d):
			want.Reset(minute, f.Columns)
			want.Append(cut(f, f.Columns, math.MinInt64, d.From))
			want.Append(cut(f, f.Columns, d.To, math.MaxInt64))
			if d.Ref != uint64(ref) {
				t.Errorf("damage of metric %d is told of metric %d", ref, d.Ref)
			}
		case err != nil:
			t.Errorf("metric %d: %v", ref, err)
		}
		if err := equalFrames(&got, want); err != nil {
			t.Errorf("metric %d is wrong: %v", ref, err)
		}
		lost += f.Len() - want.Len()
	}
	return lost
}

func TestFlippedByte(t *testing.T) {
	b, frames := damageable(t)
	if lost := mustBeHonest(t, b, frames); lost > 0 {
		t.Fatalf("%d windows of a sound file are lost", lost)
	}
	r := open(t, b)
	var footer int64
	for e := range r.Entries() {
		footer = e.Offset + e.Length
	}
	for i := range b {
		for _, flip := range []byte{1 << (i % 8), 0xff} {
			bad := slices.Clone(b)
			bad[i] ^= flip
			lost := mustBeHonest(t, bad, frames)
			inChunk := i >= headerLength && int64(i) < footer
			if inChunk && lost == 0 || !inChunk && lost > 0 {
				t.Errorf("byte %d flipped: %d windows lost", i, lost)
			}
			reports := 0
			if _, err := Verify(bytes.NewReader(bad), int64(len(bad)), func(*DamageError) { reports++ }); err != nil || reports == 0 {
				t.Errorf("byte %d flipped: Verify tells of %d, %v", i, reports, err)
			}
		}
	}
}

// What is damaged costs itself only.
func TestDamageCostsItself(t *testing.T) {
	b, frames := damageable(t)
	entry, _ := open(t, b).Entry(1)
	size := int64(len(b))
	for name, c := range map[string]struct {
		at   int64 // of the damage
		part Part
		lost int
	}{
		"a chunk's head":  {entry.Offset + 3, Chunk, frames[1].Len()},
		"a chunk's mark":  {entry.Offset, Chunk, frames[1].Len()},
		"a first segment": {entry.Offset + 40, Segment, 1250},
		"a last segment":  {entry.Offset + entry.Length - 1, Segment, 1250},
	} {
		bad := slices.Clone(b)
		bad[c.at] ^= 0x55
		if lost := mustBeHonest(t, bad, frames); lost != c.lost {
			t.Errorf("%s: %d windows lost, want %d", name, lost, c.lost)
		}
		var got window.Frame
		got.Reset(minute, frames[1].Columns)
		err := open(t, bad).Read(1, math.MinInt64, math.MaxInt64, &got)
		var d *DamageError
		if !errors.As(err, &d) || d.Part != c.part || c.at < d.Offset || c.at >= d.Offset+d.Length {
			t.Errorf("%s at %d: %v", name, c.at, err)
		}
	}
	// Other segments are not even looked at.
	bad := slices.Clone(b)
	bad[entry.Offset+entry.Length-1] ^= 0x55
	var got window.Frame
	got.Reset(minute, frames[1].Columns)
	if err := open(t, bad).Read(1, math.MinInt64, start+1000*minute, &got); err != nil || got.Len() != 1000 {
		t.Errorf("windows before the damage: %d, %v", got.Len(), err)
	}
	// Footer and chunk head at once: the chunk is not found any more, and that is told.
	bad = slices.Clone(b)
	bad[entry.Offset+3] ^= 0x55
	bad[size-30] ^= 0x55
	r := open(t, bad)
	damage := r.Damage()
	if len(damage) != 2 || damage[0].Part != Footer || damage[1].Part != Gap || damage[1].Offset != entry.Offset || damage[1].Length != entry.Length {
		t.Errorf("damage is %v", damage)
	}
	if s := r.Summary(); s.Metrics != 2 || s.Windows != int64(frames[0].Len()+frames[2].Len()) {
		t.Errorf("found %+v", s)
	}
	if lost := mustBeHonest(t, bad, frames); lost != frames[1].Len() {
		t.Errorf("%d windows lost", lost)
	}
}

func TestTornFile(t *testing.T) {
	b, frames := damageable(t)
	whole := open(t, b)
	for n := range b {
		r, err := Open(bytes.NewReader(b[:n]), int64(n))
		if n < headerLength {
			if err == nil {
				t.Errorf("%d bytes were opened", n)
			}
			continue
		}
		if err != nil || len(r.Damage()) == 0 {
			t.Errorf("%d bytes: %v, damage %v", n, err, r.Damage())
			continue
		}
		for ref := range frames {
			want, _ := whole.Entry(uint64(ref))
			got, found := r.Entry(uint64(ref))
			if there := want.Offset+want.Length <= int64(n); found != there || found && got != want {
				t.Errorf("%d bytes: metric %d is at %+v, %v, want %+v, %v", n, ref, got, found, want, there)
			}
		}
		mustBeHonest(t, b[:n], frames)
		// The same when the file should be longer than it is.
		r, err = Open(bytes.NewReader(b[:n]), int64(len(b)))
		if err != nil || len(r.Damage()) == 0 {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
	}
}

func TestLaterVersion(t *testing.T) {
	b, _ := damageable(t)
	later := func(b []byte) {
		trailer := len(b) - trailerLength
		length := int(binary.LittleEndian.Uint64(b[trailer:]))
		binary.LittleEndian.PutUint32(b[trailer+8:], version+1)
		binary.LittleEndian.PutUint32(b[trailer+12:], sum(b[trailer-length:trailer+12]))
	}
	later(b)
	var v *VersionError
	if _, err := Open(bytes.NewReader(b), int64(len(b))); !errors.As(err, &v) || v.Version != version+1 {
		t.Errorf("footer of a later version: %v", err)
	}
	b[len(b)-1] ^= 1
	binary.LittleEndian.PutUint32(b[8:], version+1)
	binary.LittleEndian.PutUint32(b[20:], sum(b[:20]))
	if _, err := Open(bytes.NewReader(b), int64(len(b))); !errors.As(err, &v) || v.Version != version+1 {
		t.Errorf("header of a later version: %v", err)
	}
}

func TestForeignFile(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing": {}, "text": []byte("these are not windows"), "zeros": make([]byte, 1000), "a head only": appendHeader(nil, minute)[:20],
	} {
		if _, err := Open(bytes.NewReader(b), int64(len(b))); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
}

var errDisk = errors.New("input/output error")

// brokenDisk can't read from an offset on.
type brokenDisk struct {
	io.ReaderAt
	from int64
}

func (d brokenDisk) ReadAt(b []byte, offset int64) (int, error) {
	if offset+int64(len(b)) > d.from {
		return 0, errDisk
	}
	return d.ReaderAt.ReadAt(b, offset)
}

// What can't be read now is not taken for damage.
func TestUnreadableIsNotDamaged(t *testing.T) {
	b, frames := damageable(t)
	if _, err := Open(brokenDisk{bytes.NewReader(b), 100}, int64(len(b))); !errors.Is(err, errDisk) {
		t.Errorf("Open: %v", err)
	}
	r := open(t, b)
	r.r = brokenDisk{bytes.NewReader(b), 100}
	var got window.Frame
	got.Reset(minute, frames[1].Columns)
	var d *DamageError
	if err := r.Read(1, 0, math.MaxInt64, &got); !errors.Is(err, errDisk) || errors.As(err, &d) || got.Len() > 0 {
		t.Errorf("Read: %v", err)
	}
	b[len(b)-1] ^= 1
	if _, err := Open(brokenDisk{bytes.NewReader(b), 100}, int64(len(b))); !errors.Is(err, errDisk) {
		t.Errorf("scan: %v", err)
	}
}

// A segment in another's place has a sound checksum of its own, but is not taken for
// the other's windows.
func TestSwappedSegments(t *testing.T) {
	constant := walk("constant", 1, 2*2048)
	b := file(t, fold(minute, minute, constant, fiveMethods...))
	var c chunk
	if err := c.parse(b[headerLength:], math.MaxInt64/minute); err != nil || len(c.segments) != 2 || c.segments[0].length != c.segments[1].length {
		t.Fatalf("want two segments of the same length: %+v, %v", c, err)
	}
	at := headerLength + c.segments[0].offset
	n := c.segments[0].length
	copy(b[at:at+n], b[at+n:at+2*n])
	var got window.Frame
	got.Reset(minute, window.ColumnsOf(window.Sum))
	var d *DamageError
	if err := open(t, b).Read(0, 0, math.MaxInt64, &got); !errors.As(err, &d) || d.Offset != at || got.Len() != 2048 {
		t.Errorf("%d windows, %v", got.Len(), err)
	}
}
