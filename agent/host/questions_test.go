package host

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
	"github.com/nephoscope/nepho/sdk/wire"
)

// asked is a storage in a process of its own. It computes what it knows of who waits.
type asked struct {
	sdktest.Store
	waits, gone chan struct{} // closed when someone waits, and when that one has gone
}

func (*asked) Publish(context.Context, *sdk.Batch) error { return nil }

func (*asked) Query(context.Context, sdk.Query) iter.Seq2[*sdk.Batch, error] {
	return func(func(*sdk.Batch, error) bool) {}
}

func (s *asked) Start(context.Context, sdk.Env) error {
	s.waits, s.gone = make(chan struct{}), make(chan struct{})
	s.Put(s.Add(sdk.Series{ID: "a", Meter: "cpu"}), time.Unix(60, 0), 7)
	return nil
}

func (s *asked) Compute(ctx context.Context, q sdk.ComputeQuery) ([]sdk.ComputedSeries, error) {
	switch q.Expression {
	case "wait":
		close(s.waits)
		<-ctx.Done()
		close(s.gone)
		return nil, ctx.Err()
	case "waits":
		<-s.waits
		return nil, nil
	case "gone":
		<-s.gone
		return nil, nil
	}
	return nil, sdk.Refuse(errors.New("nonsense"))
}

// asking is an alarm in a process of its own, that asks and delivers what it heard.
type asking struct{}

func (*asking) Publish(context.Context, *sdk.Batch) error { return nil }

func (*asking) Watch(ctx context.Context, host sdk.Host) error {
	tell := func(text string) error {
		return host.Deliver(ctx, func(out *sdk.Builder) error {
			out.AddEvent(sdk.Event{EventType: text})
			return nil
		}, nil)
	}
	store := host.Series("store")
	windows := "no windows"
	if w, err := store.Windows(ctx, []sdk.WindowQuery{{Series: []uint64{1}, Granularity: time.Minute, Aggregation: "last", From: time.Unix(0, 0), To: time.Unix(600, 0)}}); err != nil {
		windows = err.Error()
	} else if len(w.Values) == 1 && w.Values[0] == 7 {
		windows = "windows"
	}
	open, cancel := context.WithCancel(ctx)
	ended := make(chan error)
	go func() {
		_, err := store.Compute(open, sdk.ComputeQuery{Expression: "wait"})
		ended <- err
	}()
	_, waits := store.Compute(ctx, sdk.ComputeQuery{Expression: "waits"})
	cancel()
	left := <-ended
	_, gone := store.Compute(ctx, sdk.ComputeQuery{Expression: "gone"})
	_, refused := store.Compute(ctx, sdk.ComputeQuery{})
	_, nowhere := host.Series("nowhere").Windows(ctx, nil)
	_, other := host.Series("other").Windows(ctx, nil)
	for _, text := range []string{
		windows, fmt.Sprint(waits, left, gone), refused.Error(), nowhere.Error(),
		map[bool]string{true: other.Error()}[errors.Is(other, errors.ErrUnsupported)],
	} {
		if err := tell(text); err != nil {
			return err
		}
	}
	for a, err := range store.Follow(ctx, sdk.FollowQuery{}) {
		switch {
		case err != nil:
			return tell("follow ended")
		case len(a.Numbers) == 0:
			if err := tell("follows"); err != nil {
				return err
			}
		}
	}
	return nil
}

// plain is a storage that can't be asked by series.
type plain struct{}

func (*plain) Publish(context.Context, *sdk.Batch) error { return nil }

func (*plain) Query(context.Context, sdk.Query) iter.Seq2[*sdk.Batch, error] {
	return func(func(*sdk.Batch, error) bool) {}
}

// What an alarm asks reaches the storage, and the answer comes back; so does its end.
func TestQuestions(t *testing.T) {
	storage, _ := startInstance(t, "storage", "store")
	other, _ := startInstance(t, "plain", "other")
	alarm, _ := startInstance(t, "alarm", "asks")
	h := New(nil, "", slog.New(slog.NewTextHandler(t.Output(), nil)))
	h.config, _ = config.Load(config.Options{File: "test.toml", Glob: func(string) ([]string, error) { return nil, nil }, ReadFile: func(string) ([]byte, error) {
		return []byte("[[storage.store]]\n[[storage.other]]\n[[alarm.asks]]\n"), nil
	}})
	h.instances["store"], h.instances["other"], h.instances["asks"] = storage, other, alarm

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	life, err := alarm.Ready(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := life.Source.Listen(ctx)
	if err == nil {
		err = stream.Send(&wire.ToSource{Instance: "asks", Credit: 100, Questions: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.takeQuestions(ctx, life, "asks")
	}()
	hear := func(want string) {
		t.Helper()
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		b, err := sdk.DecodeBatch(m.Batch)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Event(0).EventType; !strings.Contains(got, want) {
			t.Errorf("it heard %q, want %q", got, want)
		}
	}
	hear("windows")
	hear("<nil> context canceled <nil>")
	hear("nonsense")
	hear(`there is no storage "nowhere"`)
	hear(`storage "other" does not number its series`)
	hear("follows")
	storageLife, err := storage.Ready(ctx)
	if err != nil {
		t.Fatal(err)
	}
	storageLife.Kill(errors.New("as the test wants"))
	hear("follow ended")
	cancel()
	<-done
}

// A notification of an older SDK has no service for questions.
func TestNobodyAsks(t *testing.T) {
	in, _ := startInstance(t, "publisher", "p")
	life, err := in.Ready(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	New(nil, "", slog.New(slog.DiscardHandler)).takeQuestions(t.Context(), life, "p") // returns
}
