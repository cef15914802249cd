// Package objectstest is for tests of and with object stores: what every store must
// do, and a store that fails on purpose.
package objectstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/nephoscope/nepho/aggregator/objects"
)

// Conform checks that a store, which must be empty, does what [objects.Store] says. It
// leaves objects behind.
func Conform(t *testing.T, s objects.Store) {
	t.Run("content", func(t *testing.T) { content(t, s) })
	t.Run("ranges", func(t *testing.T) { ranges(t, s) })
	t.Run("names", func(t *testing.T) { names(t, s) })
	t.Run("missing", func(t *testing.T) { missing(t, s) })
	t.Run("not replaced", func(t *testing.T) { notReplaced(t, s) })
	t.Run("wrong sizes", func(t *testing.T) { wrongSizes(t, s) })
	t.Run("replace", func(t *testing.T) { replace(t, s) })
	t.Run("one of many puts wins", func(t *testing.T) { onePut(t, s) })
	t.Run("one of many replaces wins", func(t *testing.T) { oneReplace(t, s) })
	t.Run("increments", func(t *testing.T) { increments(t, s) })
	t.Run("list", func(t *testing.T) { list(t, s) })
	t.Run("ended context", func(t *testing.T) { endedContext(t, s) })
}

// large is more bytes than what S3 is given at once.
const large = 9 << 20

// Bytes is random content that is the same each time.
func Bytes(size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size)}).Read(b) //nolint:errcheck // never fails
	return b
}

func put(t *testing.T, s objects.Store, name string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s objects.Store, name string, offset, length int64) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), name, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func content(t *testing.T, s objects.Store) {
	// The last one is larger than what is uploaded at once.
	for _, size := range []int{0, 1, 4096, 1<<20 + 1, large} {
		name, data := fmt.Sprintf("content/%d", size), Bytes(size)
		put(t, s, name, data)
		if got := get(t, s, name, 0, -1); !bytes.Equal(got, data) {
			t.Fatalf("%d bytes come back as %d others", size, len(got))
		}
		got, version, err := s.Read(t.Context(), name)
		if err != nil || !bytes.Equal(got, data) || version == "" {
			t.Fatalf("%d bytes come back as %d others, version %q: %v", size, len(got), version, err)
		}
	}
}

func ranges(t *testing.T, s objects.Store) {
	data := Bytes(10_000)
	put(t, s, "ranges/all", data)
	put(t, s, "ranges/empty", nil)
	for _, r := range []struct{ offset, length int64 }{
		{0, -1}, {0, 0}, {0, 1}, {0, 10_000}, {0, 10_001}, {1, -1}, {1, 5000}, {5000, 5000}, {5000, 5001},
		{9_999, 1}, {9_999, -1}, {9_999, 2}, {10_000, -1}, {10_000, 1}, {10_000, 0}, {20_000, -1}, {20_000, 10},
	} {
		from := min(r.offset, int64(len(data)))
		want := data[from:]
		if r.length >= 0 {
			want = want[:min(r.length, int64(len(want)))]
		}
		if got := get(t, s, "ranges/all", r.offset, r.length); !bytes.Equal(got, want) {
			t.Errorf("%d bytes from %d: got %d, want %d", r.length, r.offset, len(got), len(want))
		}
		if got := get(t, s, "ranges/empty", r.offset, r.length); len(got) != 0 {
			t.Errorf("%d bytes from %d of none: got %d", r.length, r.offset, len(got))
		}
	}
	if _, err := s.Get(t.Context(), "ranges/all", -1, 5); err == nil {
		t.Error("from byte -1: no error")
	}
	// Not all of it is read.
	r, err := s.Get(t.Context(), "ranges/all", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, s objects.Store) {
	for _, name := range []string{"names/a", "names/b/c/d-1_2.x", "names/" + strings.Repeat("n", 200), "names" + strings.Repeat("/0123456789", 70)} {
		put(t, s, name, []byte(name))
		if got := string(get(t, s, name, 0, -1)); got != name {
			t.Errorf("%q: got %q", name, got)
		}
	}
	for _, name := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", ".a", "a/.b", "a b", "ä", "a\x00", strings.Repeat("n", 201), strings.Repeat("/0123456789", 80)[1:]} {
		var errs []error
		errs = append(errs, s.Put(t.Context(), name, strings.NewReader("x"), 1), s.Delete(t.Context(), name))
		_, err := s.Get(t.Context(), name, 0, -1)
		errs = append(errs, err)
		_, _, err = s.Read(t.Context(), name)
		errs = append(errs, err)
		_, err = s.Replace(t.Context(), name, "", []byte("x"))
		errs = append(errs, err)
		for i, err := range errs {
			if err == nil || errors.Is(err, objects.ErrNotFound) || errors.Is(err, objects.ErrConflict) {
				t.Errorf("%q, call %d: %v", name, i, err)
			}
		}
	}
}

