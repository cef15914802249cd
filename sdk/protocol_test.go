package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// These tests run plugins of all kinds in processes of their own, as a host does.

func TestConform(t *testing.T) {
	for _, name := range []string{"", "noisy", "each", "ticker", "rate", "picky", "shelf", "threshold", "limit", "mailer"} {
		t.Run(name, func(t *testing.T) {
			sdktest.Conform(t, sdktest.Options{Env: plugin(name), ResourceTimeout: time.Second})
		})
	}
}

func TestPoll(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Config: `greeting = "hello"`, Tags: map[string]string{"rack": "7"}})
	samples, err := p.Poll(t.Context())
	if err != nil || len(samples) != 1 {
		t.Fatalf("%v samples, error %v", samples, err)
	}
	s := samples[0]
	if s.Name != "hello.length" || s.Volume != 5 || s.Monotonic == 0 ||
		!reflect.DeepEqual(s.Metadata, sdk.Metadata{"greeting": "hello", "n": int64(3), "rack": "7"}) {
		t.Errorf("got %+v", s)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	_, err := sdktest.Launch(t, sdktest.Options{Config: "greting = \"hello\"\n"})
	var problem config.Problem
	if !errors.As(err, &problem) || problem.Pos.Line != 1 || problem.Hint != `did you mean "greeting"?` {
		t.Errorf("error %v", err)
	}
	if _, err := sdktest.Launch(t, sdktest.Options{Config: "greeting = \n"}); !errors.As(err, &problem) {
		t.Errorf("error %v", err)
	}
}

// A poll of many samples comes in many batches, none lost; what is printed
// meanwhile harms nothing.
func TestLargePoll(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("many")})
	for range 2 {
		batches, err := p.PollBatches(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, b := range batches {
			for _, s := range b.Samples() {
				if s.Volume != float64(n) || s.ResourceID != fmt.Sprint("vm-", n/20) || s.Name != fmt.Sprint("meter.", n%20) {
					t.Fatalf("sample %d is %+v", n, s)
				}
				n++
			}
		}
		if n != 100_000 || len(batches) != 50 {
			t.Fatalf("%d samples in %d batches", n, len(batches))
		}
	}
	p.AwaitStderr("printed while polling")
}

func TestResourcesOneByOne(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("each"), Concurrency: 3, ResourceTimeout: 100 * time.Millisecond})
	samples, err := p.Poll(t.Context())
	for begun := time.Now(); len(samples) == 0 && time.Since(begun) < time.Minute; { // a machine may be too busy even for the good one
		samples, err = p.Poll(t.Context())
	}
	if len(samples) != 1 || samples[0].ResourceID != "good" || err == nil || !strings.Contains(err.Error(), "2 of 3 resources failed") {
		t.Errorf("samples %v, error %v", samples, err)
	}
}

// The death of a process during a call is an error of the call; the next life
// goes on with the state of the last.
func TestCrash(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("rate")})
	f := func(volume float64, want string) {
		t.Helper()
		got, err := p.Transform(t.Context(), sdk.Sample{Name: "cpu", ResourceID: "vm", Volume: volume})
		text := ""
		for _, s := range got {
			text += fmt.Sprint(s.Name, " ", s.Type, " ", s.Volume)
		}
		if err != nil || text != want {
			t.Errorf("got %q, want %q, error %v", text, want, err)
		}
	}
	f(10, "")
	f(15, "cpu.change delta 5")
	p.Kill()
	if _, err := p.Transform(t.Context(), sdk.Sample{Name: "cpu", ResourceID: "vm"}); status.Code(err) != codes.Unavailable {
		t.Errorf("error %v", err)
	}
	p.Restart()
	f(17, "cpu.change delta 2")
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Restart()
	f(20, "cpu.change delta 3")
}

func TestNotification(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("ticker")})
	for range 2 { // a host may come back
		ctx, cancel := context.WithCancel(t.Context())
		l, err := p.Listen(ctx, 2)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			d, err := l.Next()
			// A busy plugin may still be ending the stream before.
			for begun := time.Now(); i == 0 && status.Code(err) == codes.Aborted && time.Since(begun) < time.Minute; {
				if l, err = p.Listen(ctx, 2); err == nil {
					d, err = l.Next()
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if d.Volume(0) != float64(i) || d.Event(0).MessageID != fmt.Sprint(i) {
				t.Errorf("delivery %d holds %v", i, d.Sample(0))
			}
			var fate error
			if i%2 == 0 {
				fate = errors.New("full")
			}
			if err := l.Settle(d, fate); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		for _, err := l.Next(); err == nil; _, err = l.Next() {
		}
	}
}

func TestPublisher(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("picky")})
	f := func(in ...sdk.Sample) error {
		t.Helper()
		for i := range in {
			in[i].ResourceID = "r"
		}
		return p.Publish(t.Context(), in...)
	}
	if err := f(sdk.Sample{Name: "m"}); err != nil {
		t.Error(err)
	}
	var refused *sdk.Refused
	if err := f(sdk.Sample{Name: "m", Volume: -1}, sdk.Sample{Name: "m"}, sdk.Sample{Name: "m", Volume: -1}); !errors.As(err, &refused) || !reflect.DeepEqual(refused.Rows, []int{0, 2}) {
		t.Errorf("error %#v", err)
	}
	var later *sdk.Later
	if err := f(sdk.Sample{Name: "later"}); !errors.As(err, &later) || later.After != time.Second {
		t.Errorf("error %#v", err)
	}
	if err := f(sdk.Sample{Name: "crash"}); err == nil || !strings.Contains(err.Error(), "panicked") || errors.As(err, &refused) && refused.Err == err {
		t.Errorf("error %v", err)
	}
	if err := p.PublishBatch(t.Context(), []byte("garbage")); !errors.As(err, &refused) || refused.Rows != nil {
		t.Errorf("error %#v", err)
	}
}

func TestStorage(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("shelf")})
	if err := p.Publish(t.Context(), sdk.Sample{Name: "cpu", ResourceID: "r", Volume: 1}, sdk.Sample{Name: "memory", ResourceID: "r", Volume: 2}); err != nil {
		t.Fatal(err)
	}
	got, err := p.Query(t.Context(), sdk.Query{Meters: []string{"memory"}})
	if err != nil || len(got) != 1 || got[0].Volume != 2 {
		t.Errorf("got %v, error %v", got, err)
	}
	if _, err := p.Query(t.Context(), sdk.Query{Granularity: time.Minute}); err == nil || err.Error() != "keeps samples only" {
		t.Errorf("error %v", err)
	}
}

func TestAlarm(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Env: plugin("threshold"), Storage: func(storage string, q sdk.Query) iter.Seq2[*sdk.Batch, error] {
		return func(yield func(*sdk.Batch, error) bool) {
			batches, err := sdk.Build(storage, func(out *sdk.Builder) error {
				out.On(sdk.Resource{ID: "calm"}).Gauge(q.Meters[0], "%", 30)
				out.On(sdk.Resource{ID: "busy"}).Gauge(q.Meters[0], "%", 95)
				return nil
			})
			for _, b := range batches {
				yield(b, err)
			}
		}
	}})
	l, err := p.Listen(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), sdk.Sample{Name: "any", ResourceID: "r"}); err != nil {
		t.Fatal(err)
	}
	d, err := l.Next()
	if err != nil {
		t.Fatal(err)
	}
	if e := d.Event(0); e.EventType != "alarm.raised" || e.Traits[0].Value != "busy" {
		t.Errorf("got %+v", e)
	}
}
