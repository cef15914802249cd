package action

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// Sender does an action. Its error is a [*Refused] if it makes no sense to try again, and
// a [*Later] if it is known when it may.
type Sender interface {
	Send(ctx context.Context, action *url.URL, d *store.Delivery) error
}

// Pipelines takes changes of alarms, many at once: what one waits for, such as a disk, the
// others need not wait for again.
type Pipelines interface {
	// Give gives changes to the pipelines in their order, and returns when what these
	// make of them is durable. Its error is as that of a [Sender], and says that all are
	// still owed.
	Give(ctx context.Context, list []*store.Delivery) error
}

// Refused is an answer by which a target says that it will never take a delivery.
type Refused struct {
	Reason string
	// Status is that of an answer of HTTP; 0: it was none.
	Status int
}

func (r *Refused) Error() string { return r.Reason }

// Later is an answer by which a target says when to try again.
type Later struct {
	After  time.Duration
	Reason string
}

func (l *Later) Error() string { return l.Reason }

// Options of [New].
type Options struct {
	Store *store.Store
	// Senders are those of schemes, such as http.
	Senders map[string]Sender
	// Events takes what goes into the pipelines; nil: nothing does.
	Events Pipelines
	// First is the pause after the first attempt in vain, which doubles up to Longest.
	// After GiveUp a delivery is put aside.
	First, Longest, GiveUp time.Duration
	// Timeout is the most time of an attempt.
	Timeout time.Duration
	Log     *slog.Logger
}

// Queue does what is owed. Its methods may be called concurrently.
type Queue struct {
	o     Options
	mu    sync.Mutex
	live  map[string]*worker // by target
	hosts map[string]*host   // those that attempts go on to, or wait for
	work  sync.WaitGroup
	// Attempts that go on at once: those of targets that took the last delivery, and
	// those of others, which may take up their time and must not take up that of the
	// first.
	quick, slow chan struct{}
	ctx         context.Context

	attempts, failures atomic.Uint64
}

// Counters tell how often it was tried since the start to do an action, or to give
// changes to the pipelines, and how often that was in vain or refused.
type Counters struct{ Attempts, Failures uint64 }

// Counters gives the counters.
func (q *Queue) Counters() Counters { return Counters{q.attempts.Load(), q.failures.Load()} }

// Numbers of attempts that go on at once.
const (
	quickAttempts = 256
	slowAttempts  = 64
	// hostAttempts is to one host: one that hangs, and has a URL for each alarm, must not
	// have all the others' attempts.
	hostAttempts = 16
)

// host is a host that attempts go on to.
type host struct {
	slots chan struct{}
	users int
}

// New makes a queue, which does nothing before Run.
func New(o Options) *Queue {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Queue{o: o, live: map[string]*worker{}, hosts: map[string]*host{}, quick: make(chan struct{}, quickAttempts), slow: make(chan struct{}, slowAttempts)}
}

// worker does what is owed to one target, as long as something is.
type worker struct {
	target string
	wake   chan struct{} // has an element when there is something new
	retry  chan struct{} // has an element when it is to be tried again at once
	// unnoted are deliveries that are over, which could not be written down yet. They are
	// not done again meanwhile: while a disk is full nobody is to be called each second.
	unnoted []int64
	told    bool // the log was
	// failing is since when it takes nothing; zero: it does.
	failing time.Time
}

