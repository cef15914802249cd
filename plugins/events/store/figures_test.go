package store

import (
	"fmt"
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		is := func(want Size) {
			t.Helper()
			got, err := s.Size(t.Context())
			ok(t, err)
			if (got.Bytes > 0) != (want.Bytes > 0) {
				t.Errorf("it has %d bytes", got.Bytes)
			}
			if got.Bytes = want.Bytes; got != want {
				t.Errorf("it is %+v, want %+v", got, want)
			}
		}
		is(Size{})
		for i := range 3 {
			add(t, s, 2, event(fmt.Sprint(i), start), event(fmt.Sprint(i, "b"), start))
		}
		s.sized.took = 0
		is(Size{Events: 6, Chunks: 3, Bytes: 1})
		// What took long is not done again soon.
		s.sized.took = time.Hour
		add(t, s, 1, event("another", start))
		is(Size{Events: 6, Chunks: 3, Bytes: 1})
	})
}
