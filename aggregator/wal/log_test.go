package wal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestReplayGivesWhatWasWritten(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir, SegmentSize: 200 << 10})
	var want []stored
	for i, parts := range [][][]byte{
		{text(0, 1)},
		{},                                   // an empty record is a record
		{[]byte("one "), nil, []byte("two")}, // parts are joined
		{text(3, 7)}, {text(4, 8)}, {text(5, 9)},
		{text(6, readAhead-recordHeaderSize)}, // across what is read at once
		{text(7, 3*readAhead+5)},              // larger than a segment
		{text(8, 100)},
	} {
		c, err := l.Write(parts...)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && c.Position <= want[i-1].at {
			t.Fatalf("position %s after %s", c.Position, want[i-1].at)
		}
		var record []byte
		for _, p := range parts {
			record = append(record, p...)
		}
		want = append(want, stored{c.Position, string(record)})
		if err := c.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := replay(t, l, 0); len(got) != 0 {
		t.Fatalf("a replay gives %d records that were written after the log was opened", len(got))
	}
	end := l.Position()
	closeLog(t, l)
	if n := len(segmentFiles(t, dir)); n < 3 {
		t.Fatalf("%d segments", n)
	}

	l = open(t, Options{Dir: dir})
	got, report := replay(t, l, 0)
	expect(t, got, want)
	expectSound(t, report)
	if l.Position() != end {
		t.Fatalf("position %s, want %s", l.Position(), end)
	}
	for i := range want {
		got, report := replay(t, l, want[i].at)
		expect(t, got, want[i:])
		expectSound(t, report)
	}
	got, report = replay(t, l, end)
	expect(t, got, nil)
	expectSound(t, report)

	broken := errors.New("broken")
	if _, err := l.Replay(0, func(Position, []byte) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
}

func TestSeveralOpens(t *testing.T) {
	dir := memDir(t)
	var want []stored
	for i := range 10 {
		l := open(t, Options{Dir: dir})
		got, report := replay(t, l, 0)
		expect(t, got, want)
		expectSound(t, report)
		if i%3 != 0 { // some write nothing
			record := text(i, 50)
			want = append(want, stored{write(t, l, record), string(record)})
		}
		closeLog(t, l)
	}
	// Empty segments do not stay: one for each Open that wrote, and the last one.
	if n := len(segmentFiles(t, dir)); n > 7 {
		t.Fatalf("%d segments", n)
	}
}

func TestConcurrentWritersKeepTheOrderOfPositions(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir, SegmentSize: 64 << 10})
	var mu sync.Mutex
	var want []stored
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 200 {
				record := text(w*1000+i, 20+i)
				mu.Lock()
				c, err := l.Write(record)
				want = append(want, stored{c.Position, string(record)})
				mu.Unlock()
				if err == nil {
					err = c.Wait(background)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	closeLog(t, l)
	got, report := reread(t, dir)
	expect(t, got, want)
	expectSound(t, report)
}

func TestTooLarge(t *testing.T) {
	l := open(t, Options{Dir: t.TempDir()})
	if _, err := l.Write(make([]byte, MaxRecord), []byte{1}); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	before := l.Position()
	write(t, l, make([]byte, MaxRecord))
	if got := l.Position() - before; got != MaxRecord+recordHeaderSize {
		t.Fatalf("%d bytes", got)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir})
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("got %v", err)
	}
	closeLog(t, l)
	closeLog(t, open(t, Options{Dir: dir}))
}

