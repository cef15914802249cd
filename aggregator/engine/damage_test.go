package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// hurt is a store with 20 metrics, of which the windows of six hours are in blocks and
// points of most of an hour in the head object.
type hurt struct {
	t     *testing.T
	store *memory
	dir   string
	want  map[Query]window.Frame
}

const hurtMetrics = 20

func newHurt(t *testing.T) *hurt {
	h := &hurt{t: t, store: newMemory(), dir: t.TempDir(), want: map[Query]window.Frame{}}
	e := node(t, h.dir, h.store)
	r := rand.New(rand.NewPCG(1, 2))
	var b Batch
	for ref := range Ref(hurtMetrics) {
		b.Metric(ref, medium.ID)
		for i := range 390 {
			b.Point(testNow.Add(-390*time.Minute+time.Duration(i)*time.Minute).UnixNano(), float64(r.IntN(1000)))
		}
	}
	if _, err := e.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	e = node(t, h.dir, h.store)
	for ref := range Ref(hurtMetrics) {
		for _, d := range medium.Definitions {
			q := Query{ref, d.Granularity, methods, math.MinInt64, math.MaxInt64}
			var f window.Frame
			if err := e.Frame(t.Context(), q, &f); err != nil || f.Len() == 0 {
				t.Fatal(f.Len(), err)
			}
			h.want[q] = f
		}
	}
	if err := e.free(); err != nil {
		t.Fatal(err)
	}
	return h
}

// ask asks for everything, and gives the metrics that can't be answered; all others
// must be.
func (h *hurt) ask(e *Engine) (lost []Ref) {
	h.t.Helper()
	var queries []Query
	for q := range h.want {
		queries = append(queries, q)
	}
	err := e.Frames(h.t.Context(), queries, func(i int, f *window.Frame) error {
		want := h.want[queries[i]]
		if c, place, ok := same(f, &want); !ok {
			return fmt.Errorf("%+v is answered in another way: column %v, window %d", queries[i], c, place)
		}
		return nil
	})
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		h.t.Fatal(err)
	}
	for _, err := range joined.Unwrap() {
		var failed *QueryError
		var missing *LostError
		if !errors.As(err, &failed) || !errors.As(err, &missing) {
			h.t.Fatal(err)
		}
		if missing.Ref != queries[failed.Index].Ref || missing.From >= missing.To {
			h.t.Fatalf("%+v", missing)
		}
		lost = append(lost, missing.Ref)
	}
	slices.Sort(lost)
	return slices.Compact(lost)
}

// only is the one object of a folder.
func (h *hurt) only(folder string) objects.Info {
	h.t.Helper()
	for info, err := range h.store.List(h.t.Context(), folder) {
		if err != nil {
			h.t.Fatal(err)
		}
		return info
	}
	h.t.Fatalf("no object in %s", folder)
	return objects.Info{}
}

// TestDamageCostsOnlyItself flips any bit of the objects. What can't be read is
// reported and counted, and everything else is answered as before.
func TestDamageCostsOnlyItself(t *testing.T) {
	h := newHurt(t)
	r := rand.New(rand.NewPCG(3, 4))
	costs := map[string]int{}
	for i := range 100 {
		folder := []string{headFolder, blockFolder}[i%2]
		if i >= 90 {
			folder = tableFolder
		}
		o := h.only(folder)
		at := r.Int64N(o.Size)
		if i < 2 {
			at = o.Size - 1 - int64(i)
		}
		h.store.flip(o.Name, at)
		var logged bytes.Buffer
		e := node(t, h.dir, h.store, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&logged, nil)) })
		lost := h.ask(e)
		if len(lost) > 1 {
			t.Errorf("a bit at %d of %d of %s costs metrics %v", at, o.Size, o.Name, lost)
		}
		costs[folder] += len(lost)
		if e.Stats().Damaged == 0 && len(lost) > 0 || strings.Contains(logged.String(), o.Name) != (e.Stats().Damaged > 0) {
			t.Errorf("a bit at %d of %s: %d damaged, and the log is %q", at, o.Name, e.Stats().Damaged, logged.String())
		}
		if err := e.free(); err != nil {
			t.Fatal(err)
		}
		h.store.flip(o.Name, at)
	}
	if costs[headFolder] == 0 || costs[blockFolder] == 0 || costs[tableFolder] > 0 {
		t.Fatalf("damage costs %v", costs)
	}
}

