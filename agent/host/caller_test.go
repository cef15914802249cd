package host

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/agent/supervisor"
)

// A process that lives on while the connection to it is broken is ended like one
// that hangs; one that answers between is not.
func TestBrokenConnection(t *testing.T) {
	defer func(was time.Duration) { noticed = was }(noticed)
	noticed = time.Millisecond
	in, _ := startInstance(t, "publisher", "p")
	c := caller{instance: in, timeout: time.Minute, patience: 2}
	var called *supervisor.Life
	call := func(answer error) error {
		return c.call(t.Context(), func(_ context.Context, life *supervisor.Life) error {
			called = life
			return answer
		})
	}
	broken := status.Error(codes.Unavailable, "connection refused")
	for _, answer := range []error{status.Error(codes.NotFound, "not running"), nil} {
		if err := call(broken); err == nil || errors.Is(err, errHung) {
			t.Errorf("the first call gives %v", err)
		}
		c.since = c.since.Add(-grace)
		if err := call(answer); errors.Is(err, errHung) || c.missed != 0 {
			t.Errorf("an answer gives %v, %d missed", err, c.missed)
		}
	}
	if err := call(broken); err == nil || errors.Is(err, errHung) {
		t.Errorf("the first call gives %v", err)
	}
	c.since = c.since.Add(-grace)
	first := called
	if err := call(broken); !errors.Is(err, errHung) {
		t.Fatalf("the second call gives %v", err)
	}
	<-first.Done()
	if err := call(nil); err != nil || called == first {
		t.Errorf("the next life's call gives %v", err)
	}
}