// Run does what is owed until ctx ends.
func (q *Queue) Run(ctx context.Context) error {
	q.mu.Lock()
	q.ctx = ctx
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		q.ctx = nil // no worker begins from here on
		q.mu.Unlock()
		q.work.Wait()
	}()
	for pause := q.o.First; ; pause = min(2*pause, time.Minute) {
		owed, err := q.o.Store.Targets(ctx)
		if err == nil {
			for target := range owed {
				q.Owed([]string{target})
			}
			break
		}
		q.o.Log.Warn("what alarms owe can't be read; it is tried again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// Owed has what is owed to targets done soon; that of a target that fails, when it is tried
// again.
func (q *Queue) Owed(targets []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ctx == nil {
		return // Run finds it in the store
	}
	for _, target := range targets {
		w := q.live[target]
		if w == nil {
			w = &worker{target: target, wake: make(chan struct{}, 1), retry: make(chan struct{}, 1)}
			q.live[target] = w
			ctx := q.ctx
			q.work.Go(func() { q.serve(ctx, w) })
			continue
		}
		ring(w.wake)
	}
}

// Retry has a target tried again at once.
func (q *Queue) Retry(target string) {
	q.Owed([]string{target})
	q.mu.Lock()
	defer q.mu.Unlock()
	if w := q.live[target]; w != nil {
		ring(w.retry)
	}
}

func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Failing gives the targets that take nothing, and since when.
func (q *Queue) Failing() map[string]time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := map[string]time.Time{}
	for target, w := range q.live {
		if !w.failing.IsZero() {
			list[target] = w.failing
		}
	}
	return list
}

const (
	// read is how many deliveries of a target are read at once, readEvents how many
	// changes that go into the pipelines.
	read, readEvents = 32, 256
	// fresh is how long what was read is taken for what is still owed: another node may
	// delete alarms, which are not to fire then. Of deletions here the store tells.
	fresh = 100 * time.Millisecond
	// lingering is how long a worker waits for more.
	lingering = 5 * time.Second
)

// serve does what is owed to a target, until there has been nothing for a while.
func (q *Queue) serve(ctx context.Context, w *worker) {
	most := read
	if w.target == EventTarget {
		most = readEvents
	}
	for ctx.Err() == nil {
		if !q.note(ctx, w) {
			continue
		}
		deletions := q.o.Store.Deletions() // before reading, so that none is missed
		list, err := q.o.Store.Owed(ctx, w.target, 0, most)
		if err != nil {
			await(ctx, w.retry, time.Second)
			continue
		}
		all := len(list) < most // what comes from here on rings
		began := time.Now()
		owed := func(d *store.Delivery) (bool, error) {
			if time.Since(began) <= fresh && q.o.Store.Deletions() == deletions {
				return true, nil
			}
			return q.o.Store.StillOwed(ctx, d.Ref)
		}
		for len(list) > 0 {
			n := 1
			if w.target == EventTarget && w.failing.IsZero() {
				n = len(list)
			}
			if !q.do(ctx, w, list[:n], owed) {
				all = false
				break
			}
			list = list[n:]
		}
		if !all {
			continue
		}
		q.mu.Lock()
		w.failing = time.Time{} // nothing is owed, so nothing fails
		q.mu.Unlock()
		if await(ctx, w.wake, lingering) {
			continue
		}
		q.mu.Lock()
		if len(w.wake) == 0 {
			delete(q.live, w.target)
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
	}
}

// note writes down what is over. It reports whether all is; if not, it has waited.
func (q *Queue) note(ctx context.Context, w *worker) bool {
	if len(w.unnoted) == 0 {
		return true
	}
	err := q.o.Store.Delivered(context.WithoutCancel(ctx), w.unnoted...)
	if err == nil {
		w.unnoted, w.told = nil, false
		return true
	}
	if !w.told {
		w.told = true
		q.o.Log.Warn("deliveries were done, but that could not be noted; it is tried again", "target", w.target, "deliveries", len(w.unnoted), "error", err)
	}
	// Only the database is asked, and what has become owed meanwhile waits for it.
	await(ctx, w.retry, min(time.Second, q.o.Longest))
	return false
}

// await waits for a ring, or for a time. It reports whether it rang.
func await(ctx context.Context, bell <-chan struct{}, most time.Duration) bool {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return false
	case <-bell:
		return true
	}
}

// do tries deliveries, together, that are still owed when their turn comes. It reports
// whether all of that is over; if not, it has waited for the next attempt.
func (q *Queue) do(ctx context.Context, w *worker, list []*store.Delivery, owed func(*store.Delivery) (bool, error)) bool {
	leave, ok := q.enter(ctx, w, list[0])
	if !ok {
		return false
	}
	list, unknown := those(list, owed)
	var err error
	if unknown == nil && len(list) > 0 {
		err = q.attempt(ctx, list)
		q.attempts.Add(1)
		if err != nil {
			q.failures.Add(1)
		}
	}
	leave()
	switch {
	case unknown != nil:
		await(ctx, w.retry, time.Second)
		return false
	case len(list) == 0:
		return true
	case err != nil && ctx.Err() != nil:
		return false
	case err != nil && len(list) > 1: // one may be at fault; the others are read again
		q.do(ctx, w, list[:1], owed)
		return false
	}
	d := list[0]
	q.mark(w, d, err)
	var refused *Refused
	age := time.Since(d.Created)
	switch {
	case err == nil:
		for _, d := range list {
			w.unnoted = append(w.unnoted, d.Ref)
		}
		return q.note(ctx, w)
	case errors.As(err, &refused):
		q.o.Log.Warn("an alarm's action is refused, and put aside", "alarm", d.Alarm, "target", w.target, "tries", d.Tries+1, "error", err)
		err = q.o.Store.Tried(ctx, d.Ref, d.Tries+1, err.Error(), time.Now())
	case age > q.o.GiveUp:
		var n int
		if n, err = q.o.Store.GiveUp(ctx, d.Ref, w.target, time.Now().Add(-q.o.GiveUp), err.Error()); err == nil {
			q.o.Log.Warn("actions of alarms are given up and put aside, for their target has not taken them for too long", "target", w.target, "deliveries", n, "after", q.o.GiveUp)
			return false // the others are read again
		}
	default:
		if err := q.o.Store.Tried(ctx, d.Ref, d.Tries+1, err.Error(), time.Time{}); err != nil {
			q.o.Log.Warn("an attempt could not be noted", "alarm", d.Alarm, "error", err)
		}
		await(ctx, w.retry, q.pause(d.Tries, err))
		return false
	}
	if err != nil {
		// It is tried again, and then put aside.
		q.o.Log.Warn("an action of an alarm could not be put aside; it is tried again", "alarm", d.Alarm, "target", w.target, "error", err)
		await(ctx, w.retry, q.pause(d.Tries, nil))
		return false
	}
	return true
}

// enter waits until an attempt may go on: until there are not too many to its host, and not
// too many at all. The attempt is to leave then.
func (q *Queue) enter(ctx context.Context, w *worker, d *store.Delivery) (leave func(), ok bool) {
	name := w.target
	if u, err := url.Parse(d.Action); err == nil && u.Host != "" {
		name = u.Scheme + "://" + u.Host
	}
	q.mu.Lock()
	h := q.hosts[name]
	if h == nil {
		h = &host{slots: make(chan struct{}, hostAttempts)}
		q.hosts[name] = h
	}
	h.users++
	q.mu.Unlock()
	gone := func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(q.hosts, name)
		}
	}
	slots := q.quick
	if !w.failing.IsZero() {
		slots = q.slow
	}
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		gone()
		return nil, false
	}
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		<-h.slots
		gone()
		return nil, false
	}
	return func() { <-slots; <-h.slots; gone() }, true
}

