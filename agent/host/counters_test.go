package host

import (
	"testing"
	"testing/synctest"
	"time"
)

// However often it happens, it is told of every ten seconds, with nothing left out.
func TestModerate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m moderate
		told, sum := 0, uint64(0)
		for range 1000 {
			if n, tell := m.add(3); tell {
				told++
				sum += n
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(tellEvery)
		n, tell := m.add(0)
		if sum += n; !tell || told != 10 || sum != 3000 {
			t.Errorf("told %d times of %d rows", told, sum)
		}
	})
}
