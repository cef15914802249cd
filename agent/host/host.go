// Package host is the agent's engine. The way of a sample through it, from top to
// bottom:
//
//	source.go, listen.go   a plugin hands over an encoded batch: a parcel
//	pipeline.go            each pipeline of the source filters it (filter.go), has
//	                       its transformers change it (stage.go), and appends it to
//	sink.go                the spool of each publisher, which is emptied to the
//	                       publisher; what that refuses goes to deadletter.go
//
// parcel.go tells a source when everything made of its batch is durable.
// questions.go has storages answer what alarms ask; figures.go asks plugins about
// themselves. host.go and change.go build all this from a configuration and change it to the next.
package host

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/nephoscope/nepho/agent/catalog"
	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/spool"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// Host runs what a configuration says.
type Host struct {
	catalog *catalog.Catalog
	log     *slog.Logger
	version string
	started time.Time

	// trial, when set, gets what would be spooled; see Trial.
	trial func(p *config.Pipeline, data []byte)

	change sync.Mutex // held while the configuration changes

	asking singleflight.Group // see Figures

	mu        sync.Mutex // guards what follows, for readers of the status
	config    *config.Config
	processes map[string]*supervisor.Process  // by process key
	instances map[string]*supervisor.Instance // by name in the protocol: a transformer has one in each pipeline
	gates     map[string]chan struct{}        // by publisher
	sinks     map[string]*sink                // by pipeline/publisher
	pipelines map[string]*pipeline
	sources   map[string]*source
	draining  bool
	missing   []string // what could not be started, and why
}

// New makes a host; Apply has it run something.
func New(c *catalog.Catalog, version string, log *slog.Logger) *Host {
	return &Host{
		catalog: c, log: log, version: version, started: time.Now(), config: new(config.Config),
		processes: map[string]*supervisor.Process{}, instances: map[string]*supervisor.Instance{}, gates: map[string]chan struct{}{},
		sinks: map[string]*sink{}, pipelines: map[string]*pipeline{}, sources: map[string]*source{},
	}
}

// process gives the process for an instance and starts it if it does not run.
func (h *Host) process(i *config.Instance) (*supervisor.Process, error) {
	key := i.ProcessKey()
	if p := h.processes[key]; p != nil {
		return p, nil
	}
	spec, err := h.catalog.Spec(i)
	if err != nil {
		return nil, err
	}
	spec.MTLS = h.config.Agent.MTLS
	spec.MemoryLimit = int64(h.config.Agent.PluginMemoryLimit)
	spec.Log = h.log.With("plugin", i.Kind+"/"+i.Plugin)
	if config.IsSink(i.Kind) {
		spec.Stdout = os.Stdout
	}
	p := supervisor.Start(spec)
	h.set(func() { h.processes[key] = p })
	return p, nil
}

// instance starts an instance under the name it has in the protocol.
func (h *Host) instance(i *config.Instance, name string) (*supervisor.Instance, error) {
	p, err := h.process(i)
	if err != nil {
		return nil, err
	}
	request := &wire.StartRequest{
		Instance: name, Options: protocol.EncodeTable(i.Options), Meters: i.Meters, Tags: i.Tags,
		IntervalNs: int64(i.Interval), Concurrency: uint32(i.Concurrency), ResourceTimeoutNs: int64(i.ResourceTimeout), LogLevel: i.LogLevel,
	}
	if h.trial == nil {
		request.StateDir = filepath.Join(h.config.Agent.DataDir, "state", i.Kind, name)
	}
	in := p.Add(request)
	h.set(func() { h.instances[name] = in })
	return in, nil
}

// set changes what readers of the status may be reading.
func (h *Host) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *Host) startSink(p *config.Pipeline, i *config.Instance) (*sink, error) {
	name := p.Name + "/" + i.Name
	log := h.log.With("pipeline", p.Name, "publisher", i.Name)
	options := spool.Options{Limit: int64(i.SpoolLimit), Log: log}
	if i.Spool == "memory" {
		options.Limit = int64(i.QueueLimit)
	} else {
		options.Dir = filepath.Join(h.config.Agent.DataDir, "spool", p.Name, i.Name)
	}
	sp, err := spool.Open(options)
	if err != nil {
		return nil, fmt.Errorf("cannot open the spool of %s: %w", name, err)
	}
	if h.gates[i.Name] == nil {
		h.gates[i.Name] = make(chan struct{}, 1)
	}
	s := &sink{
		name: name, publisher: i, spool: sp, gate: h.gates[i.Name], log: log,
		dead:   &deadLetters{path: filepath.Join(h.config.Agent.DataDir, "dead", p.Name, i.Name+".jsonl"), log: log},
		caller: caller{instance: h.instances[i.Name], timeout: i.Timeout, patience: 2},
	}
	s.start()
	h.set(func() { h.sinks[name] = s })
	return s, nil
}

func (h *Host) startPipeline(c *config.Config, p *config.Pipeline) error {
	pl := &pipeline{
		config: p,
		dead:   &deadLetters{path: filepath.Join(c.Agent.DataDir, "dead", p.Name, "@transformers.jsonl"), log: h.log.With("pipeline", p.Name)},
		log:    h.log.With("pipeline", p.Name),
	}
	for _, name := range p.Transformers {
		i := c.Instance(name)
		in := h.instances[stageName(p, name)]
		if in == nil {
			var err error
			if in, err = h.instance(i, stageName(p, name)); err != nil {
				return err
			}
		}
		pl.chain = append(pl.chain, &stage{caller: caller{instance: in, timeout: i.Timeout, patience: 2}})
	}
	pl.trial = h.trial
	for _, name := range p.Publishers {
		if h.trial != nil {
			break
		}
		pl.sinks = append(pl.sinks, h.sinks[p.Name+"/"+name])
	}
	pl.start(int64(c.Agent.QueueLimit))
	h.set(func() { h.pipelines[p.Name] = pl })
	return nil
}

// stageName is the name under which a transformer runs for a pipeline: each
// pipeline has a transformer's state to itself.
func stageName(p *config.Pipeline, transformer string) string { return p.Name + "/" + transformer }

func (h *Host) startSource(i *config.Instance) error {
	s := &source{config: i, log: h.log.With("source", i.Name)}
	s.routes.Store(h.routes(i.Name))
	if i.Kind == config.Pollster && i.Plugin == Internal && i.Command == "" {
		s.local = h.internal(i)
	} else {
		in := h.instances[i.Name] // an alarm runs already, as a publisher
		if in == nil {
			var err error
			if in, err = h.instance(i, i.Name); err != nil {
				return err
			}
		}
		s.caller = caller{instance: in, patience: 2}
	}
	if i.Kind == config.Pollster {
		s.caller.timeout = i.Timeout
		s.start(s.poll)
	} else {
		// The end of a stream may take a while; only one that never comes is a hang.
		s.caller.patience = 12
		s.start(s.listen(h))
	}
	h.set(func() { h.sources[i.Name] = s })
	return nil
}

// routes lists the pipelines that a source's batches go to.
func (h *Host) routes(source string) *[]*pipeline {
	var to []*pipeline
	for _, name := range slices.Sorted(maps.Keys(h.pipelines)) {
		if p := h.pipelines[name]; slices.Contains(p.config.Sources, source) {
			to = append(to, p)
		}
	}
	return &to
}
