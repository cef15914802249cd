package sdk

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// written makes a state's file of a few batches, and tells what the state was
// after each and where its bytes ended then.
func written(t testing.TB) (file []byte, after []map[Key]number, ends []int) {
	dir := t.TempDir()
	path := filepath.Join(dir, "test.state")
	s := openState[number](t, dir, 0)
	note := func() {
		var err error
		if file, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		after, ends = append(after, snapshot(s)), append(ends, len(file))
	}
	note()
	a, b, c := Key{"cpu", "vm-1"}, Key{"cpu", "vm-2"}, Key{"", "é"}
	call(t, s, 1, func() { s.Set(a, 1); s.Set(b, 2) })
	note()
	call(t, s, 2, func() { s.Set(a, 3); s.Delete(b); s.Set(c, 4) })
	note()
	call(t, s, 3, func() { s.Set(b, 5) })
	note()
	return file, after, ends
}

// openBytes opens a state whose file holds data, and tells what it holds. It
// must go on from there whatever data was.
func openBytes(t testing.TB, data []byte) map[Key]number {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "test.state"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openState[number](t, dir, 0)
	got := snapshot(s)
	next := Key{"next", "r"}
	call(t, s, 0xff, func() { s.Set(next, 9) })
	want := maps.Clone(got)
	want[next] = 9
	if err := s.file.f.Close(); err != nil {
		t.Fatal(err)
	}
	s = openState[number](t, dir, 0)
	if again := snapshot(s); !maps.Equal(again, want) || s.file.damaged > 0 {
		t.Fatalf("after one more batch it holds %v instead of %v, %d bytes damaged", again, want, s.file.damaged)
	}
	if err := s.file.f.Close(); err != nil {
		t.Fatal(err)
	}
	return got
}

// A file that was torn anywhere holds all batches before that, as a whole.
func TestStateTorn(t *testing.T) {
	file, after, ends := written(t)
	n := 0
	for size := range len(file) + 1 {
		for n+1 < len(ends) && size >= ends[n+1] {
			n++
		}
		if got := openBytes(t, file[:size]); !maps.Equal(got, after[n]) {
			t.Fatalf("of %d bytes: %v instead of %v", size, got, after[n])
		}
	}
}

// A flipped bit costs its batch and those after it; a state is never a mixture.
func TestStateFlipped(t *testing.T) {
	file, after, ends := written(t)
	for at := range file {
		damaged := bytes.Clone(file)
		damaged[at] ^= 1 << (at % 8)
		n := 0
		for n+1 < len(ends) && at >= ends[n+1] {
			n++
		}
		if got := openBytes(t, damaged); !maps.Equal(got, after[n]) && len(got) != 0 {
			t.Fatalf("byte %d: %v instead of %v", at, got, after[n])
		}
	}
}

func FuzzStateFile(f *testing.F) {
	file, _, _ := written(f)
	f.Add(file)
	f.Add([]byte(journalHead))
	f.Add([]byte{})
	// Right checksums lead further into the parser.
	group := func(body string) {
		g := append(appendGroup([]byte(journalHead), [16]byte{1}, 2), body...)
		seal(g[len(journalHead):])
		f.Add(g)
	}
	group("\x01\x03\x00\x01a\x01b\x08\x00\x00\x0012345678")
	group("\x01\x02\x00\xff\xff\xff\xff")
	group("\x02\x03\x00\x01a\x01b")
	group("\x01\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, data []byte) {
		openBytes(t, data)
		if len(data) > 32 { // the same as the body of a group
			g := append(appendGroup([]byte(journalHead), [16]byte{1}, 2), data...)
			seal(g[len(journalHead):])
			openBytes(t, g)
		}
	})
}

// While the disk is full a state is kept in memory; it is in the file again when
// there is room, and nothing is lost of it.
func TestStateOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatalf("cannot mount a small file system, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := openState[string](t, dir, 0)
	value := strings.Repeat("v", 10<<10)
	want := map[Key]string{}
	failures := 0
	for i := range 40 {
		s.begin([16]byte{byte(1 + i)})
		k := Key{"m", fmt.Sprint(i % 10)}
		want[k] = fmt.Sprint(i, value)
		s.Set(k, want[k])
		if s.commit() != nil {
			failures++
			s.file.retry = time.Now().Add(time.Hour) // the pause goes on, however slow the machine is
		}
		if !maps.Equal(snapshot(s), want) {
			t.Fatal("memory has lost something")
		}
	}
	if failures != 1 {
		t.Errorf("%d writes failed instead of the one that found the disk full", failures)
	}
	// What had been written is there for a plugin that is killed now.
	if n := openState[string](t, dir, 0).Len(); n == 0 {
		t.Error("the file has lost what it had")
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	s.file.retry = time.Time{} // the pause after a failure is over
	call(t, s, 100, func() {})
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(openState[string](t, dir, 0)); !maps.Equal(got, want) {
		t.Errorf("%d keys came back of %d, or others", len(got), len(want))
	}
}

const writerVariable = "NEPHO_TEST_STATE_WRITER"

// TestStateWriter is the process that TestStateKilled kills.
func TestStateWriter(t *testing.T) {
	dir := os.Getenv(writerVariable)
	if dir == "" {
		return // nobody to be killed
	}
	s := openState[number](t, dir, 0)
	start, _ := s.Get(Key{"m", "0"})
	for i := start + 1; ; i++ {
		s.begin([16]byte(binary.BigEndian.AppendUint64(make([]byte, 8), uint64(i))))
		for k := range 50 {
			s.Set(Key{"m", strconv.Itoa(k)}, i)
		}
		if err := s.commit(); err != nil {
			t.Fatal(err)
		}
		fmt.Println("wrote", i)
	}
}

// kill -9 at any moment leaves all that was committed, and no half of a batch.
func TestStateKilled(t *testing.T) {
	dir := t.TempDir()
	var confirmed number
	for range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestStateWriter$")
		cmd.Env = append(os.Environ(), writerVariable+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		more := 50 + rand.IntN(400)
		for n := 0; lines.Scan(); n++ {
			if n == more {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if v, ok := strings.CutPrefix(lines.Text(), "wrote "); ok {
				n, _ := strconv.ParseUint(v, 10, 64)
				confirmed = max(confirmed, number(n))
			}
		}
		if _, err := io.Copy(io.Discard, out); err != nil {
			t.Fatal(err)
		}
		if cmd.Wait() == nil {
			t.Fatal("the writer was not killed")
		}
		s := openState[number](t, dir, 0)
		first, _ := s.Get(Key{"m", "0"})
		for k, v := range s.All() {
			if v != first {
				t.Fatalf("%v holds %d, another key %d", k, v, first)
			}
		}
		if first < confirmed || s.Len() != 50 {
			t.Fatalf("%d keys of batch %d; %d was committed", s.Len(), first, confirmed)
		}
	}
}
