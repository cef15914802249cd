package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/web"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// TestListsThatFail: before anything is sent an error is an answer; later it cuts the answer off.
func TestListsThatFail(t *testing.T) {
	failed := errors.New("failed")
	some := func(n int) []string { return make([]string, n) }
	entry := func(s string) def.Object { return def.Object{{Name: "name", Value: s}} }
	for name, test := range map[string]struct {
		timeout time.Duration
		each    func(context.Context, func([]string) error) error
		want    error
		cut     bool
	}{
		"at once":        {time.Hour, func(context.Context, func([]string) error) error { return failed }, failed, false},
		"after a little": {time.Hour, func(_ context.Context, f func([]string) error) error { return errors.Join(f(some(10)), failed) }, failed, false},
		"after much":     {time.Hour, func(_ context.Context, f func([]string) error) error { return errors.Join(f(some(10_000)), failed) }, nil, true},
		"too late": {time.Millisecond, func(ctx context.Context, _ func([]string) error) error {
			<-ctx.Done()
			return ctx.Err()
		}, context.DeadlineExceeded, false},
		"then too late": {time.Millisecond, func(ctx context.Context, f func([]string) error) error {
			err := f(some(10_000))
			<-ctx.Done()
			return errors.Join(err, ctx.Err())
		}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Options{Web: web.Options{Timeout: test.timeout}})
			w := httptest.NewRecorder()
			defer func() {
				if fault := recover(); (fault == http.ErrAbortHandler) != test.cut {
					t.Errorf("it ends with %v", fault)
				}
			}()
			err := list(s, w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), test.each, entry)
			if !errors.Is(err, test.want) || w.Body.Len() > 0 {
				t.Errorf("%v after %d bytes", err, w.Body.Len())
			}
		})
	}
}
