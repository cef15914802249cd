package database

import (
	"sync"
	"time"
)

// Paced remembers what takes long to look up, and is asked for by those who need not have
// it new. Its methods may be called concurrently.
type Paced[T any] struct {
	mu   sync.Mutex
	last T
	err  error
	at   time.Time
	took time.Duration
}

// share is which part of the time is spent on looking up at most: a hundredth.
const share = 100

// Get gives what look gives, or gave the last time if that is a short time ago beside what
// it took.
func (p *Paced[T]) Get(look func() (T, error)) (T, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if begun := time.Now(); begun.Sub(p.at) >= share*p.took {
		p.last, p.err = look()
		p.at, p.took = begun, time.Since(begun)
	}
	return p.last, p.err
}
