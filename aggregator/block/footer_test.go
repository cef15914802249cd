package block

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Files may be larger than 4 GB, and have many metrics. What is in memory of them is small.
func TestFooterOfLargeFile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var entries []entry
	w := &footer{granularity: minute}
	e := entry{offset: headerLength}
	for range 30_000 {
		e = entry{
			ref: e.ref + 1 + uint64(r.IntN(3)), offset: e.offset + e.length, length: 9_000 + r.Int64N(2_000),
			first: start/minute + r.Int64N(2), last: start/minute + 1439,
		}
		if r.IntN(300) == 0 {
			e.length = 1 << 30
		}
		entries = append(entries, e)
		w.add(e, 1440)
	}
	size := e.offset + e.length
	if size < 8<<30 {
		t.Fatalf("the file has %d bytes only", size)
	}
	b := w.append(nil)
	size += int64(len(b))
	f, err := parseFooter(b, size)
	if err != nil {
		t.Fatal(err)
	}
	if f.metrics != len(entries) || f.windows != 1440*30_000 || f.first != w.first || f.last != w.last || f.end != e {
		t.Errorf("read %d metrics, %d windows from %d to %d", f.metrics, f.windows, f.first, f.last)
	}
	if memory := float64(cap(f.packed)+48*cap(f.groups)) / float64(f.metrics); memory > 10 {
		t.Errorf("%.1f bytes a metric in memory", memory)
	}
	if got := slices.Collect(f.all()); !slices.Equal(got, entries) {
		t.Error("the entries are not those that were written")
	}
	for i, e := range entries {
		if got, ok := f.find(e.ref); !ok || got != e {
			t.Fatalf("found %+v, %v, want %+v", got, ok, e)
		}
		if i > 0 && entries[i-1].ref < e.ref-1 {
			if _, ok := f.find(e.ref - 1); ok {
				t.Fatalf("found metric %d, which is not there", e.ref-1)
			}
		}
	}
	if _, ok := f.find(math.MaxUint64); ok {
		t.Error("found a metric behind the last one")
	}
}

// With gaps, as a scan leaves them.
func TestFooterWithGaps(t *testing.T) {
	var f footer
	var entries []entry
	at := int64(headerLength)
	for ref := range uint64(200) {
		if ref%3 == 0 {
			at += 77
		}
		e := entry{ref: ref, offset: at, length: int64(100 + ref), first: 5, last: 9}
		f.add(e, 5)
		entries = append(entries, e)
		at += e.length
	}
	if got := slices.Collect(f.all()); !slices.Equal(got, entries) {
		t.Errorf("entries %v", got)
	}
	for _, e := range entries {
		if got, ok := f.find(e.ref); !ok || got != e {
			t.Errorf("found %+v, %v, want %+v", got, ok, e)
		}
	}
}

// A footer that is longer than what Open reads at first.
func TestLongFooter(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, minute)
	f := frameAt([]int64{start}, minute)
	for ref := range uint64(20_000) {
		if err := w.Add(ref*1000, f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := open(t, b.Bytes())
	if len(r.Damage()) > 0 || r.Summary().Metrics != 20_000 || len(r.footer.packed) < tailLength {
		t.Errorf("%v, %+v, footer of %d bytes", r.Damage(), r.Summary(), len(r.footer.packed))
	}
	// The same by a scan.
	torn := b.Bytes()[:b.Len()-1]
	if got := open(t, torn); !slices.Equal(slices.Collect(got.Entries()), slices.Collect(r.Entries())) || len(got.Damage()) != 1 {
		t.Errorf("the scan found %+v, damage %v", got.Summary(), got.Damage())
	}
}

func BenchmarkFind(b *testing.B) {
	f := footer{granularity: minute}
	for ref := range uint64(10_000) {
		f.add(entry{ref: 3 * ref, offset: headerLength + 900*int64(ref), length: 900, first: 5, last: 9}, 5)
	}
	ref := uint64(0)
	for b.Loop() {
		if _, ok := f.find(ref); !ok {
			b.Fatal(ref)
		}
		ref = (ref + 3*7919) % 30_000
	}
}

func BenchmarkOpen(b *testing.B) {
	f := footer{granularity: minute}
	for ref := range uint64(10_000) {
		f.add(entry{ref: 3 * ref, offset: headerLength + 900*int64(ref), length: 900, first: 5, last: 9}, 5)
	}
	size := headerLength + 900*int64(10_000)
	footer := f.append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseFooter(footer, size+int64(len(footer))); err != nil {
			b.Fatal(err)
		}
	}
}
