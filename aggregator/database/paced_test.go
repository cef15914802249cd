package database

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// What takes a second is looked up each hundred seconds, also where it fails.
func TestPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Paced[int]
		n, fails := 0, errors.New("no database")
		get := func(after time.Duration, want int) {
			t.Helper()
			time.Sleep(after)
			got, err := p.Get(func() (int, error) {
				time.Sleep(time.Second)
				n++
				return n, fails
			})
			if got != want || !errors.Is(err, fails) {
				t.Errorf("it is %d (%v), want %d", got, err, want)
			}
		}
		get(0, 1)
		get(0, 1)
		get(98*time.Second, 1)
		get(time.Second, 2)
		fails = nil // of the next one
		time.Sleep(100 * time.Second)
		get(0, 3)
	})
}

// What takes no time is always new.
func TestPacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Paced[int]
		for want := range 3 {
			if got, err := p.Get(func() (int, error) { return want, nil }); got != want || err != nil {
				t.Errorf("it is %d (%v), want %d", got, err, want)
			}
		}
	})
}