// damageHead damages the points of one metric in the head object.
func (h *hurt) damageHead(ref Ref) {
	h.t.Helper()
	o := h.only(headFolder)
	table, err := readHeadTable(h.t.Context(), h.store, objectInfo{o.Name, o.Size})
	if err != nil {
		h.t.Fatal(err)
	}
	r := reader{b: table.states}
	at, entry := int64(len(headMagic)), headEntry{}
	for range hurtMetrics {
		entry = r.headEntry(entry.ref)
		n := int64(r.uvarint())
		if entry.ref == ref {
			h.store.flip(o.Name, at+chunkHeader+n-2)
			return
		}
		at += chunkHeader + n
	}
	h.t.Fatal("it is not there")
}

// TestLostPointsStayLost follows a metric whose points in the head object are damaged: its
// windows of that time are never answered as if they were whole, its other ones are.
func TestLostPointsStayLost(t *testing.T) {
	h := newHurt(t)
	h.damageHead(7)
	e := node(t, h.dir, h.store)
	hour := policy.Floor(testNow.UnixNano(), int64(time.Hour))
	if testNow.UnixNano() != hour {
		t.Fatal("the test wants a full hour")
	}
	check := func(from, to time.Duration, want error) {
		t.Helper()
		for _, g := range []time.Duration{time.Minute, time.Hour} {
			var f window.Frame
			err := e.Frame(t.Context(), Query{7, g, methods, hour + int64(from), hour + int64(to)}, &f)
			if want == nil && (err != nil || f.Len() == 0) {
				t.Errorf("%v from %v to %v: %d windows, %v", g, from, to, f.Len(), err)
			}
			if lost := new(LostError); want != nil && (!errors.As(err, &lost) || f.Len() > 0) {
				t.Errorf("%v from %v to %v: %d windows, %v", g, from, to, f.Len(), err)
			}
		}
	}
	lost := &LostError{}
	for round := range 4 {
		if got := h.ask(e); !slices.Equal(got, []Ref{7}) {
			t.Fatalf("round %d: metrics %v are lost", round, got)
		}
		check(-6*time.Hour, -time.Hour, nil)
		check(-2*time.Hour, 0, lost)
		check(-time.Hour, -50*time.Minute, lost)
		switch round {
		case 0: // points of the same hour, and of the next
			put(t, e, 7, testNow.Add(-10*time.Second), 1, 2, 3)
			check(0, time.Hour, nil)
		case 1: // the lost hour is closed
			put(t, e, 7, testNow.Add(59*time.Minute), 1)
			if err := e.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			if points, _ := e.head.points(7); len(points) == 0 {
				t.Fatal("points that came after the damage are lost")
			}
		case 2:
			check(0, time.Hour, nil)
			if err := e.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			e = node(t, h.dir, h.store)
		}
		for q := range h.want {
			if q.Ref == 7 && q.To == math.MaxInt64 {
				delete(h.want, q)
				q.From = hour - int64(2*time.Hour)
				h.want[q] = window.Frame{}
			}
		}
	}
}

