package sdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// lifePlugin counts what is called.
type lifePlugin struct {
	pollFunc
	Size int `toml:"size" default:"3" min:"1" doc:"how much"`

	start, stop    func(ctx context.Context) error
	started, ended *atomic.Int32
}

func (p *lifePlugin) Start(ctx context.Context, _ Env) error { p.started.Add(1); return p.start(ctx) }
func (p *lifePlugin) Stop(ctx context.Context) error         { p.ended.Add(1); return p.stop(ctx) }

func serveLife(t *testing.T, start, stop func(ctx context.Context) error) (s *served, started, ended *atomic.Int32) {
	started, ended = new(atomic.Int32), new(atomic.Int32)
	poll := func(context.Context, *Builder) error { return nil }
	return serve(t, Plugin{Name: "life", Pollster: func() Pollster {
		return &lifePlugin{pollFunc: pollFunc{poll}, start: start, stop: stop, started: started, ended: ended}
	}}), started, ended
}

func nothing(context.Context) error { return nil }

func TestLifeOfAnInstance(t *testing.T) {
	s, started, ended := serveLife(t, nothing, func(context.Context) error { return errors.New("not clean") })
	ctx := t.Context()
	if r, err := s.Stop(ctx, &wire.StopRequest{Instance: "i"}); err != nil || r.Error != "" {
		t.Errorf("stopping what is not there: %v, error %v", r, err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	for range 3 {
		if _, err := s.Start(ctx, &wire.StartRequest{Instance: "i", StateDir: dir}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Start(ctx, &wire.StartRequest{Instance: "i"}); status.Code(err) != codes.AlreadyExists {
			t.Errorf("starting twice: error %v", err)
		}
		if _, _, err := s.poll(ctx); err != nil {
			t.Error(err)
		}
		if r, err := s.Stop(ctx, &wire.StopRequest{Instance: "i"}); err != nil || r.Error != "not clean" {
			t.Errorf("stopping: %v, error %v", r, err)
		}
		if _, _, err := s.poll(ctx); status.Code(err) != codes.NotFound {
			t.Errorf("polling what is stopped: error %v", err)
		}
	}
	if started.Load() != 3 || ended.Load() != 3 {
		t.Errorf("started %d times, stopped %d times", started.Load(), ended.Load())
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Errorf("the folder for state: %v, error %v", info, err)
	}
}

func TestStartFails(t *testing.T) {
	f := func(want string, start func(context.Context) error) {
		t.Helper()
		s, _, ended := serveLife(t, start, nothing)
		for range 2 {
			r, err := s.Start(t.Context(), &wire.StartRequest{Instance: "i"})
			if err != nil || r.Error != want {
				t.Errorf("%v, error %v", r, err)
			}
		}
		if ended.Load() != 2 {
			t.Errorf("stopped %d times", ended.Load())
		}
	}
	f("no server", func(context.Context) error { return errors.New("no server") })
	f("the plugin panicked: mistake", func(context.Context) error { panic("mistake") })

	s, started, _ := serveLife(t, nothing, nothing)
	r, err := s.Start(t.Context(), &wire.StartRequest{Instance: "i", Options: &wire.Table{Entries: []*wire.Entry{
		{Key: "size", Value: &wire.Value{Kind: &wire.Value_Integer{Integer: 0}}},
		{Key: "sise", Value: &wire.Value{Kind: &wire.Value_Integer{Integer: 1}}},
	}}})
	if err != nil || len(r.Problems) != 2 || started.Load() != 0 {
		t.Errorf("%v, error %v, started %d times", r, err, started.Load())
	}
	if _, err := s.Start(t.Context(), &wire.StartRequest{Instance: "i", Meters: []string{"[a"}}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("error %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Start(t.Context(), &wire.StartRequest{Instance: "i", StateDir: file}); err != nil || r.Error == "" {
		t.Errorf("%v, error %v", r, err)
	}
}

// A start that the host no longer waits for is undone; none begins beside it.
func TestStartGivenUp(t *testing.T) {
	entered, release := make(chan struct{}, 1), make(chan struct{})
	s, started, ended := serveLife(t, func(context.Context) error {
		entered <- struct{}{}
		<-release
		return nil
	}, nothing)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := s.Start(ctx, &wire.StartRequest{Instance: "i"})
		failed <- err
	}()
	<-entered
	cancel()
	if err := <-failed; status.Code(err) != codes.Canceled {
		t.Errorf("error %v", err)
	}
	if _, err := s.Start(t.Context(), &wire.StartRequest{Instance: "i"}); status.Code(err) != codes.AlreadyExists {
		t.Errorf("error %v", err)
	}
	if _, _, err := s.poll(t.Context()); status.Code(err) != codes.Aborted {
		t.Errorf("error %v", err)
	}
	close(release)
	eventually(t, "it is undone", func() bool { return ended.Load() == 1 })
	eventually(t, "it can be started again", func() bool {
		_, err := s.Start(t.Context(), &wire.StartRequest{Instance: "i"})
		return err == nil
	})
	if _, err := s.Stop(t.Context(), &wire.StopRequest{Instance: "i"}); err != nil || started.Load() != 2 || ended.Load() != 2 {
		t.Errorf("error %v, started %d times, stopped %d times", err, started.Load(), ended.Load())
	}
}

// A call that ignores the end of its context is never joined by a second one.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, ended := make(chan struct{}), make(chan error, 1)
		s := serve(t, pollster(func(_ context.Context, out *Builder) error {
			<-release
			out.On(Resource{ID: "r"}).Gauge("late", "", 1)
			out.Flush()
			ended <- out.Err()
			return nil
		}))
		s.start("")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, _, err := s.poll(ctx); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("error %v", err)
		}
		_, _, err := s.poll(t.Context())
		if status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "has not returned for") {
			t.Errorf("error %v", err)
		}
		// Stop waits for it, as long as it may.
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := s.Stop(short, &wire.StopRequest{Instance: "i"}); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("error %v", err)
		}
		close(release)
		if err := <-ended; err == nil {
			t.Error("samples were taken from a call that is over")
		}
	})
}

