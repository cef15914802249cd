package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func sumUp(header []byte) []byte {
	return binary.LittleEndian.AppendUint32(header, crc32.Checksum(header, castagnoli))
}

// filledDir is the folder of a log with n records in each of two segments, the last one of which
// was written after the others were durable.
func filledDir(t testing.TB, n int) string {
	t.Helper()
	dir := memDir(t)
	for range 2 {
		l := open(t, Options{Dir: dir})
		fill(t, l, n-1, 10)
		write(t, l, text(n-1, 10+(n-1)%13))
		closeLog(t, l)
	}
	return dir
}

// TestTornAtEveryByte cuts the last segment at each length that it can have.
func TestTornAtEveryByte(t *testing.T) {
	master := filledDir(t, 6)
	all, _ := reread(t, master)
	path := segmentFiles(t, master)
	whole := readFile(t, path[len(path)-2]) // the last one is empty
	name := filepath.Base(path[len(path)-2])
	start, _ := parseSegmentName(name)
	for size := range whole {
		dir := memDir(t)
		writeFile(t, filepath.Join(dir, filepath.Base(path[0])), readFile(t, path[0]))
		writeFile(t, filepath.Join(dir, name), whole[:size])
		end := start + Position(max(0, size-segmentHeaderSize))
		var want []stored
		sound := min(start, end)
		for _, r := range all {
			if next := r.at + Position(frame(int64(len(r.record)))); r.at < start || next <= end {
				want = append(want, r)
				sound = max(start, next)
			}
		}
		sound = max(sound, start)
		for range 2 { // the second time, nothing is torn any more
			l := open(t, Options{Dir: dir})
			got, report := replay(t, l, 0)
			expect(t, got, want)
			if report.Lost != 0 || report.Torn != end.minus(sound) {
				t.Fatalf("cut at %d: report %+v, %d bytes are torn", size, report, end.minus(sound))
			}
			record := []byte("goes on")
			want = append(want, stored{write(t, l, record), string(record)})
			closeLog(t, l)
			sound, end = 0, 0
		}
		got, report := reread(t, dir)
		expect(t, got, want)
		expectSound(t, report)
	}
}

// TestFlippedAtEveryByte damages each byte of a log in turn.
func TestFlippedAtEveryByte(t *testing.T) {
	master := filledDir(t, 6)
	all, _ := reread(t, master)
	for _, path := range segmentFiles(t, master) {
		whole := readFile(t, path)
		start, _ := parseSegmentName(filepath.Base(path))
		for i := range whole {
			dir := memDir(t)
			copyDir(t, master, dir)
			b := bytes.Clone(whole)
			b[i] ^= byte(1 << (i % 8))
			writeFile(t, filepath.Join(dir, filepath.Base(path)), b)
			hit := start + Position(i-segmentHeaderSize)
			var want []stored
			var lost int64
			for _, r := range all {
				used := Position(recordHeaderSize + len(r.record)) // without the zeros behind it
				if i >= segmentHeaderSize && hit >= r.at && hit < r.at+used {
					lost = frame(int64(len(r.record)))
					continue
				}
				want = append(want, r)
			}
			got, report := reread(t, dir)
			expect(t, got, want)
			// The last record may as well have been half-written.
			if report.Lost+report.Torn != lost {
				t.Fatalf("byte %d of %s: report %+v, %d bytes were lost", i, path, report, lost)
			}
			if report.Torn != 0 && hit < all[len(all)-1].at {
				t.Fatalf("byte %d of %s: report %+v", i, path, report)
			}
			if report.Lost != 0 && (len(report.Damage) != 1 || report.Damage[0].From > hit || report.Damage[0].To <= hit ||
				report.Damage[0].File != filepath.Join(dir, filepath.Base(path))) {
				t.Fatalf("byte %d of %s: damage %v", i, path, report.Damage)
			}
		}
	}
}

