package engine

import "testing"

func TestHighest(t *testing.T) {
	e := &Engine{}
	if h := e.Highest(); h != 0 {
		t.Errorf("of nothing it is %d", h)
	}
	for _, ref := range []Ref{7, 5_000, 4_999, 64, 1} {
		s := e.head.of(ref)
		s.start(s.metric(ref), 1)
	}
	// Numbers beside one that is used are there, too, but were never written.
	e.head.of(9_000).metric(9_000)
	if h := e.Highest(); h != 5_000 {
		t.Errorf("it is %d", h)
	}
	// A forgotten one may still have windows in blocks.
	s := e.head.of(6_000)
	s.start(s.metric(6_000), 1)
	s.forget(s.find(6_000), 0)
	if h := e.Highest(); h != 6_000 {
		t.Errorf("it is %d", h)
	}
}
