package objects

import (
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
