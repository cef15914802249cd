package idle

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// Pages of files are unmapped and read as before; those that differ from the file
// stay.
func TestReleaseFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	text := bytes.Repeat([]byte("content "), 1<<13)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	open := func(protection, flags int) []byte {
		t.Helper()
		m, err := syscall.Mmap(int(file.Fd()), 0, len(text), protection, flags)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Munmap(m) })
		return m
	}
	same := open(syscall.PROT_READ, syscall.MAP_PRIVATE)
	shared := open(syscall.PROT_READ, syscall.MAP_SHARED)
	changed := open(syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE)
	changed[0] = 'C'
	if err := syscall.Mprotect(changed, syscall.PROT_READ); err != nil {
		t.Fatal(err)
	}
	for _, m := range [][]byte{same, shared} {
		if !bytes.Equal(m, text) {
			t.Fatal("a mapping differs from its file")
		}
	}
	if resident(t, same) == "0 kB" {
		t.Fatal("nothing of the file is mapped before")
	}
	releaseFiles()
	for _, c := range []struct {
		name  string
		m     []byte
		stays bool
		begin byte
	}{{"private", same, false, 'c'}, {"shared", shared, true, 'c'}, {"changed", changed, true, 'C'}} {
		if size := resident(t, c.m); (size != "0 kB") != c.stays {
			t.Errorf("%s: %s are mapped afterwards", c.name, size)
		}
		if c.m[0] != c.begin || !bytes.Equal(c.m[1:], text[1:]) {
			t.Errorf("%s: what it reads is another", c.name)
		}
	}
}

// resident tells how much of a mapping is in memory.
func resident(t *testing.T, m []byte) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), fmt.Sprintf("\n%x-", unsafe.Pointer(unsafe.SliceData(m))))
	_, rest, sized := strings.Cut(rest, "\nRss:")
	size, _, _ := strings.Cut(rest, "\n")
	if !found || !sized {
		t.Fatal("the mapping cannot be found")
	}
	return strings.TrimSpace(size)
}

func TestSpan(t *testing.T) {
	f := func(line string, begin, end uint64) {
		t.Helper()
		if b, e := span([]byte(line)); b != begin || e != end {
			t.Errorf("%q is from %x to %x, want %x to %x", line, b, e, begin, end)
		}
	}
	f("00400000-01545000 r-xp 00000000 fe:00 9987892                            /usr/bin/nepho", 0x400000, 0x1545000)
	f("01545000-0272c000 r--p 01145000 fe:00 9987892                            /usr/bin/a file (deleted)", 0x1545000, 0x272c000)
	f("0272c000-0280b000 rw-p 0232c000 fe:00 9987892                            /usr/bin/nepho", 0, 0)
	f("0272c000-0280b000 r--s 0232c000 fe:00 9987892                            /usr/bin/nepho", 0, 0)
	f("7f343ee0a000-7f343ee0c000 r-xp 00000000 00:00 0                          [vdso]", 0, 0)
	f("7f013df00000-7f0140000000 r--p 00000000 00:00 0 ", 0, 0)
	f("zz-01545000 r-xp 0 fe:00 1 /a", 0, 0)
	f("00400000 r-xp 0 fe:00 1 /a", 0, 0)
	f("", 0, 0)
}
