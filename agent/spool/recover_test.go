package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// segmentFiles returns the paths of the segments in dir, oldest first.
func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+segmentExt))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// filled makes a closed spool with the entries 1 to n and returns its files.
func filled(t testing.TB, n, size int, o Options) map[string][]byte {
	t.Helper()
	o.Dir = t.TempDir()
	s := open(t, o)
	mustAppendMany(t, s, 1, n, size)
	closeSpool(t, s)
	files := map[string][]byte{}
	for _, path := range segmentFiles(t, o.Dir) {
		files[filepath.Base(path)] = readFile(t, path)
	}
	return files
}

// placed makes a directory with these files.
func placed(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		writeFile(t, filepath.Join(dir, name), b)
	}
	return dir
}

func samplesOf(numbers ...int) uint64 {
	var sum uint64
	for _, n := range numbers {
		sum += uint64(entry(n, 0).Samples)
	}
	return sum
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, SegmentSize: 1000}
	s := open(t, o)
	mustAppendMany(t, s, 1, 10, 200)
	for range 6 {
		mustAck(t, s, mustNext(t, s))
	}
	mustNext(t, s) // not acknowledged
	closeSpool(t, s)

	s = open(t, o)
	st := s.Stats()
	if st.Recovered != (Count{4, samplesOf(7, 8, 9, 10)}) || st.Waiting != st.Recovered || st.OldestAge <= 0 {
		t.Fatalf("stats %+v", st)
	}
	mustAppend(t, s, entry(11, 200))
	wantNumbers(t, drain(t, s), sequence(7, 11)...)
	closeSpool(t, s)

	s = open(t, o)
	if st := s.Stats(); st.Recovered != (Count{}) || st.Segments != 0 || len(segmentFiles(t, dir)) != 0 {
		t.Fatalf("a drained spool recovered %+v", st)
	}
	mustAppend(t, s, entry(12, 200))
	closeSpool(t, s)
	s = open(t, o)
	wantNumbers(t, drain(t, s), 12)
}

func TestOneProcessOnly(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	_, err := Open(Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("cannot open spool %q: another process has it open", dir)) {
		t.Fatalf("second Open: %v", err)
	}
	closeSpool(t, s)
	open(t, Options{Dir: dir})
}

func TestUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if s, err := Open(Options{Dir: dir}); err == nil {
			closeSpool(t, s)
			t.Fatalf("%s was opened", dir)
		}
	}
}

func TestTornTailAtEveryByte(t *testing.T) {
	files := filled(t, 3, 100, Options{})
	for name, whole := range files {
		start := len(whole) - recordHeaderSize - 100
		for cut := start; cut <= len(whole); cut++ {
			dir := placed(t, map[string][]byte{name: whole[:cut]})
			s := open(t, Options{Dir: dir})
			st := s.Stats()
			mustAppend(t, s, entry(4, 100))
			if cut == len(whole) {
				wantNumbers(t, drain(t, s), 1, 2, 3, 4)
				continue
			}
			wantNumbers(t, drain(t, s), 1, 2, 4)
			known := Count{}
			if cut >= start+recordHeaderSize {
				known = Count{1, samplesOf(3)}
			}
			if st.Torn.Bytes != int64(cut-start) || st.Torn.Count != known || st.Recovered.Entries != 2 {
				t.Fatalf("cut at %d: %+v", cut-start, st)
			}
			checkBalance(t, s.Stats())
			closeSpool(t, s)
			if st := open(t, Options{Dir: dir}).Stats(); st.Torn.Bytes != 0 {
				t.Fatalf("cut at %d is found again: %+v", cut-start, st)
			}
		}
	}
}

func TestFlippedByteInMiddleRecord(t *testing.T) {
	const frame = recordHeaderSize + 100
	// In the newest segment, and in one that is counted by the next header.
	for _, segments := range []int64{1, 2} {
		files := filled(t, 10, 100, Options{SegmentSize: 5 * frame * (3 - segments)})
		if int64(len(files)) != segments {
			t.Fatalf("%d segments", len(files))
		}
		name := fmt.Sprintf("%016x%s", 1, segmentExt)
		for i := range frame {
			changed := map[string][]byte{}
			for n, b := range files {
				changed[n] = append([]byte(nil), b...)
			}
			changed[name][segmentHeaderSize+2*frame+i] ^= 0x41
			var log logBuffer
			s := open(t, Options{Dir: placed(t, changed), Log: log.logger()})
			wantNumbers(t, drain(t, s), 1, 2, 4, 5, 6, 7, 8, 9, 10)
			st := s.Stats()
			checkBalance(t, st)
			if st.Recovered.Entries != 10 || st.Dropped.Corrupt != (Count{1, samplesOf(3)}) || st.Torn != (Torn{}) {
				t.Fatalf("byte %d: %+v", i, st)
			}
			if log.count("samples are lost") != 1 {
				t.Fatalf("byte %d: log:\n%s", i, log.b.String())
			}
			closeSpool(t, s)
		}
	}
}

