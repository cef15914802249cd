package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/glob"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// server answers the host for all instances of one plugin.
type server struct {
	wire.UnimplementedPluginServer
	wire.UnimplementedPollsterServer
	wire.UnimplementedSourceServer
	wire.UnimplementedTransformerServer
	wire.UnimplementedPublisherServer
	wire.UnimplementedStorageServer
	wire.UnimplementedSeriesStorageServer
	wire.UnimplementedAskerServer

	p    Plugin
	kind Kind
	log  *slog.Logger

	mu        sync.Mutex
	instances map[string]*instance
}

// instance is a configured plugin.
type instance struct {
	impl     any
	env      Env
	states   []stateLog
	tags     map[string]string
	sequence sequence
	ids      randomIDs
	each     eachState

	calls  gate // Poll, Transform, Publish
	stream gate // Listen, beside which an alarm is published to
	looks  gate // Measure, beside all others
	asks   *asks
	asker  *asker
}

func newServer(p Plugin, log *slog.Logger) (*server, error) {
	kind, err := p.Kind()
	if err != nil {
		return nil, err
	}
	return &server{p: p, kind: kind, log: log, instances: map[string]*instance{}}, nil
}

// Describe implements the service Plugin.
func (s *server) Describe(context.Context, *wire.DescribeRequest) (*wire.Description, error) {
	return s.p.describe(s.kind), nil
}

func (p Plugin) describe(kind Kind) *wire.Description {
	d := &wire.Description{
		Kind: string(kind), Name: p.Name, Version: p.version(), Summary: p.Summary,
		SampleConfig: p.SampleConfig(), Sdk: protocol.SDKVersion,
	}
	for _, o := range config.Options(p.New()) {
		d.Options = append(d.Options, &wire.Option{
			Name: o.Name, Type: o.Type, Default: o.Default, Doc: o.Doc, Required: o.Required, Secret: o.Secret})
	}
	d.Meters, d.Own = describeMeters(p.Meters), describeMeters(p.Own)
	return d
}

func describeMeters(meters []MeterInfo) []*wire.MeterDescription {
	var list []*wire.MeterDescription
	for _, m := range meters {
		list = append(list, &wire.MeterDescription{Name: m.Name, Type: wire.MeterType(m.Type), Unit: m.Unit, Doc: m.Doc})
	}
	return list
}

// Check validates an instance's options and tells all that is wrong with them.
func (p Plugin) Check(options *config.Table) []config.Problem {
	return options.Decode(p.New())
}

// Check implements the service Plugin.
func (s *server) Check(_ context.Context, r *wire.CheckRequest) (*wire.CheckReply, error) {
	return &wire.CheckReply{Problems: protocol.EncodeProblems(s.p.Check(protocol.DecodeTable(r.Options)))}, nil
}

// Start implements the service Plugin.
func (s *server) Start(ctx context.Context, r *wire.StartRequest) (*wire.StartReply, error) {
	in := &instance{impl: s.p.New(), tags: r.Tags, asks: newAsks(), asker: newAsker()}
	opened := in.close() // nobody calls it before it is started
	s.mu.Lock()
	_, running := s.instances[r.Instance]
	if !running {
		s.instances[r.Instance] = in
	}
	s.mu.Unlock()
	if running {
		return nil, status.Errorf(codes.AlreadyExists, "instance %q is running", r.Instance)
	}
	reply, err := s.start(ctx, in, r)
	if err != nil || len(reply.Problems) > 0 || reply.Error != "" {
		s.mu.Lock()
		delete(s.instances, r.Instance)
		s.mu.Unlock()
	} else {
		in.asks.begin()
	}
	opened()
	return reply, err
}

// start starts an instance. One that is not started when it returns is stopped.
func (s *server) start(ctx context.Context, in *instance, r *wire.StartRequest) (*wire.StartReply, error) {
	if problems := protocol.DecodeTable(r.Options).Decode(in.impl); len(problems) > 0 {
		return &wire.StartReply{Problems: protocol.EncodeProblems(problems)}, nil
	}
	meters, err := glob.Compile(r.Meters)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if r.StateDir != "" {
		if err := os.MkdirAll(r.StateDir, 0o750); err != nil {
			return &wire.StartReply{Error: err.Error()}, nil
		}
	}
	in.env = Env{
		Instance: r.Instance, Log: instanceLog(s.log, r.Instance, r.LogLevel), StateDir: r.StateDir,
		Interval:    time.Duration(r.IntervalNs),
		Concurrency: max(1, int(r.Concurrency)), ResourceTimeout: time.Duration(r.ResourceTimeoutNs),
		meters: meters, states: &in.states,
	}
	if starter, ok := in.impl.(Starter); ok {
		if err := s.safely(in, func() error { return starter.Start(ctx, in.env) }); err != nil {
			return &wire.StartReply{Error: errors.Join(err, s.stop(ctx, in)).Error()}, nil
		}
	}
	if ctx.Err() != nil {
		// The host has given up waiting and will start it again.
		return nil, errors.Join(ctx.Err(), s.stop(context.WithoutCancel(ctx), in))
	}
	reply := &wire.StartReply{}
	if f, ok := in.impl.(Flusher); ok {
		reply.FlushIntervalNs = int64(f.FlushInterval())
	}
	return reply, nil
}