func missing(t *testing.T, s objects.Store) {
	put(t, s, "missing/folder/object", []byte("x"))
	for _, name := range []string{"missing/not", "missing/folder", "missing/folder/object/not", "missing-not/a/b"} {
		for _, length := range []int64{-1, 0, 1} {
			if r, err := s.Get(t.Context(), name, 0, length); !errors.Is(err, objects.ErrNotFound) {
				t.Errorf("Get %q: %v, %v", name, r, err)
			}
		}
		if _, _, err := s.Read(t.Context(), name); !errors.Is(err, objects.ErrNotFound) {
			t.Errorf("Read %q: %v", name, err)
		}
		if name == "missing/folder" {
			continue // a folder, where it is one
		}
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("Delete %q: %v", name, err)
		}
	}
	for range 2 { // the name is not used again but in this test
		if err := s.Delete(t.Context(), "missing/folder/object"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), "missing/folder/object", 0, -1); !errors.Is(err, objects.ErrNotFound) {
			t.Fatalf("a deleted object: %v", err)
		}
		put(t, s, "missing/folder/object", []byte("x"))
	}
}

func notReplaced(t *testing.T, s objects.Store) {
	for _, c := range []struct{ size, other int }{{10, 10}, {11, large}, {large, 12}} {
		name, data := fmt.Sprintf("taken/%d", c.size), Bytes(c.size)
		put(t, s, name, data)
		if err := s.Put(t.Context(), name, bytes.NewReader(make([]byte, c.other)), int64(c.other)); !errors.Is(err, objects.ErrConflict) {
			t.Fatalf("%d bytes over %d: %v", c.other, c.size, err)
		}
		if got := get(t, s, name, 0, -1); !bytes.Equal(got, data) {
			t.Fatal("it was replaced")
		}
	}
}

func wrongSizes(t *testing.T, s objects.Store) {
	broken := errors.New("broken")
	for _, size := range []int{10, large} {
		for i, r := range []io.Reader{
			bytes.NewReader(Bytes(size - 1)),
			bytes.NewReader(Bytes(size + 1)),
			io.MultiReader(bytes.NewReader(Bytes(size/2)), iotest.ErrReader(broken)),
		} {
			name := fmt.Sprintf("wrong/%d/%d", size, i)
			err := s.Put(t.Context(), name, r, int64(size))
			if err == nil || i == 2 && !errors.Is(err, broken) {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := s.Get(t.Context(), name, 0, -1); !errors.Is(err, objects.ErrNotFound) {
				t.Fatalf("%s is there: %v", name, err)
			}
		}
	}
}

func replace(t *testing.T, s objects.Store) {
	const name = "replace/manifest"
	if _, err := s.Replace(t.Context(), name, "nonsense", []byte("x")); !errors.Is(err, objects.ErrConflict) {
		t.Fatalf("of a version, when there is none: %v", err)
	}
	var versions []objects.Version
	var old objects.Version
	for i := range 4 {
		data := []byte(strconv.Itoa(i))
		version, err := s.Replace(t.Context(), name, old, data)
		if err != nil {
			t.Fatal(err)
		}
		if version == "" || slices.Contains(versions, version) {
			t.Fatalf("version %q after %q", version, versions)
		}
		got, read, err := s.Read(t.Context(), name)
		if err != nil || string(got) != string(data) || read != version {
			t.Fatalf("got %q of version %q, want %q of %q: %v", got, read, data, version, err)
		}
		versions = append(versions, version)
		for _, wrong := range append(versions[:i:i], "", "nonsense") {
			if _, err := s.Replace(t.Context(), name, wrong, []byte("wrong")); !errors.Is(err, objects.ErrConflict) {
				t.Fatalf("of version %q: %v", wrong, err)
			}
		}
		old = version
	}
	if got := get(t, s, name, 0, -1); string(got) != "3" {
		t.Fatalf("got %q", got)
	}
	if err := s.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Replace(t.Context(), name, old, []byte("x")); !errors.Is(err, objects.ErrConflict) {
		t.Fatalf("of a version that was deleted: %v", err)
	}
}

// race calls f ten times at once, and returns which calls succeeded. The others must
// have a conflict.
func race(t *testing.T, f func(i int) error) (won []int) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range 10 {
		all.Go(func() {
			<-start
			err := f(i)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, i)
			} else if !errors.Is(err, objects.ErrConflict) {
				t.Error(err)
			}
		})
	}
	close(start)
	all.Wait()
	return won
}

