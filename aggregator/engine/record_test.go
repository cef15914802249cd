package engine

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nephoscope/nepho/aggregator/window"
)

func samePoint(a, b window.Point) bool { return a.Time == b.Time && sameBits(a.Value, b.Value) }

func sameBatch(a, b *Batch) bool {
	return slices.Equal(a.metrics, b.metrics) && slices.EqualFunc(a.points, b.points, samePoint)
}

// randomBatch has metrics of all shapes and clocks.
func randomBatch(r *rand.Rand) *Batch {
	b := &Batch{}
	for range r.IntN(20) {
		b.Metric(Ref(r.Uint64N(1<<r.IntN(32))), uint32(r.IntN(3)))
		clock, shape := pick(r, clocks), pick(r, shapes)
		at := int64(1.7e18) - r.Int64N(1e18)
		for i := range r.IntN(1 + r.IntN(50)) {
			b.Point(at, shape(r, i))
			at += clock(r) % 1e15
			if r.IntN(20) == 0 {
				at -= r.Int64N(1e15)
			}
		}
	}
	return b
}

func pick[V any](r *rand.Rand, m map[string]V) V {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return m[names[r.IntN(len(names))]]
}

func TestRecordsComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var got Batch
	for range 2000 {
		b := randomBatch(r)
		record := appendWrite(nil, b)
		if refs, err := readRecord(record, &got); err != nil || refs != nil || !sameBatch(b, &got) {
			t.Fatalf("another batch comes back: %v", err)
		}
		for _, short := range []int{0, 1, len(record) / 2, len(record) - 1} {
			if _, err := readRecord(record[:short], &got); err == nil {
				t.Fatalf("%d of %d bytes of a record are taken for one", short, len(record))
			}
		}
		refs := make([]Ref, r.IntN(5))
		for i := range refs {
			refs[i] = Ref(r.Uint64N(MaxRef))
		}
		if back, err := readRecord(appendForget(nil, refs), &got); err != nil || !slices.Equal(back, refs) || got.Points() != 0 {
			t.Fatalf("%v were forgotten, %v come back: %v", refs, back, err)
		}
	}
}

// Whatever comes before them, decimals take little, and what is none comes back.
func TestRecordsOfDecimals(t *testing.T) {
	const none = 1.0 / 3
	for _, values := range [][]float64{
		{1, 2, 3}, {1, 2, 0.25}, {1, 2, 0.25, 7, 1e-9}, {0.25, 1, 2}, {1 << 52, 3}, {none}, {1, 2, none}, {1e-9, 1 << 52}, {none, 1}, {-0.5, 0},
	} {
		for _, first := range []float64{1, 0.1, 0.123456789, none} {
			var b, got Batch
			b.Metric(1, 1)
			b.Point(1, first)
			b.Metric(2, 1)
			for i, v := range values {
				b.Point(int64(i), v)
			}
			record := appendWrite(nil, &b)
			if _, err := readRecord(record, &got); err != nil || !sameBatch(&b, &got) {
				t.Errorf("%v behind %v: %v, %v", values, first, got, err)
			}
			_, decimal := scale(values, make([]int64, len(values)))
			if raw := 8 * len(values); decimal && first != none && len(record) > 24+raw {
				t.Errorf("%v behind %v take %d bytes", values, first, len(record))
			}
		}
	}
}

func TestRecordsNameNoMetricThatThereCannotBe(t *testing.T) {
	var b Batch
	if refs, err := readRecord(appendForget(nil, []Ref{1, MaxRef + 1}), &b); err == nil {
		t.Errorf("%v", refs)
	}
	b.Metric(MaxRef+1, 1)
	if _, err := readRecord(appendWrite(nil, &b), new(Batch)); err == nil {
		t.Error("a batch is taken")
	}
}

func FuzzRecord(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		f.Add(appendWrite(nil, randomBatch(r)))
	}
	f.Add(appendForget(nil, []Ref{1, 2, 1 << 20}))
	f.Fuzz(func(t *testing.T, record []byte) {
		var b, again Batch
		refs, err := readRecord(record, &b)
		if err != nil || record[0] == recordForget {
			return
		}
		if refs != nil {
			t.Fatal("a record of a write forgets metrics")
		}
		if _, err := readRecord(appendWrite(nil, &b), &again); err != nil || !sameBatch(&b, &again) {
			t.Fatalf("another batch comes back: %v", err)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	f := func(name string, metrics, points int, shape string) {
		r := rand.New(rand.NewPCG(1, 2))
		var batch Batch
		for m := range metrics {
			batch.Metric(Ref(m), 2)
			for i := range points {
				batch.Point(1.7e18+int64(i)*10e9, shapes[shape](r, i))
			}
		}
		var record []byte
		report := func(b *testing.B) {
			b.ReportMetric(float64(b.N*metrics*points)/b.Elapsed().Seconds()/1e6, "Mpoints/s")
			b.ReportMetric(float64(len(record))/float64(metrics*points), "B/point")
		}
		b.Run(name+"/write", func(b *testing.B) {
			for b.Loop() {
				record = appendWrite(record[:0], &batch)
			}
			report(b)
		})
		b.Run(name+"/read", func(b *testing.B) {
			var again Batch
			for b.Loop() {
				if _, err := readRecord(record, &again); err != nil {
					b.Fatal(err)
				}
			}
			report(b)
		})
	}
	f("10000x1", 10000, 1, "two decimals")
	f("100x60", 100, 60, "two decimals")
	f("100x60 precise", 100, 60, "precise")
}