func TestFlippedByteInSegmentHeader(t *testing.T) {
	const frame = recordHeaderSize + 100
	files := filled(t, 12, 100, Options{SegmentSize: 4 * frame})
	for id := 1; id <= 3; id++ {
		name := fmt.Sprintf("%016x%s", id, segmentExt)
		for i := range segmentHeaderSize {
			changed := map[string][]byte{}
			for n, b := range files {
				changed[n] = append([]byte(nil), b...)
			}
			changed[name][i] ^= 0x41
			s := open(t, Options{Dir: placed(t, changed)})
			mustAppend(t, s, entry(13, 100))
			wantNumbers(t, drain(t, s), sequence(1, 13)...)
			if st := s.Stats(); st.Dropped != (Dropped{}) || st.Recovered.Entries != 12 {
				t.Fatalf("segment %d byte %d: %+v", id, i, st)
			}
			closeSpool(t, s)
		}
	}
	// The header and the first record.
	name := fmt.Sprintf("%016x%s", 2, segmentExt)
	clear(files[name][:segmentHeaderSize+10])
	s := open(t, Options{Dir: placed(t, files)})
	wantNumbers(t, drain(t, s), 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12)
	if st := s.Stats(); st.Dropped.Corrupt != (Count{1, samplesOf(5)}) {
		t.Fatalf("stats %+v", st)
	}
}

func TestDamageIsSettledOnce(t *testing.T) {
	const frame = recordHeaderSize + 100
	files := filled(t, 9, 100, Options{SegmentSize: 3 * frame})
	// The last two of the first segment, the first of the second, all of the third.
	hit := func(id, from, to int) {
		b := files[fmt.Sprintf("%016x%s", id, segmentExt)]
		clear(b[segmentHeaderSize+from*frame : segmentHeaderSize+to*frame])
	}
	hit(1, 1, 3)
	hit(2, 0, 1)
	s := open(t, Options{Dir: placed(t, files)})
	for range 3 {
		var got []Delivery
		for range 6 {
			got = append(got, mustNext(t, s))
		}
		wantNone(t, s)
		if st := s.Stats(); st.Waiting.Entries != 9 {
			t.Fatalf("stats %+v", st)
		}
		s.Rewind()
		mustAck(t, s, got[0]) // of before
	}
	wantNumbers(t, drain(t, s), 1, 5, 6, 7, 8, 9)
	st := s.Stats()
	checkBalance(t, st)
	if st.Dropped.Corrupt != (Count{3, samplesOf(2, 3, 4)}) || st.Segments != 0 {
		t.Fatalf("stats %+v", st)
	}
}

func TestSegmentWithoutReadableRecord(t *testing.T) {
	const frame = recordHeaderSize + 100
	files := filled(t, 9, 100, Options{SegmentSize: 3 * frame})
	clear(files[fmt.Sprintf("%016x%s", 2, segmentExt)][segmentHeaderSize:])
	dir := placed(t, files)
	s := open(t, Options{Dir: dir})
	wantNumbers(t, drain(t, s), 1, 2, 3, 7, 8, 9)
	if st := s.Stats(); st.Dropped.Corrupt != (Count{3, samplesOf(4, 5, 6)}) {
		t.Fatalf("stats %+v", st)
	}
	if left := segmentFiles(t, dir); len(left) != 0 {
		t.Fatalf("left over: %v", left)
	}
}

func TestVanishedAndShortenedSegments(t *testing.T) {
	const frame = recordHeaderSize + 100
	files := filled(t, 9, 100, Options{SegmentSize: 3 * frame})
	dir := placed(t, files)
	s := open(t, Options{Dir: dir})
	all := segmentFiles(t, dir)
	if err := os.Truncate(all[0], segmentHeaderSize+frame+20); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(all[1]); err != nil {
		t.Fatal(err)
	}
	wantNumbers(t, drain(t, s), 1, 7, 8, 9)
	st := s.Stats()
	checkBalance(t, st)
	if st.Dropped.Corrupt.Entries != 2 || st.Dropped.Disk.Entries != 3 || st.DiskError == nil {
		t.Fatalf("stats %+v", st)
	}
}

