package wal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"path/filepath"
	"testing"
)

// FuzzOpen opens a log whose second segment is garbage. With sums, the checksums in it
// are made right, so that nonsense gets further.
func FuzzOpen(f *testing.F) {
	dir := filledDir(f, 5)
	for _, path := range segmentFiles(f, dir) {
		b := readFile(f, path)
		f.Add(b, true)
		f.Add(b[:len(b)-len(b)/5], false)
		f.Add(append(bytes.Clone(b), b...), true)
	}
	f.Add([]byte(nil), false)
	first := readFile(f, segmentFiles(f, dir)[0])
	start := Position(len(first) - segmentHeaderSize)
	f.Fuzz(func(t *testing.T, segment []byte, sums bool) {
		segment = bytes.Clone(segment)
		if sums {
			mend(segment, start)
		}
		dir := memDir(t)
		writeFile(t, filepath.Join(dir, SegmentName(0)), first)
		writeFile(t, filepath.Join(dir, SegmentName(start)), segment)
		l, err := Open(Options{Dir: dir})
		if err != nil {
			t.Skip(err) // another version, or another position
		}
		got, report := replay(t, l, 0)
		if len(got) == 0 || got[0].at != 0 {
			t.Fatal("the sound segment before it is not read")
		}
		for i := range got[1:] {
			if got[i+1].at < got[i].at+Position(frame(int64(len(got[i].record)))) {
				t.Fatalf("position %s after %s", got[i+1].at, got[i].at)
			}
		}
		if room := int64(len(first) + len(segment)); report.Torn > room || report.Lost > room || report.Bytes > room {
			t.Fatalf("report %+v of %d bytes", report, room)
		}
		write(t, l, []byte("the last"))
		closeLog(t, l)
		again, _ := reread(t, dir)
		if n := len(again); n != len(got)+1 || again[n-1].record != "the last" {
			t.Fatalf("%d records, then %d", len(got), n)
		}
		expect(t, again[:len(got)], got)
	})
}

// mend rewrites the checksums of whatever stands where a header would.
func mend(b []byte, start Position) {
	if len(b) >= segmentHeaderSize {
		copy(b, appendSegmentHeader(nil, start, start))
	}
	for at := segmentHeaderSize; at+recordHeaderSize <= len(b); {
		r := b[at:]
		binary.LittleEndian.PutUint32(r, recordMagic)
		size := int(binary.LittleEndian.Uint32(r[4:]) % 300)
		binary.LittleEndian.PutUint32(r[4:], uint32(size))
		if size <= len(r)-recordHeaderSize {
			binary.LittleEndian.PutUint32(r[8:], crc32.Checksum(r[recordHeaderSize:recordHeaderSize+size], castagnoli))
		}
		binary.LittleEndian.PutUint32(r[12:], headerSum(start+Position(at-segmentHeaderSize), r))
		at += int(frame(int64(size)))
	}
}
