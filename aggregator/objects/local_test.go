package objects

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func openLocal(t *testing.T, dir string) Store {
	t.Helper()
	s, err := Local(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustPut(t *testing.T, s Store, name, data string) {
	t.Helper()
	if err := s.Put(t.Context(), name, strings.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
}

func TestLocalFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := openLocal(t, dir)
	mustPut(t, s, "blocks/2026/x", "content")
	if b, err := os.ReadFile(filepath.Join(dir, "blocks", "2026", "x")); err != nil || string(b) != "content" {
		t.Fatalf("got %q, %v", b, err)
	}
	// Files of others are no objects.
	if err := os.WriteFile(filepath.Join(dir, "blocks", "not an object"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for info := range s.List(t.Context(), "blocks") {
		if info.Name != "blocks/2026/x" || info.Size != 7 {
			t.Errorf("listed: %+v", info)
		}
	}
	if err := s.Delete(t.Context(), "blocks/2026/x"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "blocks", "2026")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder stays: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "blocks", "not an object")); err != nil {
		t.Error(err)
	}
	if got := s.String(); got != "folder "+dir {
		t.Errorf("got %q", got)
	}
	if _, err := Local(filepath.Join(dir, "blocks", "not an object")); err == nil {
		t.Error("a file as folder: no error")
	}
}

// TestLocalLeavesNothingUnfinished fails Puts, and opens a store where one was killed.
func TestLocalLeavesNothingUnfinished(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir)
	mustPut(t, s, "a", "x")
	if err := s.Put(t.Context(), "a", strings.NewReader("y"), 1); !errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "b", strings.NewReader("y"), 2); err == nil {
		t.Fatal("no error")
	}
	if err := s.Put(t.Context(), "a/b", strings.NewReader("y"), 1); err == nil {
		t.Fatal("an object in an object: no error")
	}
	left := func() []os.DirEntry {
		entries, err := os.ReadDir(filepath.Join(dir, unfinished))
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	if l := left(); len(l) != 0 {
		t.Fatalf("left: %v", l)
	}
	for name, age := range map[string]time.Duration{"old": staleAfter + time.Hour, "new": time.Hour} {
		path := filepath.Join(dir, unfinished, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	openLocal(t, dir)
	if l := left(); len(l) != 1 || l[0].Name() != "new" {
		t.Fatalf("left: %v", l)
	}
}

// TestLocalFoldersComeAndGo puts and deletes objects of one folder at once.
func TestLocalFoldersComeAndGo(t *testing.T) {
	s := openLocal(t, t.TempDir())
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 30 {
				name := fmt.Sprintf("some/folder/%d-%d", w, i)
				if err := s.Put(t.Context(), name, strings.NewReader("x"), 1); err != nil {
					t.Error(err)
				}
				if err := s.Delete(t.Context(), name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestLocalFullDisk(t *testing.T) {
	dir := smallDisk(t)
	s := openLocal(t, dir)
	version, err := s.Replace(t.Context(), "manifest", "", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 3<<20)
	if err := s.Put(t.Context(), "large", strings.NewReader(large), int64(len(large))); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Replace(t.Context(), "manifest", version, []byte(large)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	if b, v, err := s.Read(t.Context(), "manifest"); err != nil || string(b) != "1" || v != version {
		t.Fatalf("got %q of version %q, %v", b, v, err)
	}
	mustPut(t, s, "small", strings.Repeat("x", 1<<20)) // nothing of the others takes room
}

// smallDisk mounts a file system of 2 MiB for the test.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatalf("cannot mount a small disk (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

func TestPutFile(t *testing.T) {
	// The other file system, of memory, is not there everywhere.
	other, err := os.MkdirTemp("/dev/shm", "")
	if err != nil {
		other = t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(other); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	s := openLocal(t, filepath.Join(dir, "store"))
	type wrapped struct{ Store }
	f := func(s Store, folder, name string, linked bool) {
		t.Helper()
		file, err := os.CreateTemp(folder, "")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close() //nolint:errcheck // in a test
		if _, err := file.WriteString("content"); err != nil {
			t.Fatal(err)
		}
		before, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if err := PutFile(t.Context(), s, name, file, 8); err == nil {
			t.Error("a file that is shorter than it should be is taken")
		}
		for i, want := range []error{nil, ErrConflict} {
			if err := PutFile(t.Context(), s, name, file, 7); !errors.Is(err, want) {
				t.Fatalf("put %d: %v", i, err)
			}
		}
		if err := os.Remove(file.Name()); err != nil {
			t.Fatal(err)
		}
		if b, _, err := s.Read(t.Context(), name); err != nil || string(b) != "content" {
			t.Errorf("%q, %v", b, err)
		}
		after, err := os.Stat(filepath.Join(dir, "store", filepath.FromSlash(name)))
		if err != nil || after.Mode().Perm() != 0o600 {
			t.Fatal(after, err)
		}
		if os.SameFile(before, after) != linked {
			t.Errorf("%s: the object is the file: %v", name, !linked)
		}
	}
	f(s, dir, "a/b/linked", true)
	f(s, dir, "a/b/linked2", true)
	f(wrapped{s}, dir, "copied", false)
	f(s, other, "far/copied", sameDevice(t, dir, other))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file, err := os.Create(filepath.Join(dir, "late"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // in a test
	if err := PutFile(ctx, s, "late", file, 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := PutFile(t.Context(), s, "../x", file, 0); err == nil {
		t.Error("a wrong name is taken")
	}
}

func sameDevice(t *testing.T, a, b string) bool {
	t.Helper()
	var s [2]syscall.Stat_t
	for i, path := range []string{a, b} {
		if err := syscall.Stat(path, &s[i]); err != nil {
			t.Fatal(err)
		}
	}
	return s[0].Dev == s[1].Dev
}
