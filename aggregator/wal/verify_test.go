package wal

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
)

// verify returns what Verify finds in a folder, in which it must change nothing.
func verify(t testing.TB, dir string, from, durable Position) ([]stored, Report) {
	t.Helper()
	var all []stored
	report, err := Verify(dir, from, durable, func(p Position, record []byte) error {
		all = append(all, stored{p, string(record)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Records != len(all) {
		t.Fatalf("report of %d records, %d were given", report.Records, len(all))
	}
	return all, report
}

// What Verify tells of a damaged log is what the next start finds.
func TestVerifyTellsWhatReplayWould(t *testing.T) {
	master := filledDir(t, 6)
	for _, path := range segmentFiles(t, master) {
		whole := readFile(t, path)
		for i := range whole {
			for name, b := range map[string][]byte{"flipped": bytes.Clone(whole), "cut": whole[:i]} {
				if name == "flipped" {
					b[i] ^= byte(1 << (i % 8))
				}
				dir := memDir(t)
				copyDir(t, master, dir)
				writeFile(t, filepath.Join(dir, filepath.Base(path)), b)
				files := len(segmentFiles(t, dir))
				got, report := verify(t, dir, 0, 0)
				if after := readFile(t, filepath.Join(dir, filepath.Base(path))); !bytes.Equal(after, b) || len(segmentFiles(t, dir)) != files {
					t.Fatalf("byte %d of %s %s: the log was changed", i, path, name)
				}
				want, later := reread(t, dir)
				expect(t, got, want)
				if !reflect.DeepEqual(report, later) {
					t.Fatalf("byte %d of %s %s: report %+v, the next start's is %+v", i, path, name, report, later)
				}
			}
		}
	}
}

func TestVerifyFrom(t *testing.T) {
	dir := filledDir(t, 6)
	all, _ := reread(t, dir)
	for i, r := range all {
		got, report := verify(t, dir, r.at, 0)
		expect(t, got, all[i:])
		expectSound(t, report)
	}
	// The oldest segment is missing, in which there was something.
	if err := os.Remove(segmentFiles(t, dir)[0]); err != nil {
		t.Fatal(err)
	}
	second := all[6].at
	got, report := verify(t, dir, all[3].at, 0)
	expect(t, got, all[6:])
	if report.Lost != second.minus(all[3].at) || len(report.Damage) != 1 {
		t.Errorf("report %+v", report)
	}
	got, report = verify(t, dir, second, 0)
	expect(t, got, all[6:])
	expectSound(t, report)
}

// A record that is known to have been written cannot be torn.
func TestVerifyDurable(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir})
	fill(t, l, 2, 10)
	last := frame(16)
	write(t, l, text(2, 16))
	end := l.Position()
	closeLog(t, l)
	path := segmentFiles(t, dir)[0]
	b := readFile(t, path)
	writeFile(t, path, b[:len(b)-1])
	if _, report := verify(t, dir, 0, 0); report.Lost != 0 || report.Torn != last-1 {
		t.Errorf("report %+v", report)
	}
	if _, report := verify(t, dir, 0, end); report.Lost != last || report.Torn != 0 || len(report.Damage) != 1 {
		t.Errorf("report %+v", report)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, report := verify(t, dir, 0, end); report.Lost != end.minus(0) {
		t.Errorf("report %+v", report)
	}
}

// views is a file that changes: each read sees the next of its contents, and at last the same one.
type views struct {
	contents [][]byte
	reads    int
}

func (v *views) ReadAt(b []byte, offset int64) (int, error) {
	whole := v.contents[min(v.reads, len(v.contents)-1)]
	v.reads++
	return bytes.NewReader(whole).ReadAt(b, offset)
}

// Records that come while they are looked for are neither torn nor lost.
func TestVerifyLooksAgain(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir})
	first := fill(t, l, 5, 100)
	second, third := write(t, l, text(5, 1000)), write(t, l, text(6, 1000))
	end := l.Position()
	whole := readFile(t, segmentFiles(t, dir)[0]) // with zeros behind the records
	without := func(from, to Position) []byte {
		b := bytes.Clone(whole)
		clear(b[segmentHeaderSize+int(from) : segmentHeaderSize+int(to)])
		return b
	}
	before, half, later := without(second, end), without(third-300, end), without(second, third)
	for _, c := range []struct {
		contents      [][]byte
		more          int
		torn, damaged bool
	}{
		{[][]byte{before}, 0, false, false},
		{[][]byte{before, whole}, 2, false, false},
		{[][]byte{half, whole}, 2, false, false},
		{[][]byte{half}, 0, true, false},
		{[][]byte{later, whole}, 2, false, false},
		{[][]byte{before, later, whole}, 2, false, false},
		{[][]byte{later}, 1, false, true},
		{[][]byte{before, later}, 1, false, true},
	} {
		v := verification{report: &Report{}, segment: &segment{}, f: func(Position, []byte) error { return nil }, last: true}
		if err := v.scan(&views{contents: c.contents}, 0, Position(len(whole)-segmentHeaderSize)); err != nil {
			t.Fatal(err)
		}
		if r := v.report; (r.Torn > 0) != c.torn || (r.Lost > 0) != c.damaged || r.Records != len(first)+c.more {
			t.Errorf("%d contents, %d records more, torn %v, damaged %v: %+v", len(c.contents), c.more, c.torn, c.damaged, *r)
		}
	}
}

// A log that is written, rotated and trimmed meanwhile is sound.
func TestVerifyWhileTheLogIsInUse(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir, SegmentSize: 64 << 10})
	var from atomic.Uint64
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range 3000 {
			p := write(t, l, text(i, 10+i*7%5000))
			if i%100 == 99 {
				from.Store(uint64(p))
				if err := l.Trim(p); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for {
		begun := Position(from.Load())
		_, report := verify(t, dir, begun, 0)
		// What was trimmed meanwhile was not needed any more.
		for _, d := range report.Damage {
			if now := Position(from.Load()); d.To > now {
				t.Fatalf("damage %v of a log that is in use, of which all from %v on is needed", d, now)
			}
		}
		select {
		case <-written:
			return
		default:
		}
	}
}
