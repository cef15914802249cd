package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/disk"
)

// atOnce bounds how many file systems are asked at the same time.
const atOnce = 16

// prober asks file systems how full they are. One that does not answer, such as
// NFS without its server, holds up neither the poll nor the others, and is not
// asked again before it has answered: it costs one goroutine and no more.
type prober struct {
	usage   func(path string) (*disk.UsageStat, error)
	timeout time.Duration

	mu    sync.Mutex
	asked map[string]time.Time // those that have not answered, and since when
}

func newProber(timeout time.Duration) *prober {
	return &prober{
		usage:   func(path string) (*disk.UsageStat, error) { return disk.UsageWithContext(context.Background(), path) },
		timeout: timeout,
		asked:   map[string]time.Time{},
	}
}

type answer struct {
	i     int
	usage *disk.UsageStat
	err   error
}

// each hands the answer of each path to take, in order. The error joins what is
// wrong with the others.
func (p *prober) each(ctx context.Context, paths []string, take func(i int, u *disk.UsageStat)) error {
	var errs []error
	first := 0
	for some := range slices.Chunk(paths, atOnce) {
		for i, a := range p.ask(ctx, some) {
			if a.err != nil {
				errs = append(errs, fmt.Errorf("file system %s: %w", some[i], a.err))
				continue
			}
			take(first+i, a.usage)
		}
		first += len(some)
	}
	return errors.Join(errs...)
}

// ask gives one answer for each path.
func (p *prober) ask(ctx context.Context, paths []string) []answer {
	answers := make([]answer, len(paths))
	come := make(chan answer, len(paths)) // so that a late answer blocks nobody
	waiting := 0
	for i, path := range paths {
		if since, ok := p.begin(path); !ok {
			answers[i].err = fmt.Errorf("has not answered for %v", time.Since(since).Round(time.Second))
			continue
		}
		answers[i].err = fmt.Errorf("does not answer within %v", p.timeout)
		waiting++
		go func() {
			u, err := p.usage(path)
			p.end(path)
			come <- answer{i, u, err}
		}()
	}
	timer := time.NewTimer(p.timeout)
	defer timer.Stop()
	for waiting > 0 {
		select {
		case a := <-come:
			answers[a.i] = a
			waiting--
		case <-timer.C:
			return answers
		case <-ctx.Done():
			return answers
		}
	}
	return answers
}

// begin marks the path as asked, unless it is so since an earlier time.
func (p *prober) begin(path string) (since time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since, ok := p.asked[path]; ok {
		return since, false
	}
	p.asked[path] = time.Now()
	return time.Time{}, true
}

func (p *prober) end(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.asked, path)
}