func TestForeignFiles(t *testing.T) {
	files := filled(t, 2, 100, Options{})
	segment := func(id int) string { return fmt.Sprintf("%016x%s", id, segmentExt) }
	files[segment(9)] = nil                                     // just created
	files[segment(10)] = []byte(segmentMagic[:5])               // header torn
	files[segment(11)] = []byte(strings.Repeat("not ours ", 9)) // put aside
	files["notes.txt"] = []byte("hello")
	files["0001.seg"] = []byte("hello")
	dir := placed(t, files)
	if err := os.Mkdir(filepath.Join(dir, segment(12)), 0o700); err != nil {
		t.Fatal(err)
	}
	var log logBuffer
	s := open(t, Options{Dir: dir, Log: log.logger()})
	if st := s.Stats(); st.Aside != 4 || st.Torn.Bytes != 5 || st.Recovered.Entries != 2 {
		t.Fatalf("stats %+v", st)
	}
	if log.count("put aside") != 1 || log.count("notes.txt") != 1 || log.count("empty spool segment removed") != 2 {
		t.Fatalf("log:\n%s", log.b.String())
	}
	mustAppend(t, s, entry(3, 100))
	wantNumbers(t, drain(t, s), 1, 2, 3)
	if got := readFile(t, filepath.Join(dir, segment(11)+asideExt)); string(got) != string(files[segment(11)]) {
		t.Fatalf("put aside: %q", got)
	}
}

func TestSegmentOutOfOrderIsPutAside(t *testing.T) {
	dir := placed(t, filled(t, 2, 100, Options{}))
	old := &item{Entry: entry(1, 100)}
	b := appendSegmentHeader(nil, 7, totals{})
	writeFile(t, filepath.Join(dir, fmt.Sprintf("%016x%s", 6, segmentExt)),
		appendRecord(appendSegmentHeader(nil, 6, totals{seq: 2, samples: samplesOf(1, 2)}), segmentSeed(6),
			&item{Entry: entry(3, 100), seq: 2, before: samplesOf(1, 2)}))
	writeFile(t, filepath.Join(dir, fmt.Sprintf("%016x%s", 7, segmentExt)), appendRecord(b, segmentSeed(7), old))
	s := open(t, Options{Dir: dir})
	if st := s.Stats(); st.Aside != 1 {
		t.Fatalf("stats %+v", st)
	}
	wantNumbers(t, drain(t, s), 1, 2, 3)
}

func TestDamagedPosition(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	mustAppendMany(t, s, 1, 5, 100)
	mustAck(t, s, mustNext(t, s))
	mustAck(t, s, mustNext(t, s))
	closeSpool(t, s)
	path := filepath.Join(dir, positionName)
	whole := readFile(t, path)
	segment := segmentFiles(t, dir)[0]
	for i := range whole {
		b := append([]byte(nil), whole...)
		b[i] ^= 0x41
		dir := placed(t, map[string][]byte{filepath.Base(segment): readFile(t, segment), positionName: b})
		s := open(t, Options{Dir: dir})
		first := number(t, mustNext(t, s).Entry)
		newest := 3
		if generation, _, _ := parsePosition(whole[positionSlotStep:]); i < positionSlotSize && generation%2 == 0 ||
			i >= positionSlotStep && generation%2 == 1 {
			newest = 2
		}
		if first != 3 && first != newest && first != 2 {
			t.Fatalf("byte %d: starts at %d", i, first)
		}
		closeSpool(t, s)
	}
	for _, b := range [][]byte{nil, []byte("x"), make([]byte, 4096)} {
		dir := placed(t, map[string][]byte{filepath.Base(segment): readFile(t, segment), positionName: b})
		wantNumbers(t, drain(t, open(t, Options{Dir: dir})), 1, 2, 3, 4, 5)
	}
	// A position whose offset is nonsense: the number counts.
	at := place{seg: 1, off: 1 << 40, seq: 2, samples: samplesOf(1, 2)}
	dir = placed(t, map[string][]byte{filepath.Base(segment): readFile(t, segment), positionName: appendPosition(nil, 9, at)})
	wantNumbers(t, drain(t, open(t, Options{Dir: dir})), 3, 4, 5)
}

func TestLimitLoweredBetweenRuns(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, SegmentSize: 500, Limit: 10000})
	mustAppend(t, s, held(entry(1, 202)))
	mustAppendMany(t, s, 2, 20, 202)
	closeSpool(t, s)
	s = open(t, Options{Dir: dir, Limit: 1500})
	st := s.Stats()
	checkBalance(t, st)
	if st.Recovered.Entries != 20 || st.Dropped.Full.Entries != 14 || st.Bytes > 1500 || !st.Full {
		t.Fatalf("stats %+v", st)
	}
	wantNumbers(t, drain(t, s), 1, 2, 17, 18, 19, 20)
}

func TestDropsLeaveGapsThatSurviveReopening(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, SegmentSize: 500, Limit: 2000}
	s := open(t, o)
	mustAppend(t, s, held(entry(1, 202)))
	mustAppendMany(t, s, 2, 12, 202)
	closeSpool(t, s)
	s = open(t, o)
	if st := s.Stats(); st.Recovered.Entries != 8 || st.Dropped != (Dropped{}) {
		t.Fatalf("stats %+v", st)
	}
	mustAppendMany(t, s, 13, 14, 202)
	wantNumbers(t, drain(t, s), 1, 2, 9, 10, 11, 12, 13, 14)
	checkBalance(t, s.Stats())
}