func TestClosed(t *testing.T) {
	l := open(t, Options{Dir: memDir(t)})
	c, err := l.Write([]byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	if err := c.Wait(t.Context()); err != nil {
		t.Fatalf("what was queued before Close: %v", err)
	}
	if _, err := l.Write([]byte("b")); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if err := l.Close(); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if err := (Commit{}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	refuses := func(what, want string, spoil func(dir string)) {
		t.Helper()
		dir := memDir(t)
		l := open(t, Options{Dir: dir})
		fill(t, l, 3, 10)
		closeLog(t, l)
		spoil(dir)
		if l, err := Open(Options{Dir: dir}); err == nil {
			closeLog(t, l)
			t.Errorf("%s: no error", what)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refuses("a newer format", "start the version that wrote it", func(dir string) {
		path := segmentFiles(t, dir)[0]
		b := readFile(t, path)
		b[8] = formatVersion + 1
		header := append([]byte(nil), b[:36]...)
		writeFile(t, path, append(sumUp(header), b[segmentHeaderSize:]...))
	})
	refuses("a renamed segment", "give it back its name, 0000000000000000.wal", func(dir string) {
		if err := os.Rename(segmentFiles(t, dir)[0], filepath.Join(dir, SegmentName(80))); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := Open(Options{Dir: filepath.Join(segmentFiles(t, filledDir(t, 1))[0], "x")}); err == nil {
		t.Error("a file as folder: no error")
	}
	if _, err := Open(Options{Dir: memDir(t), First: 1 << 63}); err == nil {
		t.Error("an impossible position: no error")
	}
}

func TestFirst(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir, First: 8000})
	if p := write(t, l, []byte("a")); p != 8000 {
		t.Fatalf("position %s", p)
	}
	closeLog(t, l)
	// A log that has less than was known of it goes on behind that.
	l = open(t, Options{Dir: dir, First: 16000})
	if p := write(t, l, []byte("b")); p != 16000 {
		t.Fatalf("position %s", p)
	}
	closeLog(t, l)
	// One that has more goes on behind what it has.
	l = open(t, Options{Dir: dir, First: 8000})
	if p := write(t, l, []byte("c")); p != 16024 {
		t.Fatalf("position %s", p)
	}
	got, report := replay(t, l, 8000)
	expect(t, got, []stored{{8000, "a"}, {16000, "b"}})
	expectSound(t, report)
}

func TestTrim(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir, SegmentSize: 1000})
	var all []stored
	for i := range 30 {
		record := text(i, 300)
		all = append(all, stored{write(t, l, record), string(record)})
	}
	closeLog(t, l)
	l = open(t, Options{Dir: dir, SegmentSize: 1000})
	files := len(segmentFiles(t, dir))
	if files < 8 {
		t.Fatalf("%d segments", files)
	}
	for i, r := range all {
		if err := l.Trim(r.at); err != nil {
			t.Fatal(err)
		}
		got, report := replay(t, l, r.at)
		expect(t, got, all[i:])
		expectSound(t, report)
		s := l.Stats()
		if n := len(segmentFiles(t, dir)); s.Segments != n || s.First > r.at {
			t.Fatalf("stats %+v, %d files", s, n)
		}
	}
	if err := l.Trim(l.Position()); err != nil {
		t.Fatal(err)
	}
	if n := len(segmentFiles(t, dir)); n != 1 {
		t.Fatalf("%d segments stay", n)
	}
	end := l.Position()
	if p := write(t, l, []byte("on")); p != end {
		t.Fatalf("position %s, want %s", p, end)
	}
}

func TestTailPiecesAreALog(t *testing.T) {
	dir, copied := memDir(t), memDir(t)
	l := open(t, Options{Dir: dir, SegmentSize: 2000})
	var all []stored
	var from Position
	ship := func() {
		t.Helper()
		for {
			piece, err := l.Tail(from)
			if err != nil {
				t.Fatal(err)
			}
			if piece.From == piece.To {
				return
			}
			b, err := io.ReadAll(piece)
			if err != nil {
				t.Fatal(err)
			}
			if err := piece.Close(); err != nil {
				t.Fatal(err)
			}
			if int64(len(b)) != piece.Size {
				t.Fatalf("%d bytes of %d", len(b), piece.Size)
			}
			writeFile(t, filepath.Join(copied, SegmentName(piece.From)), b)
			from = piece.To
		}
	}
	for i := range 100 {
		record := text(i, i*3)
		all = append(all, stored{write(t, l, record), string(record)})
		if i%7 == 0 {
			ship()
		}
		if i == 50 { // a gap
			closeLog(t, l)
			l = open(t, Options{Dir: dir, SegmentSize: 2000, First: l.Position() + 800})
		}
	}
	ship()
	if from != l.Position() {
		t.Fatalf("shipped to %s of %s", from, l.Position())
	}
	c := open(t, Options{Dir: copied})
	got, report := replay(t, c, 0)
	expect(t, got, all)
	expectSound(t, report)
	if c.Position() != l.Position() {
		t.Fatalf("position %s, want %s", c.Position(), l.Position())
	}

	// What was trimmed is left out, and what is being read is not disturbed.
	piece, err := l.Tail(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Trim(all[60].at); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(piece); err != nil || int64(len(b)) != piece.Size {
		t.Fatalf("%d bytes of %d: %v", len(b), piece.Size, err)
	}
	if err := piece.Close(); err != nil {
		t.Fatal(err)
	}
	piece, err = l.Tail(0)
	if err != nil {
		t.Fatal(err)
	}
	defer piece.Close()
	if piece.From != l.Stats().First || piece.From == 0 {
		t.Fatalf("piece from %s, log from %s", piece.From, l.Stats().First)
	}
}

// TestTailWhileTheLogIsTrimmed looks at the log when a segment's file is gone, and the log does not
// know that yet.
func TestTailWhileTheLogIsTrimmed(t *testing.T) {
	l := open(t, Options{Dir: memDir(t), SegmentSize: 1000})
	var all []Position
	for i := range 4 {
		all = append(all, write(t, l, text(i, 2000)))
	}
	if err := l.dir.remove(l.leaving(all[2])); err != nil {
		t.Fatal(err)
	}
	piece, err := l.Tail(0)
	if err != nil {
		t.Fatal(err)
	}
	defer piece.Close()
	if piece.From != all[1] {
		t.Errorf("piece from %s, want %s", piece.From, all[1])
	}
	if err := l.Trim(all[2]); err != nil {
		t.Fatal(err)
	}
	if first := l.Stats().First; first != all[2] {
		t.Errorf("log from %s, want %s", first, all[2])
	}
}

func TestTailGivesOnlyWhatIsDurable(t *testing.T) {
	f := faults{entered: make(chan struct{}, 100)}
	l := open(t, Options{Dir: memDir(t), create: f.open})
	write(t, l, []byte("durable"))
	end := l.Position()
	block := make(chan struct{})
	f.set(func(f *faults) { f.block = block })
	c, err := l.Write([]byte("not yet"))
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- c.Wait(t.Context()) }()
	<-f.entered
	piece, err := l.Tail(0)
	if err != nil {
		t.Fatal(err)
	}
	if piece.To != end || l.Stats().Durable != end {
		t.Fatalf("to %s of %s", piece.To, end)
	}
	if err := piece.Close(); err != nil {
		t.Fatal(err)
	}
	f.set(func(f *faults) { f.block = nil })
	close(block)
	if err := <-waited; err != nil || l.Stats().Durable != l.Position() {
		t.Fatalf("durable to %s of %s, %v", l.Stats().Durable, l.Position(), err)
	}
}

func TestGroupCommit(t *testing.T) {
	f := faults{entered: make(chan struct{}, 100)}
	dir := memDir(t)
	l := open(t, Options{Dir: dir, create: f.open})
	block := make(chan struct{})
	f.set(func(f *faults) { f.block, f.syncs = block, 0 })
	first, err := l.Write([]byte("first"))
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- first.Wait(t.Context()) }()
	<-f.entered // its sync has begun
	var others []Commit
	for i := range 1000 {
		c, err := l.Write(text(i, 20))
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, c)
	}
	select {
	case <-first.group.done:
		t.Fatal("acknowledged before it was synced")
	default:
	}
	f.set(func(f *faults) { f.block = nil })
	close(block)
	for _, c := range others {
		if err := c.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	if f.syncs != 2 {
		t.Fatalf("%d syncs", f.syncs)
	}
}

func TestInterval(t *testing.T) {
	f := faults{entered: make(chan struct{}, 100)}
	dir := memDir(t)
	l := open(t, Options{Dir: dir, SegmentSize: 1000, Sync: time.Millisecond, create: f.open})
	block := make(chan struct{})
	f.set(func(f *faults) { f.block = block })
	write(t, l, text(0, 100))
	<-f.entered // syncs at some time
	// Meanwhile, what the operating system has is acknowledged.
	for i := 1; i < 5; i++ {
		write(t, l, text(i, 100))
	}
	if s := l.Stats(); s.Durable != 0 {
		t.Fatalf("stats %+v", s)
	}
	if got := len(segmentFiles(t, dir)); got != 1 {
		t.Fatalf("%d segments", got)
	}
	f.set(func(f *faults) { f.block = nil })
	close(block)
	eventually(t, "all is durable", func() bool { return l.Stats().Durable == l.Position() })
	want := 5 + len(fill(t, l, 100, 100)) // over several segments
	eventually(t, "all is durable", func() bool { return l.Stats().Durable == l.Position() })
	closeLog(t, l)
	if got, _ := reread(t, dir); len(got) != want {
		t.Fatalf("%d records of %d", len(got), want)
	}
}

func TestCloseSyncsWhatTheIntervalDidNot(t *testing.T) {
	f := faults{}
	l := open(t, Options{Dir: memDir(t), Sync: time.Hour, create: f.open})
	write(t, l, []byte("a"))
	f.set(func(f *faults) { f.syncs = 0 })
	closeLog(t, l)
	if f.syncs != 1 {
		t.Fatalf("%d syncs", f.syncs)
	}
}