func TestPanicsAndRefusals(t *testing.T) {
	s := serve(t, pollster(func(_ context.Context, out *Builder) error {
		on := out.On(Resource{ID: "r"})
		on.Gauge("m", "", 1)
		on.Gauge("", "", 1)
		panic("a mistake")
	}))
	s.start("")
	for range 2 {
		samples, summary, err := s.poll(t.Context())
		if err != nil || len(samples) != 1 {
			t.Fatalf("%d samples, error %v", len(samples), err)
		}
		for _, part := range []string{"panicked: a mistake", "invalid sample"} {
			if !strings.Contains(summary.Error, part) {
				t.Errorf("error %q does not say %q", summary.Error, part)
			}
		}
	}
	if log := s.log.String(); !strings.Contains(log, `"instance":"i"`) || !strings.Contains(log, "calls_test.go") {
		t.Errorf("the log has no stack: %s", log)
	}
}

func TestDescribe(t *testing.T) {
	p := pollster(nil)
	p.Summary, p.Version = "Tests.", "1.2"
	p.Meters = []MeterInfo{{Meter{"cpu", Cumulative, "ns"}, "time used"}}
	p.Pollster = func() Pollster { return &lifePlugin{} }
	d, err := serve(t, p).Describe(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d.Kind != "pollster" || d.Name != "test" || d.Version != "1.2" || d.Summary != "Tests." || d.Sdk != protocol.SDKVersion {
		t.Errorf("got %v", d)
	}
	if len(d.Options) != 1 || d.Options[0].Name != "size" || d.Options[0].Default != "3" || d.Options[0].Type != "integer" {
		t.Errorf("options %v", d.Options)
	}
	if len(d.Meters) != 1 || d.Meters[0].Type != wire.MeterType_CUMULATIVE || d.Meters[0].Doc != "time used" {
		t.Errorf("meters %v", d.Meters)
	}
	for _, wrong := range []Plugin{
		{Name: "none"}, {Pollster: p.Pollster},
		{Name: "two", Pollster: p.Pollster, Publisher: func() Publisher { return nil }},
		{Name: "nil", Pollster: func() Pollster { return nil }},
	} {
		if _, err := newServer(wrong, nil); err == nil {
			t.Errorf("%s is taken", wrong.Name)
		}
	}
	if got := fmt.Sprint(Kinds()); got != "[pollster notification transformer publisher storage alarm]" {
		t.Error(got)
	}
}

// A host that has a poll's summary may poll again at once.
func TestPollAgainAtOnce(t *testing.T) {
	s := serve(t, pollster(func(context.Context, *Builder) error { return nil }))
	s.start("")
	for range 300 {
		stream, err := s.Pollster.Poll(t.Context(), &wire.PollRequest{Instance: "i"})
		if err != nil {
			t.Fatal(err)
		}
		if m, err := stream.Recv(); err != nil || m.Summary == nil {
			t.Fatalf("%v, error %v", m, err)
		}
	}
}
