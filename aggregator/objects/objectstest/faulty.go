package objectstest

import (
	"context"
	"io"
	"iter"
	"sync"

	"github.com/nephoscope/nepho/aggregator/objects"
)

// Call is one that a [Faulty] store gets.
type Call struct {
	Op   string // "put", "get", "read", "replace", "delete" or "list"
	Name string // of the object, or the prefix of the list
	N    int    // how many calls came before it
}

// Fault is what happens to a call. The zero value is nothing.
type Fault struct {
	// Wait is waited for before anything else, or for the end of the call's context.
	Wait <-chan struct{}
	// Before is returned, and nothing is done.
	Before error
	// After is returned when everything was done: an answer that was lost.
	After error
	// Cut has the reader of a get fail with After, or io.ErrUnexpectedEOF, behind that many
	// bytes; 0 does not.
	Cut int64
}

// Faulty is a store that fails on purpose.
type Faulty struct {
	objects.Store

	mu    sync.Mutex
	fault func(Call) Fault
	calls []Call
}

// NewFaulty is a store whose calls do what fault says. It may be called concurrently,
// not by itself; nil means that nothing fails.
func NewFaulty(s objects.Store, fault func(Call) Fault) *Faulty {
	return &Faulty{Store: s, fault: fault}
}

// Set changes what happens to calls that begin from now on.
func (f *Faulty) Set(fault func(Call) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// Calls returns those that came so far.
func (f *Faulty) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Call(nil), f.calls...)
}

// begin returns what happens to a call, when the time for it has come.
func (f *Faulty) begin(ctx context.Context, op, name string) (Fault, error) {
	f.mu.Lock()
	c := Call{Op: op, Name: name, N: len(f.calls)}
	f.calls = append(f.calls, c)
	var fault Fault
	if f.fault != nil {
		fault = f.fault(c)
	}
	f.mu.Unlock()
	if fault.Wait != nil {
		select {
		case <-fault.Wait:
		case <-ctx.Done():
			return fault, ctx.Err()
		}
	}
	return fault, fault.Before
}

// Put is that of the store, with faults.
func (f *Faulty) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	fault, err := f.begin(ctx, "put", name)
	if err == nil {
		err = f.Store.Put(ctx, name, r, size)
	}
	return first(err, fault.After)
}

// Get is that of the store, with faults.
func (f *Faulty) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	fault, err := f.begin(ctx, "get", name)
	if err != nil {
		return nil, err
	}
	r, err := f.Store.Get(ctx, name, offset, length)
	if err != nil || fault.Cut == 0 && fault.After == nil {
		return r, err
	}
	return &cut{ReadCloser: r, left: fault.Cut, err: first(fault.After, io.ErrUnexpectedEOF)}, nil
}

// cut is a reader that breaks.
type cut struct {
	io.ReadCloser
	left int64
	err  error
}

func (c *cut) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, c.err
	}
	n, err := c.ReadCloser.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

// Read is that of the store, with faults.
func (f *Faulty) Read(ctx context.Context, name string) ([]byte, objects.Version, error) {
	fault, err := f.begin(ctx, "read", name)
	if err != nil {
		return nil, "", err
	}
	data, version, err := f.Store.Read(ctx, name)
	if err := first(err, fault.After); err != nil {
		return nil, "", err
	}
	return data, version, nil
}

// Replace is that of the store, with faults.
func (f *Faulty) Replace(ctx context.Context, name string, old objects.Version, data []byte) (objects.Version, error) {
	fault, err := f.begin(ctx, "replace", name)
	if err != nil {
		return "", err
	}
	version, err := f.Store.Replace(ctx, name, old, data)
	if err := first(err, fault.After); err != nil {
		return "", err
	}
	return version, nil
}

// Delete is that of the store, with faults.
func (f *Faulty) Delete(ctx context.Context, name string) error {
	fault, err := f.begin(ctx, "delete", name)
	if err == nil {
		err = f.Store.Delete(ctx, name)
	}
	return first(err, fault.After)
}

// List is that of the store, with faults.
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		fault, err := f.begin(ctx, "list", prefix)
		if err != nil {
			yield(objects.Info{}, err)
			return
		}
		for info, err := range f.Store.List(ctx, prefix) {
			if !yield(info, err) {
				return
			}
		}
		if fault.After != nil {
			yield(objects.Info{}, fault.After)
		}
	}
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
