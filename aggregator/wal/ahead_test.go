package wal

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestZerosAhead looks at the file while the log is open, as a crash would leave it.
func TestZerosAhead(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir, SegmentSize: 3*aheadSize - 1000})
	path := segmentFiles(t, dir)[0]
	crashed := func(change func(path string, end int64), torn int64, want []stored) {
		t.Helper()
		copied := memDir(t)
		copyDir(t, dir, copied)
		file := filepath.Join(copied, filepath.Base(path))
		change(file, lastSize(l))
		for _, durable := range []Position{0, want[len(want)-1].at} {
			report, err := Verify(copied, 0, durable, func(Position, []byte) error { return nil })
			if err != nil || report.Records != len(want) || report.Lost != 0 || report.Torn != torn {
				t.Fatalf("verified: %+v, error %v; want %d records and %d bytes torn", report, err, len(want), torn)
			}
		}
		got, report := reread(t, copied)
		expect(t, got, want)
		if report.Lost != 0 || report.Torn != torn {
			t.Fatalf("report %+v, want %d bytes torn", report, torn)
		}
	}
	as := func(string, int64) {}

	want := []stored{{write(t, l, []byte("first")), "first"}}
	size := fileSize(t, path)
	if size != lastSize(l)+aheadSize {
		t.Fatalf("the file has %d bytes, %d of which are records", size, lastSize(l))
	}
	crashed(as, 0, want)

	// Zeros in a record are part of it.
	blank := string(make([]byte, 1000))
	want = append(want, stored{write(t, l, []byte(blank)), blank})
	crashed(as, 0, want)
	if n := fileSize(t, path); n != size {
		t.Fatalf("a record has changed the size of the file to %d", n)
	}

	// A record of which the header is there, and a piece in the middle.
	crashed(func(path string, end int64) {
		b := readFile(t, path)
		copy(b[end:], appendRecordHeader(nil, want[len(want)-1].at, 600, 0))
		b[end+300] = 1
		writeFile(t, path, b)
	}, 304, want)

	// One larger than what was ahead; then up to the end of the segment, and beyond it.
	for i, n := range []int{aheadSize + 5000, 1, aheadSize / 2, aheadSize / 2, aheadSize, 1, 1} {
		record := bytes.Repeat([]byte{byte(i + 1)}, n)
		want = append(want, stored{write(t, l, record), string(record)})
		crashed(as, 0, want)
		if i == 4 {
			if n := fileSize(t, path); n != lastSize(l) || n < l.o.SegmentSize {
				t.Fatalf("a full segment has %d bytes, %d of which are records", n, lastSize(l))
			}
		}
	}
	closeLog(t, l)
	var files int64
	for _, path := range segmentFiles(t, dir) {
		files += fileSize(t, path)
	}
	if s := l.Stats(); files != s.Bytes || s.Segments != 2 {
		t.Fatalf("after Close %d bytes, %+v", files, s)
	}
	got, report := reread(t, dir)
	expect(t, got, want)
	expectSound(t, report)
}

// TestCloseWhileTheLogIsTrimmed cuts the right segment.
func TestCloseWhileTheLogIsTrimmed(t *testing.T) {
	for range 20 {
		dir := memDir(t)
		l := open(t, Options{Dir: dir, SegmentSize: 2000})
		var last stored
		for i := range 30 {
			last = stored{write(t, l, text(i, 500)), string(text(i, 500))}
		}
		trimmed := make(chan error, 1)
		go func() { trimmed <- l.Trim(last.at) }()
		closeLog(t, l)
		if err := <-trimmed; err != nil {
			t.Fatal(err)
		}
		got, report := reread(t, dir)
		expectSound(t, report)
		expect(t, got[len(got)-1:], []stored{last})
	}
}

// noZeros is a file that has no room for zeros.
type noZeros struct{ file }

func (f noZeros) WriteAt(b []byte, offset int64) (int, error) {
	if len(bytes.TrimRight(b, "\x00")) == 0 {
		n, _ := f.file.WriteAt(b[:100], offset)
		return n, syscall.ENOSPC
	}
	return f.file.WriteAt(b, offset)
}

// TestNoRoomForZeros is no failure of the log.
func TestNoRoomForZeros(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir, create: func(path string) (file, error) {
		f, err := createFile(path)
		return noZeros{f}, err
	}})
	want := fill(t, l, 20, 50)
	if err := l.Stats().Err; err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	got, report := reread(t, dir)
	expect(t, got, want)
	expectSound(t, report)
}
