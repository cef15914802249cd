package store

import (
	"fmt"
	"testing"

	"github.com/nephoscope/nepho/aggregator/database"
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
		s.size = database.Paced[Size]{} // it may not have been time to look again
		is(Size{Events: 6, Chunks: 3, Bytes: 1})
	})
}