// TestDamageIsMended replays a damaged log, of which another has all records: they come in their
// order.
func TestDamageIsMended(t *testing.T) {
	master := memDir(t)
	l := open(t, Options{Dir: master, SegmentSize: 4 << 10})
	var all []stored
	for i := range 200 {
		record := text(i, 100)
		all = append(all, stored{write(t, l, record), string(record)})
	}
	all = all[1:]
	closeLog(t, l)
	files := segmentFiles(t, master)
	if len(files) < 5 {
		t.Fatalf("%d segments", len(files))
	}
	end := all[len(all)-1].at
	f := func(what string, spoil func(dir string), has func(at Position) bool) {
		t.Helper()
		dir := memDir(t)
		copyDir(t, master, dir)
		spoil(dir)
		l := open(t, Options{Dir: dir})
		defer closeLog(t, l)
		var got, want []stored
		var calls int
		report, err := l.ReplayMended(all[0].at, func(p Position, record []byte) error {
			got = append(got, stored{p, string(record)})
			return nil
		}, func(from, to Position) (whole bool, err error) {
			calls++
			whole = true
			for _, r := range all {
				switch {
				case r.at < from || r.at >= to:
				case has(r.at):
					got = append(got, r)
				default:
					whole = false
				}
			}
			return whole, nil
		})
		for _, r := range all {
			if has(r.at) || !slices.ContainsFunc(report.Damage, func(d Damage) bool { return d.From <= r.at && d.To > r.at }) {
				want = append(want, r)
			}
		}
		expect(t, got, want)
		if complete := len(got) == len(all); err != nil || calls == 0 || (report.Lost == 0) != complete {
			t.Errorf("%s: %d calls, %d of %d records, %+v, %v", what, calls, len(got), len(all), report, err)
		}
	}
	every := func(Position) bool { return true }
	flip := func(n, at int) func(dir string) {
		return func(dir string) {
			path := filepath.Join(dir, filepath.Base(files[n]))
			b := readFile(t, path)
			b[at] ^= 1
			writeFile(t, path, b)
		}
	}
	remove := func(n int) func(dir string) {
		return func(dir string) {
			if err := os.Remove(filepath.Join(dir, filepath.Base(files[n]))); err != nil {
				t.Fatal(err)
			}
		}
	}
	f("a record", flip(2, 1000), every)
	f("the first record", flip(0, segmentHeaderSize+int(all[0].at)+20), every)
	f("the last record of a segment", flip(1, len(readFile(t, files[1]))-9), every)
	f("a segment", remove(2), every)
	f("the first segments", func(dir string) { remove(0)(dir); remove(1)(dir) }, every)
	f("a segment, of which half is there", remove(2), func(at Position) bool { return at%3 > 0 || at > end/2 })

	l = open(t, Options{Dir: master})
	defer closeLog(t, l)
	remove(2)(master)
	trouble := errors.New("trouble")
	if _, err := l.ReplayMended(0, func(Position, []byte) error { return nil }, func(Position, Position) (bool, error) { return false, trouble }); !errors.Is(err, trouble) {
		t.Error(err)
	}
}

func TestLargeDamage(t *testing.T) {
	master := memDir(t)
	l := open(t, Options{Dir: master})
	all := fill(t, l, 6000, 500)
	all = append(all, stored{write(t, l, text(6000, 500)), string(text(6000, 500))})
	closeLog(t, l)
	files := segmentFiles(t, master)
	whole := readFile(t, files[0])
	spoil := func(what string, from, to int, how func(b []byte)) {
		t.Helper()
		dir := memDir(t)
		b := bytes.Clone(whole)
		how(b[from:to])
		writeFile(t, filepath.Join(dir, filepath.Base(files[0])), b)
		var want []stored
		for _, r := range all {
			at, end := segmentHeaderSize+int(r.at), segmentHeaderSize+int(r.at)+recordHeaderSize+len(r.record)
			if end <= from || at >= to {
				want = append(want, r)
			}
		}
		got, report := reread(t, dir)
		expect(t, got, want)
		if report.Lost < int64(to-from) || report.Lost > int64(to-from)+2*600 || len(report.Damage) != 1 {
			t.Fatalf("%s: lost %d, in %v", what, report.Lost, report.Damage)
		}
	}
	spoil("zeros", 100_003, 1_000_005, func(b []byte) { clear(b) })
	spoil("magics", 100_000, 1_000_000, func(b []byte) {
		for len(b) >= 4 {
			binary.LittleEndian.PutUint32(b, recordMagic)
			b = b[4:]
		}
	})
	// Copies of sound records at a place that is not theirs.
	spoil("copies", 200_000, 900_000, func(b []byte) {
		copy(b, bytes.Repeat(whole[segmentHeaderSize:segmentHeaderSize+4096], len(b)/4096+1))
	})
}

// TestRecordInsideARecord has a record hold what looks like the records behind it.
func TestRecordInsideARecord(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir})
	inner := appendRecordHeader(nil, recordHeaderSize, 5, crc32.Checksum([]byte("false"), castagnoli))
	inner = append(inner, "false\x00\x00\x00"...)
	write(t, l, inner)
	write(t, l, []byte("true"))
	closeLog(t, l)
	path := segmentFiles(t, dir)[0]
	b := readFile(t, path)
	b[segmentHeaderSize+8] ^= 1 // its header is damaged
	writeFile(t, path, b)
	got, _ := reread(t, dir)
	// Only a forger who knows the position gets this far, and only after damage.
	if len(got) != 2 || got[1].record != "true" {
		t.Fatalf("got %v", got)
	}
	b[segmentHeaderSize+8] ^= 1
	b[segmentHeaderSize+recordHeaderSize+20] ^= 1 // its payload is
	writeFile(t, path, b)
	if got, _ = reread(t, dir); len(got) != 1 || got[0].record != "true" {
		t.Fatalf("got %v", got)
	}
}