// Stop implements the service Plugin. It waits until the call under way returned,
// or ctx ended, and lets no other begin.
func (s *server) Stop(ctx context.Context, r *wire.StopRequest) (*wire.StopReply, error) {
	in := s.find(r.Instance)
	for in != nil && ctx.Err() == nil {
		if in.close() != nil {
			break
		}
		time.Sleep(time.Millisecond)
		if s.find(r.Instance) != in {
			in = nil // it could not start, or another Stop was first
		}
	}
	if in == nil {
		return &wire.StopReply{}, nil
	}
	s.mu.Lock()
	delete(s.instances, r.Instance)
	s.mu.Unlock()
	in.asks.close(ctx)
	return &wire.StopReply{Error: describeError(s.stop(ctx, in))}, nil
}

// find gives a running instance, or nil.
func (s *server) find(name string) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.instances[name]
}

func (s *server) stop(ctx context.Context, in *instance) error {
	var errs []error
	if stopper, ok := in.impl.(Stopper); ok {
		errs = append(errs, s.safely(in, func() error { return stopper.Stop(ctx) }))
	}
	for _, state := range in.states {
		errs = append(errs, state.close())
	}
	return errors.Join(errs...)
}

// close keeps all calls out, unless one is under way: then it gives nil.
func (in *instance) close() (open func()) {
	var entered []func()
	open = func() {
		for _, leave := range entered {
			leave()
		}
	}
	for _, g := range []*gate{&in.calls, &in.stream, &in.looks} {
		leave, err := g.enter()
		if err != nil {
			open()
			return nil
		}
		entered = append(entered, leave)
	}
	return open
}

// gate lets in one at a time.
type gate struct {
	mu    sync.Mutex
	since time.Time // when the call under way began; zero: none is
}

// enter begins a call. A call that has been given up by the host but goes on is
// never joined by a second one: the host learns how long it has been going on,
// and may restart the process.
func (g *gate) enter() (leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.since.IsZero() {
		return nil, status.Errorf(codes.Aborted, "the call before has not returned for %v", time.Since(g.since).Round(time.Millisecond))
	}
	g.since = time.Now()
	return func() {
		g.mu.Lock()
		g.since = time.Time{}
		g.mu.Unlock()
	}, nil
}

// await is enter for a stream, when the one before may be just ending.
func (g *gate) await() (leave func(), err error) {
	leave, err = g.enter()
	for begun := time.Now(); err != nil && time.Since(begun) < relistenPause; leave, err = g.enter() {
		time.Sleep(time.Millisecond)
	}
	return leave, err
}

// call finds the instance and begins a call to it.
func (s *server) call(name string) (*instance, func(), error) {
	in := s.find(name)
	if in == nil {
		return nil, nil, notRunning(name)
	}
	leave, err := in.calls.enter()
	return in, leave, err
}

func notRunning(name string) error {
	return status.Errorf(codes.NotFound, "instance %q is not running", name)
}

// output takes what a source emits.
func (in *instance) output(emit func([]byte) error) *output {
	o := in.results(&in.ids, emit)
	o.source, o.meters, o.tags = true, in.env.meters, in.tags
	return o
}

// results takes what a transformer makes. Its meters say what it is given; what
// it makes of that has other names.
func (in *instance) results(ids idSource, emit func([]byte) error) *output {
	return &output{instance: in.env.Instance, ids: ids, sequence: &in.sequence, emit: emit}
}

// panicked is the error of a call in which an author's code panicked.
type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprintf("the plugin panicked: %v", p.value) }

// safely calls an author's code: a panic there ends the call, not the process, and
// becomes an error of type *panicked.
func (s *server) safely(in *instance, call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{p}
			in.env.Log.Error("panic", "value", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	return call()
}

// describeError gives an error's text; nil is "".
func describeError(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
