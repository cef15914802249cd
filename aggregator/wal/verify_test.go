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