func TestMissingSegments(t *testing.T) {
	master := memDir(t)
	l := open(t, Options{Dir: master, SegmentSize: 1000})
	var all []stored
	for i := range 20 {
		record := text(i, 400)
		all = append(all, stored{write(t, l, record), string(record)})
	}
	closeLog(t, l)
	files := segmentFiles(t, master)
	for i, path := range files[:len(files)-1] {
		dir := memDir(t)
		copyDir(t, master, dir)
		if err := os.Remove(filepath.Join(dir, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
		from, _ := parseSegmentName(filepath.Base(path))
		to, _ := parseSegmentName(filepath.Base(files[i+1]))
		var want []stored
		for _, r := range all {
			if r.at < from || r.at >= to {
				want = append(want, r)
			}
		}
		l := open(t, Options{Dir: dir})
		got, report := replay(t, l, all[0].at)
		expect(t, got, want)
		if i == 0 {
			// What is before the first segment was trimmed, unless somebody asks for it.
			expectSound(t, report)
			_, report = replay(t, l, all[1].at)
			to -= all[1].at - from
		}
		if report.Lost != to.minus(from) || len(report.Damage) != 1 {
			t.Fatalf("segment %d: report %+v, %d bytes are missing", i, report, to-from)
		}
		closeLog(t, l)
	}
}

// TestBadDisk reads segments of which the disk refuses to give some pages.
func TestBadDisk(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir})
	all := fill(t, l, 2000, 1000)
	closeLog(t, l)
	whole := readFile(t, segmentFiles(t, dir)[0])
	end := Position(len(whole) - segmentHeaderSize)
	pages := map[int64]bool{0: true, 7: true, 8: true, 100: true, int64(len(whole)) / pageSize: true}
	sc := newScanner(badDisk{bytes.NewReader(whole), pages, syscall.EIO}, 0, 0, end)
	var got []stored
	for sc.next() {
		got = append(got, stored{sc.position, string(sc.record)})
	}
	var want []stored
	for _, r := range all {
		bad := false
		from := segmentHeaderSize + int64(r.at)
		for i := from; i < from+recordHeaderSize+int64(len(r.record)); i++ {
			bad = bad || pages[i/pageSize]
		}
		if !bad {
			want = append(want, r)
		}
	}
	expect(t, got, want)
	if sc.unreadable == 0 || len(want) == len(all) {
		t.Fatal("the disk was not bad")
	}
}

// TestTornGroup loses some of the last records that were written together, and the middle of which
// reached the disk: nobody was told that they are durable, but of those before them.
func TestTornGroup(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir})
	all := append(fill(t, l, 10, 100), fill(t, l, 10, 100)...)
	closeLog(t, l)
	path := segmentFiles(t, dir)[0]
	whole := readFile(t, path)
	frames := func(i int) int64 { return frame(int64(len(all[i].record))) }
	mended := func(from, to Position) (bool, error) { return true, nil }
	for _, c := range []struct {
		zeros      []int
		lost, torn int64
	}{
		{[]int{10}, 0, frames(10)},
		{[]int{10, 15, 19}, 0, frames(10) + frames(15) + frames(19)},
		{[]int{5}, frames(5), 0},
		{[]int{5, 9, 12}, frames(5) + frames(9), frames(12)},
		{[]int{9, 10}, 0, frames(9) + frames(10)}, // nothing tells that the first of them was durable
	} {
		b := bytes.Clone(whole)
		want := slices.Clone(all)
		for _, i := range c.zeros {
			clear(b[segmentHeaderSize+int64(all[i].at):][:frames(i)])
		}
		want = slices.DeleteFunc(want, func(r stored) bool {
			return slices.ContainsFunc(c.zeros, func(i int) bool { return all[i].at == r.at })
		})
		damaged := func() string {
			copied := memDir(t)
			writeFile(t, filepath.Join(copied, filepath.Base(path)), b)
			return copied
		}
		torn := c.torn
		if slices.Contains(c.zeros, 19) {
			torn -= frames(19) // zeros behind the last record are none that was torn
		}
		report, err := Verify(damaged(), 0, 0, func(Position, []byte) error { return nil })
		if err != nil || report.Lost != c.lost || report.Torn != torn || report.Records != len(want) {
			t.Errorf("without %v: verified %+v, error %v", c.zeros, report, err)
		}
		got, report := reread(t, damaged())
		expect(t, got, want)
		if report.Lost != c.lost || report.Torn != torn {
			t.Errorf("without %v: %+v", c.zeros, report)
		}
		l := open(t, Options{Dir: damaged()})
		if report, err := l.ReplayMended(0, func(Position, []byte) error { return nil }, mended); err != nil || report.Lost != 0 || report.Torn != 0 {
			t.Errorf("without %v, mended: %+v, error %v", c.zeros, report, err)
		}
	}
}

func TestDamageIsBounded(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir})
	all := fill(t, l, 1000, 20)
	for range 3 {
		all = append(all, stored{write(t, l, text(1, 20)), ""})
	}
	closeLog(t, l)
	path := segmentFiles(t, dir)[0]
	b := readFile(t, path)
	for i := 0; i < len(all); i += 2 {
		b[segmentHeaderSize+int(all[i].at)] ^= 1
	}
	writeFile(t, path, b)
	got, report := reread(t, dir)
	if len(got) != 501 || len(report.Damage) != maxDamage || report.Lost < 501*36 || report.Torn < 36 {
		t.Fatalf("%d records, report %+v", len(got), report)
	}
	if got, want := report.Damage[0].String(), path+": 40 bytes at position 0000000000000000"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
