package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/sdk"
)

// Trial polls the named pollsters, or all, a number of times and shows what each
// pipeline would publish. It starts no publisher and touches neither spools nor
// saved state. show is called by one goroutine at a time.
func (h *Host) Trial(ctx context.Context, c *config.Config, only []string, polls int, every time.Duration,
	show func(pipeline string, publishers []string, b *sdk.Batch)) error {
	var mu sync.Mutex
	var errs []error
	h.config = c
	h.trial = func(p *config.Pipeline, data []byte) {
		mu.Lock()
		defer mu.Unlock()
		b, err := sdk.DecodeBatch(data)
		if err != nil {
			errs = append(errs, err)
			return
		}
		show(p.Name, p.Publishers, b)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Agent.StopTimeout)
		defer cancel()
		h.Stop(ctx)
	}()
	for _, p := range c.Pipelines {
		if err := h.startPipeline(c, p); err != nil {
			return err
		}
	}
	for n := range polls {
		if n > 0 {
			wait := time.NewTimer(every)
			select {
			case <-wait.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for _, i := range c.Instances {
			if i.Kind != config.Pollster || len(only) > 0 && !slices.Contains(only, i.Name) {
				continue
			}
			if err := h.try(ctx, i); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", i.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// try polls a pollster once and waits until its samples are through.
func (h *Host) try(ctx context.Context, i *config.Instance) error {
	ctx, cancel := context.WithTimeout(ctx, i.Timeout+startGrace)
	defer cancel()
	s := h.sources[i.Name]
	if s == nil {
		s = &source{config: i, log: h.log.With("source", i.Name)}
		if i.Plugin == Internal && i.Command == "" {
			s.local = h.internal(i)
		} else {
			in, err := h.instance(i, i.Name)
			if err != nil {
				return err
			}
			s.caller = caller{instance: in, timeout: i.Timeout, patience: 2}
		}
		s.start(func(context.Context, context.Context) {})
		h.sources[i.Name] = s
	}
	s.routes.Store(h.routes(i.Name))
	through := make(chan error, 1)
	f := newFate(func(err error) { through <- err })
	err := s.gather(ctx, f)
	f.done(nil)
	select {
	case e := <-through:
		return errors.Join(err, e)
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("its samples did not get through the transformers: %w", ctx.Err()))
	}
}

// startGrace is what a trial allows for processes to start.
const startGrace = 10 * time.Second