// those gives the deliveries that are still owed.
func those(list []*store.Delivery, owed func(*store.Delivery) (bool, error)) (still []*store.Delivery, err error) {
	for _, d := range list {
		is, err := owed(d)
		if err != nil {
			return nil, err
		}
		if is {
			still = append(still, d)
		}
	}
	return still, nil
}

// grace is how long an attempt that is under way may go on when the queue ends: its
// target may have taken the delivery already.
const grace = 2 * time.Second

// attempt does an action once, or gives changes to the pipelines.
func (q *Queue) attempt(end context.Context, list []*store.Delivery) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(end), q.o.Timeout)
	defer cancel()
	defer context.AfterFunc(end, func() { time.AfterFunc(grace, cancel) })()
	d := list[0]
	if d.Target == EventTarget {
		if q.o.Events == nil {
			return nil
		}
		return q.o.Events.Give(ctx, list)
	}
	u, err := url.Parse(d.Action)
	if err != nil {
		return &Refused{Reason: "the action is no URL"} // which may have a trust's id
	}
	sender := q.o.Senders[u.Scheme]
	if sender == nil {
		return &Refused{Reason: fmt.Sprintf("there is no way to do actions of the kind %s", u.Scheme)}
	}
	return sender.Send(ctx, u, d)
}

// pause is how long to wait after an attempt in vain.
func (q *Queue) pause(tries int, err error) time.Duration {
	p := q.o.First << min(tries, 20)
	if p <= 0 || p > q.o.Longest {
		p = q.o.Longest
	}
	p = p/2 + rand.N(p/2+1) // so that targets are not tried in step
	var later *Later
	if errors.As(err, &later) {
		p = max(p, min(later.After, q.o.Longest))
	}
	return p
}

// mark notes whether a target takes deliveries, and says so when that changes.
func (q *Queue) mark(w *worker, d *store.Delivery, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var refused *Refused
	failed := err != nil && !errors.As(err, &refused)
	switch {
	case failed && w.failing.IsZero():
		w.failing = time.Now()
		q.o.Log.Warn("a target of alarms does not take what is owed to it; it is tried again and again", "target", w.target, "alarm", d.Alarm, "error", err)
	case !failed && !w.failing.IsZero():
		q.o.Log.Info("a target of alarms takes what is owed to it again", "target", w.target, "after", time.Since(w.failing).Round(time.Second))
		w.failing = time.Time{}
	}
}