// TestPointsAfterDamageAreKept writes points that are older than the newest one, which is
// lost, and restarts.
func TestPointsAfterDamageAreKept(t *testing.T) {
	h := newHurt(t)
	h.damageHead(7)
	for round := range 3 {
		e := node(t, h.dir, h.store)
		if round == 1 {
			put(t, e, 7, testNow.Add(-95*time.Second), 5)
		}
		if n := len(e.losses.byRef); n != 1 {
			t.Fatalf("lost: %+v", e.losses.byRef)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	e := node(t, h.dir, h.store)
	if times, values := e.head.points(7); len(times) != 1 || values[0] != 5 || e.Stats().Damaged != 0 {
		t.Fatalf("%v, %v, %d damaged", times, values, e.Stats().Damaged)
	}
	if lost := h.ask(e); !slices.Equal(lost, []Ref{7}) {
		t.Fatalf("%v", lost)
	}
}

func TestTheFirstRateAfterLostPointsIsLost(t *testing.T) {
	rates := define(9, 0, policy.Definition{Granularity: time.Minute})
	rates.Methods = policy.SetOf(policy.Mean.Rate())
	l := loss{span: hole{120e9, 200e9}}
	f := func(p *policy.Policy, times []int64, before, after int64) {
		t.Helper()
		if b, a := l.hole(p, times).around(60e9, 0, 600e9); b != before*1e9 || a != after*1e9 {
			t.Errorf("points %v: hole from %d to %d, want %d to %d", times, b, a, before, after)
		}
	}
	f(rates, []int64{100e9, 300e9, 400e9}, 120, 360)
	f(rates, []int64{100e9}, 120, 240)
	f(medium, []int64{100e9, 300e9, 400e9}, 120, 240)
	l = loss{}
	f(rates, []int64{100e9, 300e9}, 600, 600)
}

// TestLostPointsAreForgottenWhenTheyArePast looks at the list of what was lost.
func TestLostPointsAreForgottenWhenTheyArePast(t *testing.T) {
	h := newHurt(t)
	h.damageHead(3)
	h.damageHead(4)
	clock := newClock()
	e := node(t, h.dir, h.store, func(o *Options) { o.Now = clock.now })
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(e.losses.byRef); n != 2 {
		t.Fatalf("%d", n)
	}
	clock.pass(367 * 24 * time.Hour)
	put(t, e, 3, clock.now(), 1)
	if err := e.Forget(t.Context(), []Ref{4}); err != nil {
		t.Fatal(err)
	}
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(e.losses.byRef); n != 0 {
		t.Fatalf("%v", e.losses.byRef)
	}
}

func TestADamagedBlockFileIsNotMerged(t *testing.T) {
	h := newHurt(t)
	var file blockInfo
	var e *Engine
	clock := newClock()
	reopen := func() {
		if e != nil {
			if err := e.free(); err != nil {
				t.Fatal(err)
			}
		}
		e = node(t, h.dir, h.store, func(o *Options) { o.Now = clock.now })
		for _, b := range e.manifest.Blocks {
			if b.Granularity == int64(time.Minute) && b.Level == 0 {
				file = b
			}
		}
	}
	reopen()
	h.store.flip(file.Name, file.Size/2)
	reopen()
	lost := h.ask(e)
	if len(lost) != 1 {
		t.Fatalf("%v", lost)
	}
	for range 30 {
		clock.pass(time.Hour)
		for ref := range Ref(hurtMetrics) {
			put(t, e, ref, clock.now(), 1)
		}
		if err := e.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	merged, damaged := false, false
	blocks := blocksOf(e)
	for _, b := range blocks {
		merged = merged || b.Level > 0
		damaged = damaged || b.Damaged && b.Name == file.Name
	}
	if !merged || !damaged {
		t.Fatalf("%+v", blocks)
	}
	for q := range h.want {
		want := h.want[q]
		delete(h.want, q)
		if q.To = testNow.UnixNano() - int64(time.Hour); want.Granularity == int64(time.Minute) {
			want.Cut(math.MinInt64, q.To)
			h.want[q] = want
		}
	}
	if got := h.ask(e); !slices.Equal(got, lost) {
		t.Fatalf("metrics %v are lost, at first it was %v", got, lost)
	}
}

func TestADamagedManifestStopsTheStart(t *testing.T) {
	h := newHurt(t)
	for _, at := range []int64{0, 16, 20, 30, 200} {
		h.store.flip(manifestName, at)
		if _, err := tryNode(t, h.dir, h.store); err == nil || !strings.Contains(err.Error(), "manifest") {
			t.Errorf("bit at %d: %v", at, err)
		}
		h.store.flip(manifestName, at)
	}
	h.ask(node(t, h.dir, h.store))
}

func TestDamageOfTheLogCostsTheRecordsItHits(t *testing.T) {
	f := func(shipped int, lost int) {
		t.Helper()
		store, dir := newMemory(), t.TempDir()
		e := node(t, dir, store)
		for i := range 10 {
			// The order counts: later points of the same time take the place of those before.
			put(t, e, Ref(i), testNow, 1, 2, 3)
			put(t, e, 20, testNow, float64(i))
			if i < shipped && i%2 == 0 {
				if err := e.ship(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := e.free(); err != nil {
			t.Fatal(err)
		}
		segments, err := filepath.Glob(filepath.Join(e.logDir(), "*.wal"))
		if err != nil || len(segments) != 1 {
			t.Fatal(segments, err)
		}
		data, err := os.ReadFile(segments[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{len(data) / 4, len(data) * 3 / 4} {
			data[at] ^= 1
		}
		if err := os.WriteFile(segments[0], data, 0o600); err != nil {
			t.Fatal(err)
		}
		for round := range 2 {
			e = node(t, dir, store)
			there := 0
			for ref := range Ref(10) {
				if got := sums(t, e, ref, time.Hour); slices.Equal(got, []float64{6}) {
					there++
				} else if len(got) > 0 {
					t.Fatalf("%v", got)
				}
			}
			if got := sums(t, e, 20, time.Hour); !slices.Equal(got, []float64{9}) {
				t.Errorf("%v", got)
			}
			if want := lost * (1 - round); there < 10-lost || int(e.Stats().Damaged) != want {
				t.Errorf("start %d, %d shipped: %d metrics are there, %d damaged, want %d", round, shipped, there, e.Stats().Damaged, want)
			}
			if err := e.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	f(0, 2)
	f(5, 1)
	f(10, 0)
}

func FuzzManifest(f *testing.F) {
	m := manifest{Epoch: 3, Owner: "0123456789abcdef", Head: objectInfo{"heads/1", 5}, Saved: testNow,
		Blocks: []blockInfo{{objectInfo: objectInfo{"blocks/1", 7}, Granularity: 1e9, First: 1, Last: 2}}}
	data, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte(manifestMagic + "00000000\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeManifest(data)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeManifest(again); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzHead(f *testing.F) {
	var out bytes.Buffer
	w := newHeadWriter(&out)
	r := rand.New(rand.NewPCG(1, 2))
	for ref := range Ref(5) {
		times, values := []int64{1e18, 1e18 + 5, 1e18 + 10e9*int64(ref+1)}, []float64{1, r.Float64(), math.NaN()}
		entry := headEntry{ref: ref * 3, policy: 2, newest: times[2], edge: noTime}
		if ref%2 == 0 {
			entry.edge = 1e18
		}
		if ref == 3 {
			entry.lost = hole{MinTime, 1e18 + 1}
		}
		entry.gone = ref == 4
		w.add(entry, times[0], packAll(nil, times, values))
	}
	if _, err := w.close(); err != nil {
		f.Fatal(err)
	}
	var second bytes.Buffer
	if _, err := w.writeTable(&second); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes(), second.Bytes(), false)
	f.Add(out.Bytes()[:out.Len()-3], second.Bytes(), true)
	f.Fuzz(func(t *testing.T, data, second []byte, mend bool) {
		if mend && len(data) >= headTrailer {
			data = mendHead(data)
		}
		if mend && len(second) >= headTrailer {
			second = mendHead(second)
		}
		store := newMemory()
		store.objects["heads/1"], store.objects["headtables/1"] = data, second
		h := &head{}
		before, first := Ref(0), true
		err := readHead(context.Background(), store, objectInfo{"heads/1", int64(len(data))}, objectInfo{"headtables/1", int64(len(second))}, func(c *headChunk) error {
			if !first && c.ref <= before {
				t.Fatalf("metric %d after %d", c.ref, before)
			}
			before, first = c.ref, false
			if c.ref < 1<<16 && !c.gone {
				h.load(c)
				if times, _ := h.points(c.ref); !slices.Equal(times, c.times) {
					t.Fatalf("other points come back")
				}
			}
			return nil
		}, func(headDamage) {})
		if err != nil && !errors.Is(err, errHead) {
			t.Fatal(err)
		}
	})
}

// mendHead makes the checksum of the table right.
func mendHead(data []byte) []byte {
	data = slices.Clone(data)
	trailer := data[len(data)-headTrailer:]
	copy(trailer[28:], tableMagic)
	at := binary.LittleEndian.Uint64(trailer)
	if end := uint64(len(data) - headTrailer); at <= end {
		binary.LittleEndian.PutUint64(trailer[8:], end-at)
		binary.LittleEndian.PutUint32(trailer[24:], crc32.Update(crc32.Checksum(data[at:end], castagnoli), castagnoli, trailer[:24]))
	}
	return data
}
