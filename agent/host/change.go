package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/spool"
	"github.com/nephoscope/nepho/agent/supervisor"
)

// Apply makes the host run the given configuration, which must have been checked.
// Only what differs from the present one is stopped and started; spools and
// transformer state stay. Changes of [agent] that concern the process as a whole
// (data_dir, plugin_dir, listen, ...) take effect with the next start.
//
// An error tells what could not be started; all else runs.
func (h *Host) Apply(ctx context.Context, next *config.Config) error {
	h.change.Lock()
	defer h.change.Unlock()
	before := h.config
	same := func(name string) bool {
		a, b := before.Instance(name), next.Instance(name)
		return a != nil && b != nil && a.Equal(b)
	}
	keep := plan(before, next, same)
	h.remove(ctx, keep)
	h.set(func() { h.config = next })
	return h.add(next)
}

// kept says what goes on running over a change, by the names of the host's maps.
type kept struct {
	sources, pipelines, sinks, instances, processes map[string]bool
}

// plan compares configurations. same tells whether an instance is in both, and
// configured alike.
func plan(before, next *config.Config, same func(string) bool) kept {
	k := kept{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, i := range next.Instances {
		if same(i.Name) {
			k.instances[i.Name] = true
			if config.IsSource(i.Kind) {
				k.sources[i.Name] = true
			}
		}
		k.processes[i.ProcessKey()] = true
	}
	old := map[string]*config.Pipeline{}
	for _, p := range before.Pipelines {
		old[p.Name] = p
	}
	for _, p := range next.Pipelines {
		whole := old[p.Name] != nil && old[p.Name].Equal(p)
		for _, t := range p.Transformers {
			k.instances[stageName(p, t)] = same(t)
			whole = whole && same(t)
		}
		for _, s := range p.Publishers {
			k.sinks[p.Name+"/"+s] = same(s)
			whole = whole && same(s)
		}
		k.pipelines[p.Name] = whole
	}
	return k
}

// remove stops what does not go on, in the direction in which samples flow, so
// that each part can hand on what it holds.
func (h *Host) remove(ctx context.Context, keep kept) {
	stopEach(h, h.sources, keep.sources, func(s *source) { s.stop(within(ctx, 3)) })
	stopEach(h, h.pipelines, keep.pipelines, func(p *pipeline) { p.stop(within(ctx, 3)) })
	stopEach(h, h.sinks, keep.sinks, func(s *sink) { s.stop(within(ctx, 2)) })
	stopEach(h, h.instances, keep.instances, func(i *supervisor.Instance) {
		if err := i.Stop(within(ctx, 2)); err != nil {
			h.log.Error("instance did not stop", "instance", i.Name(), "error", err)
		}
	})
	stopEach(h, h.processes, keep.processes, func(p *supervisor.Process) { p.Stop() })
}

// stopEach stops, side by side, those entries of a map that are not kept, and
// takes them out.
func stopEach[T any](h *Host, m map[string]T, keep map[string]bool, stop func(T)) {
	var wait sync.WaitGroup
	var gone []string
	for name, v := range m {
		if !keep[name] {
			gone = append(gone, name)
			wait.Go(func() { stop(v) })
		}
	}
	wait.Wait()
	h.set(func() {
		for _, name := range gone {
			delete(m, name)
		}
	})
}

// within gives a context that ends when the given part of ctx's remaining time is
// over, so that every part of a stop gets some.
func within(ctx context.Context, part int) context.Context {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx
	}
	left := time.Until(deadline) / time.Duration(part)
	ctx, cancel := context.WithTimeout(ctx, left)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// add starts what the configuration has and does not run yet, from the end of the
// flow to its beginning. A source runs only with all of its pipelines: what it
// gave to a part of them would be missing in the others, and acknowledged.
func (h *Host) add(next *config.Config) error {
	var errs []error
	for _, i := range next.Instances {
		if config.IsSink(i.Kind) && h.instances[i.Name] == nil {
			_, err := h.instance(i, i.Name)
			errs = append(errs, err)
		}
	}
	runs := map[string]bool{}
	for name := range h.sources {
		runs[name] = true
	}
	broken := map[string]bool{}
	for _, p := range next.Pipelines {
		if err := h.addPipeline(next, p); err != nil {
			errs = append(errs, fmt.Errorf("pipeline %s, and its sources %v, do not run: %w", p.Name, p.Sources, err))
			for _, source := range p.Sources {
				broken[source] = true
				runs[source] = false
			}
		}
	}
	stopEach(h, h.sources, runs, func(s *source) { s.stop(context.Background()) })
	// Sources that go on learn of new pipelines before new sources start.
	for name, s := range h.sources {
		s.routes.Store(h.routes(name))
	}
	for _, i := range next.Instances {
		if config.IsSource(i.Kind) && h.sources[i.Name] == nil && !broken[i.Name] {
			if err := h.startSource(i); err != nil {
				errs = append(errs, fmt.Errorf("source %s does not run: %w", i.Name, err))
			}
		}
	}
	var missing []string
	for _, err := range errs {
		if err != nil {
			missing = append(missing, err.Error())
		}
	}
	h.set(func() { h.missing = missing })
	return errors.Join(errs...)
}

// Retry tries again to start what could not be started.
func (h *Host) Retry() error {
	h.change.Lock()
	defer h.change.Unlock()
	if len(h.missing) == 0 || h.draining {
		return nil
	}
	return h.add(h.config)
}

func (h *Host) addPipeline(next *config.Config, p *config.Pipeline) error {
	if h.pipelines[p.Name] != nil {
		return nil
	}
	for _, name := range p.Publishers {
		i := next.Instance(name)
		if h.sinks[p.Name+"/"+name] != nil {
			continue
		}
		if h.instances[name] == nil {
			return errors.New("pipeline " + p.Name + ": publisher " + name + " does not run")
		}
		if _, err := h.startSink(p, i); err != nil {
			return err
		}
	}
	return h.startPipeline(next, p)
}

// Stop ends everything within ctx: sources first, then what is under way is
// carried on as far as time allows. What is spooled on disk stays there.
func (h *Host) Stop(ctx context.Context) {
	h.change.Lock()
	defer h.change.Unlock()
	h.set(func() { h.draining = true })
	h.remove(ctx, kept{})
	h.set(func() { h.config = new(config.Config) })
}

// Forgotten finds the spools that no pipeline of the configuration empties, and
// how many samples wait there: those of a pipeline or a publisher that was renamed
// or removed meanwhile.
func Forgotten(c *config.Config) map[string]uint64 {
	known := map[string]bool{}
	for _, p := range c.Pipelines {
		for _, publisher := range p.Publishers {
			known[filepath.Join(c.Agent.DataDir, "spool", p.Name, publisher)] = true
		}
	}
	waiting := map[string]uint64{}
	folders, _ := filepath.Glob(filepath.Join(c.Agent.DataDir, "spool", "*", "*")) // the pattern is right
	for _, folder := range folders {
		if known[folder] {
			continue
		}
		s, err := spool.Open(spool.Options{Dir: folder, Limit: math.MaxInt64 / 2})
		if err != nil {
			continue // not a spool, or damaged beyond looking at
		}
		if n := s.Stats().Waiting.Samples; n > 0 {
			waiting[folder] = n
		}
		s.Close()
	}
	return waiting
}

// names gives a map's keys in order.
func names[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
