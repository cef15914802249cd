package supervisor

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/sdk/wire"
)

// lossy loses the answer to the start of instance "a", which its host gives up while
// the answer is on its way.
type lossy struct {
	wire.PluginClient
	started chan struct{}
}

func (l *lossy) Start(ctx context.Context, r *wire.StartRequest, o ...grpc.CallOption) (*wire.StartReply, error) {
	reply, err := l.PluginClient.Start(ctx, r, o...)
	if r.Instance != "a" || err != nil {
		return reply, err
	}
	close(l.started)
	<-ctx.Done()
	return nil, status.FromContextError(ctx.Err()).Err()
}

// An instance whose start is given up too late for the plugin to notice is stopped:
// it can be started again, and the process goes on for the others.
func TestStopAfterLostAnswer(t *testing.T) {
	t.Parallel()
	spec, log := newSpec(t, "")
	p := start(t, spec)
	other := p.Add(request(t, "other", ""))
	life := ready(t, other)
	whole := life.PluginClient
	l := &lossy{whole, make(chan struct{})}
	life.PluginClient = l
	lost := p.Add(request(t, "a", ""))
	<-l.started
	stop(t, lost)
	life.PluginClient = whole
	again := p.Add(request(t, "a", ""))
	if ready(t, again) != life || ready(t, other) != life {
		t.Error("the process was ended")
	}
	stop(t, lost) // what is stopped has no part in its successor
	ready(t, again)
	stop(t, again)
	stop(t, other)
	if s := log.String(); strings.Contains(s, "is running") {
		t.Error(s)
	}
}

// The same over the real connection, at any moment of the start.
func TestStopBesideStart(t *testing.T) {
	t.Parallel()
	spec, log := newSpec(t, "")
	p := start(t, spec)
	other := p.Add(request(t, "other", ""))
	life := ready(t, other)
	for n := range 400 {
		i := p.Add(request(t, "a", ""))
		time.Sleep(time.Duration(n%40) * 20 * time.Microsecond) // the thing under test
		stop(t, i)
	}
	again := p.Add(request(t, "a", ""))
	if ready(t, again) != life || strings.Contains(log.String(), "is running") {
		t.Errorf("one was left running:\n%s", log)
	}
	stop(t, again)
	stop(t, other)
}

// While a start goes on, stopping the instance waits no longer than allowed, and no
// other begins beside it.
func TestStopDuringUnfinishedStart(t *testing.T) {
	t.Parallel()
	spec, log := newSpec(t, "")
	p := start(t, spec)
	life := lifeOf(t, p)
	i := p.Add(request(t, "a", "mode = 'hang-start'"))
	eventually(t, "it hangs", func() bool { return strings.Contains(log.String(), "it hangs in its start") })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := i.Stop(ctx); err == nil || !strings.Contains(err.Error(), "its start goes on") {
		t.Errorf("stopping it gives %v", err)
	}
	if _, err := life.Start(t.Context(), request(t, "a", "")); status.Code(err) != codes.AlreadyExists {
		t.Errorf("starting another gives %v", err)
	}
}
