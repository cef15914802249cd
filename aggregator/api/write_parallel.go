package api

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// inOrder makes n parts of an answer, several at a time, and sends them in their
// order; what is lost of them is told to main. part appends a part to the buffer of the reader that it is given, and is
// called concurrently. Few parts wait to be sent, so memory does not grow with n.
func (d *dataPlane) inOrder(ctx context.Context, n int, main *reader, to *pieces, part func(ctx context.Context, rd *reader, i int) error) error {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers <= 1 {
		rd := d.reader()
		defer d.doneReading(rd)
		for i := range n {
			rd.json.hold()
			if err := part(ctx, rd, i); err != nil {
				return err
			}
			main.lost, rd.lost = append(main.lost, rd.lost...), nil
			if to.send(rd.json.b); to.err != nil {
				return to.err
			}
		}
		return nil
	}
	type made struct {
		rd    *reader
		err   error
		panic any
	}
	waiting := 2 * workers
	parts := make([]chan made, waiting) // part i comes through the one at i%waiting
	for i := range parts {
		parts[i] = make(chan made, 1)
	}
	begun := make(chan struct{}, waiting) // an element for each part that is begun and not sent
	ctx, cancel := context.WithCancel(ctx)
	var (
		next    atomic.Int64
		running sync.WaitGroup
	)
	defer running.Wait()
	defer cancel()
	for range workers {
		running.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case begun <- struct{}{}:
				}
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				m := made{rd: d.reader()}
				func() {
					defer func() { m.panic = recover() }()
					m.rd.json.hold()
					m.err = part(ctx, m.rd, i)
				}()
				parts[i%waiting] <- m
			}
		})
	}
	for i := range n {
		var m made
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m = <-parts[i%waiting]:
		}
		if m.panic != nil {
			panic(m.panic) // where the server recovers
		}
		if m.err != nil {
			return m.err
		}
		main.lost = append(main.lost, m.rd.lost...)
		to.send(m.rd.json.b)
		d.doneReading(m.rd)
		if to.err != nil {
			return to.err
		}
		<-begun
	}
	return nil
}