func onePut(t *testing.T, s objects.Store) {
	for round := range 5 {
		name := fmt.Sprintf("race/%d", round)
		won := race(t, func(i int) error {
			return s.Put(t.Context(), name, strings.NewReader(strconv.Itoa(i)), 1)
		})
		if got := string(get(t, s, name, 0, -1)); len(won) != 1 || got != strconv.Itoa(won[0]) {
			t.Fatalf("round %d: %v won, and %q is there", round, won, got)
		}
	}
}

func oneReplace(t *testing.T, s objects.Store) {
	const name = "race/manifest"
	var version objects.Version
	for round := range 5 {
		won := race(t, func(i int) error {
			_, err := s.Replace(t.Context(), name, version, fmt.Appendf(nil, "%d %d", round, i))
			return err
		})
		got, now, err := s.Read(t.Context(), name)
		if err != nil || len(won) != 1 || string(got) != fmt.Sprint(round, won[0]) {
			t.Fatalf("round %d: %v won, and %q is there: %v", round, won, got, err)
		}
		version = now
	}
}

// increments has several count in one object.
func increments(t *testing.T, s objects.Store) {
	const name, writers, each = "increments/count", 4, 5
	if _, err := s.Replace(t.Context(), name, "", []byte("0")); err != nil {
		t.Fatal(err)
	}
	var conflicts atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for n := 0; n < each; {
				data, version, err := s.Read(t.Context(), name)
				if err != nil {
					t.Error(err)
					return
				}
				count, err := strconv.Atoi(string(data))
				if err != nil {
					t.Error(err)
					return
				}
				_, err = s.Replace(t.Context(), name, version, []byte(strconv.Itoa(count+1)))
				switch {
				case err == nil:
					n++
				case errors.Is(err, objects.ErrConflict):
					conflicts.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if got := string(get(t, s, name, 0, -1)); got != strconv.Itoa(writers*each) {
		t.Fatalf("counted to %s, with %d conflicts", got, conflicts.Load())
	}
}

func list(t *testing.T, s objects.Store) {
	want := map[string]int64{}
	for i, name := range []string{"list/a/1", "list/a/2", "list/a-b", "list/a.b", "list/ab/x/y/z", "list/B", "list/b", "list/b0", "lists"} {
		put(t, s, name, Bytes(i))
		want[name] = int64(i)
	}
	check := func(prefix string) {
		t.Helper()
		got := map[string]int64{}
		last := ""
		for info, err := range s.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			if info.Name <= last {
				t.Errorf("prefix %q: %q after %q", prefix, info.Name, last)
			}
			last = info.Name
			got[info.Name] = info.Size
		}
		for name, size := range want {
			if has, ok := got[name]; ok != strings.HasPrefix(name, prefix) || ok && has != size {
				t.Errorf("prefix %q: %q %v, %d bytes of %d", prefix, name, ok, has, size)
			}
		}
		for name := range got {
			if !strings.HasPrefix(name, prefix) {
				t.Errorf("prefix %q: %q", prefix, name)
			}
		}
	}
	for _, prefix := range []string{"list", "list/", "list/a", "list/a/", "list/a/1", "list/ab/x", "list/none/", "none", "../", "/", "list//", ""} {
		check(prefix)
	}
	for range s.List(t.Context(), "list") {
		break // and nothing is left of it
	}
	// Deleting what was listed does not disturb the list.
	for info, err := range s.List(t.Context(), "list/") {
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), info.Name); err != nil {
			t.Fatal(err)
		}
		delete(want, info.Name)
	}
	if len(want) != 1 {
		t.Fatalf("%v are left", want)
	}
	check("list")
}

func endedContext(t *testing.T, s objects.Store) {
	put(t, s, "ended/object", Bytes(1<<20))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.Get(ctx, "ended/object", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("reading: %v", err)
	}
	if err := s.Put(ctx, "ended/other", strings.NewReader("x"), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
	if _, err := s.Replace(ctx, "ended/other", "", []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Replace: %v", err)
	}
	for _, err := range s.List(ctx, "ended") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("List: %v", err)
		}
	}
}
