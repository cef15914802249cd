package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/sdk/wire"
)

// measuring makes a plugin of two functions.
type measuring struct {
	pollFunc
	measure func(ctx context.Context, out *Builder) error
}

func (m *measuring) Measure(ctx context.Context, out *Builder) error { return m.measure(ctx, out) }

func measurer(poll, measure func(ctx context.Context, out *Builder) error) Plugin {
	return Plugin{Name: "test", Version: "1", Summary: "Tests.", Pollster: func() Pollster { return &measuring{pollFunc{poll}, measure} },
		Own: []MeterInfo{{Meter{"waiting", Gauge, "thing"}, "What waits."}, {Meter{"done", Cumulative, "thing"}, "What was done."}}}
}

func (s *served) measure(ctx context.Context) ([]Sample, error) {
	r, err := s.Measure(ctx, &wire.MeasureRequest{Instance: "i"})
	if err != nil {
		return nil, err
	}
	if r.Error != "" {
		err = errors.New(r.Error)
	}
	if len(r.Batch) == 0 {
		return nil, err
	}
	b, e := DecodeBatch(r.Batch)
	if e != nil {
		return nil, e
	}
	return rows([]*Batch{b}), err
}

func TestMeasure(t *testing.T) {
	s := serve(t, measurer(func(context.Context, *Builder) error { return nil }, func(_ context.Context, out *Builder) error {
		out.On(Resource{}).Cumulative("done", "thing", 5)
		out.On(Resource{Metadata: Metadata{"queue": "a"}}).Gauge("waiting", "thing", 1)
		return nil
	}))
	if _, err := s.measure(t.Context()); status.Code(err) != codes.NotFound {
		t.Errorf("before the start: error %v", err)
	}
	// What chooses and tags the samples of a pollster concerns no figure.
	s.start("", func(r *wire.StartRequest) {
		r.Meters, r.Tags = []string{"none"}, map[string]string{"rack": "7"}
	})
	for range 2 {
		got, err := s.measure(t.Context())
		if err != nil || len(got) != 2 || got[0].Name != "done" || len(got[0].Metadata) > 0 || got[0].Volume != 5 || got[1].Metadata["queue"] != "a" {
			t.Errorf("%+v, error %v", got, err)
		}
	}
}

// Measure goes beside a call that takes long, is never joined by a second one, and ends
// before the instance is stopped.
func TestMeasureBesideOthers(t *testing.T) {
	polls, polled, measures, measured := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := serve(t, measurer(func(context.Context, *Builder) error {
		close(polls)
		<-polled
		return nil
	}, func(_ context.Context, out *Builder) error {
		close(measures)
		<-measured
		return nil
	}))
	s.start("")
	over := make(chan error, 2)
	go func() {
		_, _, err := s.poll(context.Background())
		over <- err
	}()
	<-polls
	go func() {
		_, err := s.measure(context.Background())
		over <- err
	}()
	<-measures
	if _, err := s.measure(t.Context()); status.Code(err) != codes.Aborted {
		t.Errorf("a second one: error %v", err)
	}
	close(polled)
	if err := <-over; err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Stop(short, &wire.StopRequest{Instance: "i"}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("it is stopped while it measures: error %v", err)
	}
	close(measured)
	<-over // the instance may be gone by now
}

func TestMeasureFails(t *testing.T) {
	f := func(want string, figures int, measure func(ctx context.Context, out *Builder) error) {
		t.Helper()
		s := serve(t, measurer(nil, measure))
		s.start("")
		for range 2 {
			got, err := s.measure(t.Context())
			if len(got) != figures || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d figures, error %v; want %s", len(got), err, want)
			}
		}
	}
	f("no database", 1, func(_ context.Context, out *Builder) error {
		out.On(Resource{}).Gauge("waiting", "thing", 1)
		return errors.New("no database")
	})
	f("panicked: a mistake", 1, func(_ context.Context, out *Builder) error {
		out.On(Resource{}).Gauge("waiting", "thing", 1)
		panic("a mistake")
	})
	f("a thousand", flushRows, func(_ context.Context, out *Builder) error {
		for i := range 3 * flushRows {
			out.On(Resource{Metadata: Metadata{"n": fmt.Sprint(i)}}).Gauge("waiting", "thing", 1)
		}
		return nil
	})

	// The builder of a call that is over takes nothing any more.
	var late *Builder
	s := serve(t, measurer(nil, func(_ context.Context, out *Builder) error {
		late = out
		return nil
	}))
	s.start("")
	if _, err := s.measure(t.Context()); err != nil {
		t.Error(err)
	}
	late.On(Resource{}).Gauge("waiting", "thing", 1)
	if late.Flush(); !errors.Is(late.Err(), errCallOver) {
		t.Errorf("error %v", late.Err())
	}
	// Only figures need no resource.
	if batches, err := Build("i", func(out *Builder) error {
		out.On(Resource{}).Gauge("m", "", 1)
		return nil
	}); err == nil {
		t.Errorf("%d batches", len(batches))
	}
}

// One that declares no figures is not asked, and says so if it is.
func TestMeasureNothing(t *testing.T) {
	s := serve(t, pollster(nil))
	s.start("")
	if _, err := s.Measure(t.Context(), &wire.MeasureRequest{Instance: "i"}); status.Code(err) != codes.Unimplemented {
		t.Errorf("error %v", err)
	}
	for _, wrong := range []Plugin{
		{Name: "silent", Pollster: measurer(nil, nil).Pollster},
		{Name: "mute", Pollster: pollster(nil).Pollster, Own: measurer(nil, nil).Own},
	} {
		if _, err := newServer(wrong, nil); err == nil || !strings.Contains(err.Error(), "one needs the other") {
			t.Errorf("%s: error %v", wrong.Name, err)
		}
	}
}
