package objects_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/objects/objectstest"
)

const pageSize = 256 << 10

// remote is a store that the cache does not know to be local.
func remote(t *testing.T) *objectstest.Faulty {
	t.Helper()
	s, err := objects.Local(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return objectstest.NewFaulty(s, nil)
}

func newCache(t *testing.T, s objects.Store, dir string, limit int64) *objects.Cache {
	t.Helper()
	c, err := objects.NewCache(s, dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return c
}

func putObject(t *testing.T, s objects.Store, name string, size int) []byte {
	t.Helper()
	data := objectstest.Bytes(size)
	if err := s.Put(t.Context(), name, bytes.NewReader(data), int64(size)); err != nil {
		t.Fatal(err)
	}
	return data
}

// expectPart reads a part of an object through the cache.
func expectPart(t *testing.T, c *objects.Cache, name string, data []byte, offset, length int) {
	t.Helper()
	f, err := c.Open(t.Context(), name, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, length)
	n, err := f.ReadAt(b, int64(offset))
	want := data[min(offset, len(data)):min(offset+length, len(data))]
	if n != len(want) || !bytes.Equal(b[:n], want) {
		t.Fatalf("%d bytes from %d of %d: got %d, %v", length, offset, len(data), n, err)
	}
	// For no bytes, io.ReaderAt leaves the error open.
	if length > 0 && (n == length && err != nil || n < length && !errors.Is(err, io.EOF)) {
		t.Fatalf("%d bytes from %d of %d: %v", length, offset, len(data), err)
	}
}

func diskUse(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	return bytes
}

func TestCacheGivesTheRightBytes(t *testing.T) {
	s := remote(t)
	dir := t.TempDir()
	c := newCache(t, s, dir, 100<<20)
	for _, size := range []int{0, 1, 4095, 4096, 4097, pageSize - 1, pageSize, pageSize + 1, 3*pageSize + 4100, 18 * pageSize} {
		name := fmt.Sprint("object-", size)
		data := putObject(t, s, name, size)
		for range 2 { // once fetched, once from disk
			expectPart(t, c, name, data, 0, size)
			expectPart(t, c, name, data, 0, size+1)
			expectPart(t, c, name, data, size, 1)
			expectPart(t, c, name, data, max(0, size-1), 1)
			for range 20 {
				offset := rand.IntN(size + 1)
				expectPart(t, c, name, data, offset, rand.IntN(size-offset+10))
			}
		}
		f, err := c.Open(t.Context(), name, int64(size))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(make([]byte, 1), -1); err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("from byte -1: %v", err)
		}
	}
	st := c.Stats()
	if st.Pages != int(st.Misses) || st.Hits == 0 || st.Damaged != 0 || st.WriteErrors != 0 || st.Bytes != diskUse(t, dir) {
		t.Fatalf("stats %+v, %d bytes on disk", st, diskUse(t, dir))
	}
	calls := len(s.Calls())

	// After a restart nothing is fetched again.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = newCache(t, s, dir, 100<<20)
	expectPart(t, c, fmt.Sprint("object-", 18*pageSize), objectstest.Bytes(18*pageSize), 0, 18*pageSize)
	if st := c.Stats(); st.Misses != 0 || st.Hits != 18 || len(s.Calls()) != calls {
		t.Fatalf("stats %+v, %d calls more", st, len(s.Calls())-calls)
	}
}

// TestCacheFetchesRuns fetches pages that are next to each other at once.
func TestCacheFetchesRuns(t *testing.T) {
	s := remote(t)
	c := newCache(t, s, t.TempDir(), 100<<20)
	data := putObject(t, s, "object", 40*pageSize)
	gets := func(f func()) int {
		before := len(s.Calls())
		f()
		return len(s.Calls()) - before
	}
	for _, step := range []struct{ page, pages, gets int }{
		{3, 1, 1}, {3, 1, 0}, {0, 10, 2}, {0, 10, 0}, {10, 30, 2}, {0, 40, 0},
	} {
		if n := gets(func() { expectPart(t, c, "object", data, step.page*pageSize, step.pages*pageSize) }); n != step.gets {
			t.Fatalf("pages %d to %d: %d requests, want %d", step.page, step.page+step.pages, n, step.gets)
		}
	}
}

func TestCacheKeepsItsLimit(t *testing.T) {
	s := remote(t)
	dir := t.TempDir()
	const limit = 5 * (pageSize + pageSize/4096*4)
	c := newCache(t, s, dir, limit)
	data := putObject(t, s, "object", 20*pageSize)
	read := func(page int) { expectPart(t, c, "object", data, page*pageSize+100, 10) }
	for page := range 20 {
		read(page)
		read(0) // stays, since it is used
		if st := c.Stats(); st.Bytes > limit || st.Bytes != diskUse(t, dir) {
			t.Fatalf("stats %+v, %d bytes on disk", st, diskUse(t, dir))
		}
	}
	misses := c.Stats().Misses
	for _, page := range []int{0, 16, 17, 18, 19} {
		read(page)
	}
	if st := c.Stats(); st.Misses != misses || misses != 20 || st.Pages != 5 {
		t.Fatalf("stats %+v", st)
	}
	expectPart(t, c, "object", data, 0, len(data)) // more than there is room for

	// A lower limit holds at once.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = newCache(t, s, dir, limit/2)
	if st := c.Stats(); st.Pages != 2 || diskUse(t, dir) > limit/2 {
		t.Fatalf("stats %+v, %d bytes on disk", st, diskUse(t, dir))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = newCache(t, s, dir, 0)
	expectPart(t, c, "object", data, 0, len(data))
	if diskUse(t, dir) != 0 {
		t.Fatalf("%d bytes on disk", diskUse(t, dir))
	}
}

func TestCacheFetchesDamagedPagesAgain(t *testing.T) {
	s := remote(t)
	dir := t.TempDir()
	c := newCache(t, s, dir, 100<<20)
	data := putObject(t, s, "object", 2*pageSize+5000)
	other := putObject(t, s, "other", pageSize)
	expectPart(t, c, "object", data, 0, len(data))
	expectPart(t, c, "other", other, 0, len(other))
	files, err := filepath.Glob(filepath.Join(dir, "*.page"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%v, %v", files, err)
	}
	spoils := map[string]func(path string, b []byte) []byte{
		"flipped":   func(_ string, b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"checksum":  func(_ string, b []byte) []byte { b[1] ^= 4; return b },
		"truncated": func(_ string, b []byte) []byte { return b[:len(b)-1] },
		"empty":     func(_ string, b []byte) []byte { return nil },
		"another page": func(path string, b []byte) []byte {
			for _, f := range files {
				if f != path {
					if b, err = os.ReadFile(f); err != nil {
						t.Fatal(err)
					}
				}
			}
			return b
		},
	}
	for name, spoil := range spoils {
		for _, path := range files {
			before := c.Stats().Damaged
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, spoil(path, bytes.Clone(b)), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				expectPart(t, c, "object", data, 0, len(data))
				expectPart(t, c, "other", other, 0, len(other))
			}
			if got := c.Stats().Damaged - before; got != 1 {
				t.Fatalf("%s %s: %d pages were damaged", name, path, got)
			}
			if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%s: the page is not as it was: %v", name, err)
			}
		}
	}
	// One that somebody deleted is only missed.
	before := c.Stats()
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	expectPart(t, c, "object", data, 0, len(data))
	expectPart(t, c, "other", other, 0, len(other))
	if st := c.Stats(); st.Damaged != before.Damaged || st.Misses != before.Misses+1 {
		t.Fatalf("stats %+v, before %+v", st, before)
	}
}

func TestCacheFetchesOnceForManyReaders(t *testing.T) {
	s := remote(t)
	c := newCache(t, s, t.TempDir(), 100<<20)
	data := putObject(t, s, "object", 3*pageSize)
	wait := make(chan struct{})
	s.Set(func(objectstest.Call) objectstest.Fault { return objectstest.Fault{Wait: wait} })
	before := len(s.Calls())
	var started, all sync.WaitGroup
	for i := range 20 {
		started.Add(1)
		all.Go(func() {
			started.Done()
			expectPart(t, c, "object", data, i*1000, len(data)-20_000)
		})
	}
	started.Wait()
	close(wait)
	all.Wait()
	if n := len(s.Calls()) - before; n != 1 {
		t.Fatalf("%d requests", n)
	}
}

// TestCacheReaderGivesUp has the one who fetches give up, which is not the others' loss.
func TestCacheReaderGivesUp(t *testing.T) {
	s := remote(t)
	c := newCache(t, s, t.TempDir(), 100<<20)
	data := putObject(t, s, "object", 1000)
	wait, called := make(chan struct{}), make(chan struct{}, 10)
	s.Set(func(objectstest.Call) objectstest.Fault {
		called <- struct{}{}
		return objectstest.Fault{Wait: wait}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		f, err := c.Open(ctx, "object", 1000)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := f.ReadAt(make([]byte, 10), 0); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	<-called
	all.Go(func() { expectPart(t, c, "object", data, 0, 1000) })
	short, end := context.WithTimeout(t.Context(), time.Millisecond)
	defer end()
	f, err := c.Open(short, "object", 1000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(make([]byte, 10), 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a waiter whose time is over: %v", err)
	}
	cancel()
	<-called // somebody else fetches
	close(wait)
	all.Wait()
}

func TestCacheErrors(t *testing.T) {
	s := remote(t)
	dir := t.TempDir()
	c := newCache(t, s, dir, 100<<20)
	data := putObject(t, s, "object", 1000)
	broken := errors.New("broken")
	read := func(name string, size int64) error {
		f, err := c.Open(t.Context(), name, size)
		if err != nil {
			return err
		}
		_, err = f.ReadAt(make([]byte, 10), 0)
		return errors.Join(err, f.Close())
	}
	for _, fault := range []objectstest.Fault{{Before: broken}, {After: broken, Cut: 500}} {
		s.Set(func(objectstest.Call) objectstest.Fault { return fault })
		if err := read("object", 1000); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
	s.Set(nil)
	if err := read("object", 1001); err == nil || !strings.Contains(err.Error(), "fewer than its 1001 bytes") {
		t.Errorf("got %v", err)
	}
	if err := read("none", 10); !errors.Is(err, objects.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if err := read("../object", 10); err == nil {
		t.Error("no error")
	}
	expectPart(t, c, "object", data, 0, 1000) // nothing of it stays
	if _, err := objects.NewCache(s, dir, 1); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
}

func TestCacheOfALocalStore(t *testing.T) {
	s, err := objects.Local(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "not made")
	c := newCache(t, s, dir, 1<<20)
	data := putObject(t, s, "object", 3*pageSize)
	expectPart(t, c, "object", data, 100, 2*pageSize)
	if _, err := c.Open(t.Context(), "object", 5); err == nil || !strings.Contains(err.Error(), "should have 5") {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Open(t.Context(), "none", 5); !errors.Is(err, objects.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the folder of the cache was made")
	}
	if st := c.Stats(); st != (objects.CacheStats{Limit: 1 << 20}) {
		t.Fatalf("stats %+v", st)
	}
}

// TestCacheOnAFullDisk reads on when nothing can be kept.
func TestCacheOnAFullDisk(t *testing.T) {
	s := remote(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("cannot mount a small disk (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	c, err := objects.NewCache(s, dir, 100<<20)
	if err != nil {
		t.Fatal(err)
	}
	data := putObject(t, s, "object", 10*pageSize)
	for range 3 {
		expectPart(t, c, "object", data, 0, len(data))
	}
	if st := c.Stats(); st.WriteErrors == 0 || st.Pages == 0 || st.Bytes != diskUse(t, dir) {
		t.Fatalf("stats %+v, %d bytes on disk", st, diskUse(t, dir))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCacheUnderLoad reads at random while pages come, go and are damaged.
func TestCacheUnderLoad(t *testing.T) {
	s := remote(t)
	dir := t.TempDir()
	c := newCache(t, s, dir, 6*pageSize)
	const size = 5*pageSize + 1234
	var names []string
	for i := range 3 {
		names = append(names, fmt.Sprint("object-", i))
		putObject(t, s, names[i], size)
	}
	data := objectstest.Bytes(size)
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for range 40 {
				offset := r.IntN(size)
				expectPart(t, c, names[r.IntN(3)], data, offset, r.IntN(2*pageSize))
				if r.IntN(10) == 0 {
					if files, err := filepath.Glob(filepath.Join(dir, "*.page")); err == nil && len(files) > 0 {
						os.Truncate(files[r.IntN(len(files))], int64(r.IntN(pageSize))) //nolint:errcheck // it may be gone
					}
				}
			}
		})
	}
	all.Wait()
	if st := c.Stats(); st.Bytes < 0 || st.Bytes > st.Limit {
		t.Fatalf("stats %+v", st)
	}
}

func BenchmarkCacheReadAt(b *testing.B) {
	local, err := objects.Local(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	s := objectstest.NewFaulty(local, nil)
	data := objectstest.Bytes(8 << 20)
	if err := s.Put(b.Context(), "object", bytes.NewReader(data), int64(len(data))); err != nil {
		b.Fatal(err)
	}
	for _, store := range []objects.Store{local, s} {
		c, err := objects.NewCache(store, b.TempDir(), 100<<20)
		if err != nil {
			b.Fatal(err)
		}
		f, err := c.Open(b.Context(), "object", int64(len(data)))
		if err != nil {
			b.Fatal(err)
		}
		for _, size := range []int{1000, 100_000} {
			kind := "local"
			if store != local {
				kind = "remote"
			}
			b.Run(fmt.Sprint(kind, " ", size), func(b *testing.B) {
				buf := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, err := f.ReadAt(buf, int64(i*7919*64%(len(data)-size))); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		if err := errors.Join(f.Close(), c.Close()); err != nil {
			b.Fatal(err)
		}
	}
}
