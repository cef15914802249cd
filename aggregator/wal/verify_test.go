package wal

import (
	"bytes"
	"io"
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

// lateReader is a file of which the last bytes are zeros until it was read so often.
type lateReader struct {
	whole []byte
	from  int
	reads int
}

func (r *lateReader) ReadAt(b []byte, offset int64) (int, error) {
	n := copy(b, r.whole[min(int(offset), len(r.whole)):])
	if r.reads--; r.reads >= 0 {
		clear(b[max(0, min(n, r.from-int(offset))):n])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// A record that is being written when it is looked at, and whole a moment later, is not torn.
func TestVerifyLooksAgain(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir})
	fill(t, l, 5, 100)
	last := write(t, l, text(5, 1000))
	whole := readFile(t, segmentFiles(t, dir)[0]) // with zeros behind it
	for reads, torn := range []bool{false, false, true} {
		if torn {
			reads = 1000 // it never becomes whole
		}
		v := verification{report: &Report{}, segment: &segment{}, f: func(Position, []byte) error { return nil }, last: true}
		file := &lateReader{whole, segmentHeaderSize + int(last) + 300, reads}
		if err := v.scan(file, 0, Position(len(whole)-segmentHeaderSize)); err != nil {
			t.Fatal(err)
		}
		if r := v.report; (r.Torn > 0) != torn || r.Lost > 0 || (r.Records == 6) == torn {
			t.Errorf("after %d reads: %+v", reads, *r)
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
