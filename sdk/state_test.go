package sdk

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// number is a value with a form of its own.
type number uint64

func (n number) AppendBinary(to []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(to, uint64(n)), nil
}

func (n *number) UnmarshalBinary(data []byte) error {
	if len(data) != 8 {
		return fmt.Errorf("%d bytes instead of 8", len(data))
	}
	*n = number(binary.BigEndian.Uint64(data))
	return nil
}

func openState[V any](t testing.TB, dir string, expire time.Duration) *State[V] {
	t.Helper()
	s, err := NewState[V](Env{StateDir: dir}, "test", expire)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// call is what the SDK does around each Transform.
func call[V any](t testing.TB, s *State[V], batch byte, change func()) {
	t.Helper()
	s.begin([16]byte{batch})
	change()
	if err := s.commit(); err != nil {
		t.Fatal(err)
	}
}

func snapshot[V any](s *State[V]) map[Key]V { return maps.Collect(s.All()) }

// A state behaves like a map whose last change can be taken back, through
// restarts, failed calls, batches given again and rewritten files.
func TestStateIsAMap(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		s := openState[number](t, dir, 0)
		before, now := map[Key]number{}, map[Key]number{}
		batch := [16]byte{}
		check := func(when string) {
			t.Helper()
			if got := snapshot(s); !maps.Equal(got, now) || s.Len() != len(now) {
				t.Fatalf("seed %d, %s: got %v, want %v", seed, when, got, now)
			}
		}
		for step := range 400 {
			redelivered := batch != [16]byte{} && r.IntN(4) == 0
			if redelivered {
				now = maps.Clone(before)
			} else {
				binary.BigEndian.PutUint32(batch[:], uint32(step+1))
				before = maps.Clone(now)
			}
			s.begin(batch)
			check("after begin")
			for range r.IntN(12) {
				k := Key{fmt.Sprint("meter", r.IntN(4)), strings.Repeat("r", r.IntN(8))}
				v := number(r.Uint64())
				got, ok := s.Get(k)
				if want, has := now[k]; got != want || ok != has {
					t.Fatalf("%v is %v, %v instead of %v, %v", k, got, ok, want, has)
				}
				switch r.IntN(4) {
				case 0:
					s.Delete(k)
					delete(now, k)
				case 1:
					s.Set(k, v)
					now[k] = v
				default:
					was, had := s.Swap(k, v)
					if want, has := now[k]; was != want || had != has {
						t.Fatalf("swapped out %v, %v instead of %v, %v", was, had, want, has)
					}
					now[k] = v
				}
			}
			if r.IntN(8) == 0 {
				s.rollback()
				now = maps.Clone(before)
			}
			if err := s.commit(); err != nil {
				t.Fatal(err)
			}
			check("after commit")
			switch r.IntN(12) {
			case 0, 1:
				if r.IntN(2) == 0 { // else as after kill -9
					if err := s.close(); err != nil {
						t.Fatal(err)
					}
				}
				s = openState[number](t, dir, 0)
				check("after a restart")
				if s.file.damaged != 0 {
					t.Fatalf("%d bytes are damaged", s.file.damaged)
				}
			case 2:
				if err := s.rewrite(); err != nil {
					t.Fatal(err)
				}
				check("after rewriting")
				batch = [16]byte{} // it cannot be taken back any more
			}
		}
	}
}

// A rewrite keeps the file small, and nothing of it is a batch to be taken back.
func TestStateIsRewritten(t *testing.T) {
	dir := t.TempDir()
	s := openState[string](t, dir, 0)
	large := strings.Repeat("v", 100<<10)
	for i := range 120 {
		call(t, s, byte(1+i%2), func() { s.Set(Key{"m", "r"}, fmt.Sprint(i, large)) })
	}
	s.begin([16]byte{9})
	info, err := os.Stat(filepath.Join(dir, "test.state"))
	if err != nil || info.Size() > minRewrite+200<<10 {
		t.Errorf("size %v, error %v", info.Size(), err)
	}
	if err := s.rewrite(); err != nil {
		t.Fatal(err)
	}
	s = openState[string](t, dir, 0)
	call(t, s, 2, func() {}) // the batch before
	if v, ok := s.Get(Key{"m", "r"}); !ok || !strings.HasPrefix(v, "119v") {
		t.Errorf("the value is %.10q, %v", v, ok)
	}
}

