package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A start that does not return is given up when two more were refused because of
// it; one that fails by itself, or with its context, is tried for ever.
func TestUnfinished(t *testing.T) {
	one, two := new(Life), new(Life)
	late, running, busy := status.Error(codes.DeadlineExceeded, ""), status.Error(codes.AlreadyExists, ""), status.Error(codes.Aborted, "")
	type attempt struct {
		life *Life
		err  error
	}
	f := func(want bool, attempts ...attempt) {
		t.Helper()
		var u unfinished
		got := false
		for n, a := range attempts {
			if got {
				t.Errorf("given up after %d attempts", n)
			}
			got = u.count(a.life, a.err)
		}
		if got != want {
			t.Errorf("given up: %v", got)
		}
	}
	f(false, attempt{one, late}, attempt{one, running})
	f(true, attempt{one, late}, attempt{one, running}, attempt{one, running})
	f(true, attempt{one, late}, attempt{one, fmt.Errorf("wrapped: %w", busy)}, attempt{one, running})
	f(true, attempt{one, running}, attempt{one, running}, attempt{one, running})
	f(false, attempt{one, late}, attempt{one, running}, attempt{two, running})
	f(true, attempt{one, late}, attempt{two, late}, attempt{two, running}, attempt{two, running})
	f(false, attempt{one, late}, attempt{one, late}, attempt{one, late}, attempt{one, late})
	f(false, attempt{one, late}, attempt{one, running}, attempt{one, errors.New("no route")}, attempt{one, running})
	f(false, attempt{one, late}, attempt{one, running}, attempt{one, nil}, attempt{one, running})
	f(false, attempt{one, context.Canceled}, attempt{one, context.Canceled}, attempt{one, context.Canceled})
}

// What hangs in its start has its process ended, with a reason.
func TestUnfinishedStart(t *testing.T) {
	t.Parallel()
	spec, _ := newSpec(t, "")
	p := start(t, spec)
	i := p.Add(request(t, "i", "mode = 'hang-start'"))
	eventually(t, "the process is ended", func() bool {
		_, err := i.Status()
		s := p.Status()
		return s.Restarts > 0 && strings.Contains(s.LastError.Error(), `instance "i" does not finish starting`) && err != nil
	})
	stop(t, i)
}
