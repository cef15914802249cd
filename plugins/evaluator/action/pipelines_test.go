package action

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// pipes are pipelines that keep what they are given, unless fault says otherwise.
type pipes struct {
	mu    sync.Mutex
	fault func(list []*store.Delivery) error
	calls int
	got   []string // bodies
}

func (p *pipes) Give(_ context.Context, list []*store.Delivery) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault != nil {
		if err := p.fault(list); err != nil {
			return err
		}
	}
	p.calls++
	for _, d := range list {
		p.got = append(p.got, d.Body)
	}
	return nil
}

func (p *pipes) set(fault func([]*store.Delivery) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

func (p *pipes) has() (bodies []string, calls int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got), p.calls
}

// change records n changes of an alarm at once, and gives what the pipelines are to get.
func (r *rig) change(a *store.Summary, n int) (bodies []string) {
	r.t.Helper()
	var list []*store.Transition
	for i := range n {
		c := &store.Change{ID: uuid.New(), Alarm: a.ID, Name: a.Name, Kind: store.StateTransition, Detail: fmt.Sprintf(`{"number": %d}`, i), At: time.Now()}
		c.Deliveries = []*store.Delivery{Event(c)}
		list = append(list, &store.Transition{ID: a.ID, Definition: 1, Previous: 1, Change: c})
		bodies = append(bodies, c.Deliveries[0].Body)
	}
	if _, err := r.store.Commit(r.t.Context(), list); err != nil {
		r.t.Fatal(err)
	}
	r.queue.Owed([]string{EventTarget})
	return bodies
}

func newPipesRig(t *testing.T) (*rig, *pipes) {
	r, p := newRig(t), &pipes{}
	r.end()
	r.o.Events = p
	r.start()
	return r, p
}

// TestChangesTogether: many changes that wait go into the pipelines by few calls, in
// their order, each once.
func TestChangesTogether(t *testing.T) {
	r, p := newPipesRig(t)
	a := r.alarm("log:")
	want := r.change(a, 1000)
	r.await("nothing is owed", func() bool { owed, err := r.store.Targets(t.Context()); return err == nil && len(owed) == 0 })
	got, calls := p.has()
	if !slices.Equal(got, want) {
		t.Errorf("the pipelines got %d changes of %d, or not in order", len(got), len(want))
	}
	if calls > 10 {
		t.Errorf("they were given by %d calls", calls)
	}
}

// TestChangesWait: while the pipelines take nothing one change is tried alone, and all
// come when they do.
func TestChangesWait(t *testing.T) {
	r, p := newPipesRig(t)
	most := make(chan int, 5)
	p.set(func(list []*store.Delivery) error {
		select {
		case most <- len(list):
		default: // enough is known
		}
		return errors.New("the host does not listen")
	})
	a := r.alarm("log:")
	want := r.change(a, 100)
	r.await("it is tried", func() bool { return len(most) > 4 })
	<-most // all, and then one of them
	for range 4 {
		if n := <-most; n != 1 {
			t.Errorf("%d are tried while none is taken", n)
		}
	}
	r.end()
	p.set(nil)
	r.start()
	r.await("all are there", func() bool { got, _ := p.has(); return len(got) >= len(want) })
	if got, _ := p.has(); !slices.Equal(got, want) {
		t.Errorf("got %d changes, or not in order", len(got))
	}
}

// TestRefusedChanges: one that can't be given is put aside, and keeps no other.
func TestRefusedChanges(t *testing.T) {
	r, p := newPipesRig(t)
	p.set(func(list []*store.Delivery) error {
		for _, d := range list {
			if strings.Contains(d.Body, `number\": 7}`) {
				return &Refused{Reason: "it is no event"}
			}
		}
		return nil
	})
	a := r.alarm("log:")
	want := slices.Delete(r.change(a, 20), 7, 8)
	r.await("all others are there", func() bool { got, _ := p.has(); return len(got) >= len(want) })
	if got, _ := p.has(); !slices.Equal(got, want) {
		t.Errorf("got %d changes, or not in order", len(got))
	}
	r.await("it is put aside", func() bool {
		dead, err := r.store.Deliveries(t.Context(), nil, true, 0, 10)
		return err == nil && len(dead) == 1 && strings.Contains(dead[0].Body, `number\": 7}`)
	})
}