func TestStateExpires(t *testing.T) {
	dir := t.TempDir()
	s := openState[number](t, dir, time.Hour)
	call(t, s, 1, func() { s.Set(Key{"m", "old"}, 1); s.Set(Key{"m", "young"}, 2) })
	old := s.index[Key{"m", "old"}]
	age := func(s *State[number]) {
		s.cells[s.index[Key{"m", "old"}]].touched -= 2 * 3600
		s.swept = s.swept.Add(-time.Hour)
	}
	age(s)
	call(t, s, 2, func() { s.Set(Key{"m", "young"}, 3) })
	if _, ok := s.Get(Key{"m", "old"}); ok || s.Len() != 1 {
		t.Fatal("it is not forgotten")
	}
	call(t, s, 3, func() { s.Set(Key{"m", "next"}, 4) })
	if s.index[Key{"m", "next"}] != old {
		t.Error("its memory is not used again")
	}
	call(t, s, 4, func() { s.Set(Key{"m", "old"}, 5) })
	if s = openState[number](t, dir, time.Hour); s.Len() != 3 {
		t.Fatalf("state %v", snapshot(s))
	}
	// What expired while nothing ran is gone when it runs again.
	age(s)
	if err := s.rewrite(); err != nil {
		t.Fatal(err)
	}
	if s = openState[number](t, dir, time.Hour); s.Len() != 2 {
		t.Fatalf("state %v", snapshot(s))
	}
}

// A value that cannot be stored costs nothing but itself.
func TestStateOfUnstorableValue(t *testing.T) {
	dir := t.TempDir()
	s := openState[float64](t, dir, 0)
	a, b, c := Key{"m", "a"}, Key{"m", "b"}, Key{"m", "c"}
	call(t, s, 1, func() { s.Set(a, 1) })
	s.begin([16]byte{2})
	s.Set(a, math.NaN())
	s.Set(b, math.Inf(1))
	if err := s.commit(); err == nil || !strings.Contains(err.Error(), `resource "a"`) {
		t.Errorf("error %v", err)
	}
	call(t, s, 3, func() { s.Set(c, 3) })
	s = openState[float64](t, dir, 0)
	if got := snapshot(s); !maps.Equal(got, map[Key]float64{c: 3}) || s.file.damaged != 0 {
		t.Errorf("got %v, %d bytes damaged", got, s.file.damaged)
	}
	call(t, s, 4, func() { s.Set(a, 4); s.Set(b, 5) })
	if got := snapshot(openState[float64](t, dir, 0)); len(got) != 3 {
		t.Errorf("got %v", got)
	}
}

// An author's new version may have another type of value.
func TestStateOfAnotherType(t *testing.T) {
	dir := t.TempDir()
	s := openState[string](t, dir, 0)
	call(t, s, 1, func() { s.Set(Key{"m", "a"}, "text"); s.Set(Key{"m", "b"}, "more") })
	n := openState[number](t, dir, 0)
	if n.Len() != 0 || n.file.damaged != 0 {
		t.Errorf("%d keys, %d bytes damaged", n.Len(), n.file.damaged)
	}
	call(t, n, 2, func() { n.Set(Key{"m", "b"}, 7) })
	if got := snapshot(openState[number](t, dir, 0)); !maps.Equal(got, map[Key]number{{"m", "b"}: 7}) {
		t.Errorf("got %v", got)
	}
}

func TestStateInMemory(t *testing.T) {
	s := openState[number](t, "", 0)
	call(t, s, 1, func() { s.Set(Key{"m", "r"}, 1) })
	call(t, s, 2, func() { s.Set(Key{"m", "r"}, 2) })
	s.begin([16]byte{2})
	if v, _ := s.Get(Key{"m", "r"}); v != 1 {
		t.Errorf("the batch given again finds %v", v)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
