package api

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// binarySeries is a series that was read from the binary form.
type binarySeries struct {
	id     uuid.UUID
	method string
	period timetext.Period
	window.Series
}

// readBinary reads the binary form from its description.
func readBinary(b []byte) ([]binarySeries, error) {
	if !strings.HasPrefix(string(b), "NEPHOMS1") {
		return nil, fmt.Errorf("no magic: %q", b[:min(8, len(b))])
	}
	b = b[8:]
	var all []binarySeries
	for {
		if len(b) < 48 {
			return nil, fmt.Errorf("%d bytes of a head", len(b))
		}
		var s binarySeries
		copy(s.id[:], b)
		granularity := binary.LittleEndian.Uint64(b[16:])
		count, runs := int(binary.LittleEndian.Uint32(b[24:])), int(binary.LittleEndian.Uint32(b[28:]))
		s.method = string(b[34 : 34+b[32]])
		s.period = timetext.Period{Span: time.Duration(granularity), Letter: b[33]}
		b = b[48:]
		if s.method == "" {
			if granularity != uint64(len(all)) || len(b) > 0 {
				return nil, fmt.Errorf("%d series, told %d, and %d bytes more", len(all), granularity, len(b))
			}
			return all, nil
		}
		for ; runs > 0; runs-- {
			t, n := int64(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint64(b[8:])
			for range n {
				s.Times = append(s.Times, t)
				t += int64(granularity)
			}
			b = b[16:]
		}
		if len(s.Times) != count {
			return nil, fmt.Errorf("%d times of %d measures", len(s.Times), count)
		}
		for range count {
			s.Values = append(s.Values, math.Float64frombits(binary.LittleEndian.Uint64(b)))
			b = b[8:]
		}
		all = append(all, s)
	}
}

func TestBinary(t *testing.T) {
	minute := timetext.Period{Span: time.Minute}
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).UnixNano()
	id := uuid.MustParse("2cfdc9ae-8e6a-4b1c-9d5e-0f2a7c1b3d4e")
	want := []binarySeries{
		{id, "mean", minute, window.Series{Times: []int64{at, at + 60e9, at + 180e9}, Values: []float64{1, math.Inf(-1), 0.1}}},
		{id, "rate:99pct", minute, window.Series{}},
		{uuid.Max, "count", timetext.Period{Letter: 'M'}, window.Series{Times: []int64{at - 30*86400e9, at}, Values: []float64{3, 4}}},
	}
	w := httptest.NewRecorder()
	var b binaryWriter
	b.start(w)
	for _, s := range want {
		m, err := policy.ParseMethod(s.method)
		if err != nil {
			t.Fatal(err)
		}
		b.series(s.id, m, s.period, &s.Series)
	}
	b.end()
	if err := b.finish(); err != nil {
		t.Fatal(err)
	}
	if w.Body.Len()%8 != 0 || w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
		t.Errorf("%d bytes, told %s", w.Body.Len(), w.Header().Get("Content-Length"))
	}
	got, err := readBinary(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d series", len(got))
	}
	for i, s := range want {
		g := got[i]
		if g.id != s.id || g.method != s.method || g.period != s.period || !slices.Equal(g.Times, s.Times) || !slices.Equal(g.Values, s.Values) {
			t.Errorf("%+v, want %+v", g, s)
		}
	}
	// 8 for the start, 48 a head, two runs, three values; two runs, two values; and the end.
	if want := 8 + 4*48 + 2*16 + 3*8 + 2*16 + 2*8; w.Body.Len() != want {
		t.Errorf("%d bytes, want %d", w.Body.Len(), want)
	}
}

func TestBinaryTellsThatItWasCutOff(t *testing.T) {
	s := benchmarkSeries(10)
	b := appendSeries([]byte(binaryMagic), uuid.Max, policy.Mean, timetext.Period{Span: time.Minute}, s)
	if _, err := readBinary(b); err == nil {
		t.Error("an answer without its end is whole")
	}
}

// The longest name of a method has to fit.
func TestBinaryMethodNames(t *testing.T) {
	for m := range policy.Method(policy.Methods) {
		if n := len(m.String()); n > binaryHead-binaryName {
			t.Errorf("%v has %d bytes", m, n)
		}
	}
}

func BenchmarkBinary(b *testing.B) {
	s := benchmarkSeries(9070)
	w := httptest.NewRecorder()
	var bw binaryWriter
	b.ReportAllocs()
	for b.Loop() {
		w.Body.Reset()
		bw.start(w)
		bw.series(uuid.Max, policy.Mean, timetext.Period{Span: time.Minute}, s)
		bw.end()
		if err := bw.finish(); err != nil {
			b.Fatal(err)
		}
	}
}
