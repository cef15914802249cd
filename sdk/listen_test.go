package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/sdk/wire"
)

type listenFunc struct {
	listen func(ctx context.Context, deliver Deliver) error
}

func (p *listenFunc) Listen(ctx context.Context, deliver Deliver) error {
	return p.listen(ctx, deliver)
}

// stream is the host's end of a Listen stream.
type stream struct {
	grpc.BidiStreamingClient[wire.ToSource, wire.FromSource]
	t *testing.T
}

func listen(t *testing.T, s *served, ctx context.Context, credit uint32) *stream {
	t.Helper()
	c, err := s.Source.Listen(ctx)
	if err == nil {
		err = c.Send(&wire.ToSource{Instance: "i", Credit: credit})
	}
	if err != nil {
		t.Fatal(err)
	}
	return &stream{c, t}
}

func (s *stream) next() *wire.FromSource {
	s.t.Helper()
	m, err := s.Recv()
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *stream) settle(tag uint64, fate string) {
	s.t.Helper()
	if err := s.Send(&wire.ToSource{Settlements: []*wire.Settlement{{Tag: tag, Error: fate}}}); err != nil {
		s.t.Fatal(err)
	}
}

func serveListen(t *testing.T, f func(ctx context.Context, deliver Deliver) error) *served {
	t.Helper()
	s := serve(t, Plugin{Name: "test", Notification: func() Notification { return &listenFunc{f} }})
	s.start("")
	return s
}

func one(i int) func(*Builder) error {
	return func(out *Builder) error {
		out.On(Resource{ID: "r"}).Gauge("m", "", float64(i))
		return nil
	}
}

// No more deliveries than the credit are under way, and each learns its own fate.
func TestListenCreditAndFates(t *testing.T) {
	fates := make(chan string, 100)
	s := serveListen(t, func(ctx context.Context, deliver Deliver) error {
		for i := range 10 {
			if err := deliver(ctx, one(i), func(err error) { fates <- fmt.Sprint(i, " ", err) }); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	host := listen(t, s, ctx, 3)
	tags := map[int]uint64{}
	take := func(n int) {
		for range n {
			m := host.next()
			b, err := DecodeBatch(m.Batch)
			if err != nil {
				t.Fatal(err)
			}
			tags[int(b.Volume(0))] = m.Tag
		}
	}
	take(3)
	more := make(chan *wire.FromSource, 1)
	go func() { more <- host.next() }()
	select {
	case m := <-more:
		t.Fatalf("delivery %d exceeds the credit", m.Tag)
	case <-time.After(50 * time.Millisecond):
	}
	host.settle(tags[1], "spool is full")
	if got := <-fates; got != "1 spool is full" {
		t.Errorf("fate %q", got)
	}
	host.settle(tags[1], "") // a second word on it counts nothing
	host.settle(4711, "")
	b, err := DecodeBatch((<-more).Batch)
	if err != nil || b.Volume(0) != 3 {
		t.Fatalf("delivery %v, error %v", b, err)
	}
	host.settle(tags[0], "")
	if got := <-fates; got != "0 <nil>" {
		t.Errorf("fate %q", got)
	}
	take(1)
	// The stream ends: what is not settled is given back.
	cancel()
	given := map[string]bool{}
	for range 3 {
		select {
		case got := <-fates:
			given[got[:1]] = strings.Contains(got, "the connection to the host ended")
		case <-time.After(time.Minute):
			t.Fatal("a delivery is held for ever")
		}
	}
	if !given["2"] || !given["3"] || !given["4"] {
		t.Errorf("given back: %v", given)
	}
}

// A source that waits for its fates before it returns does not wait for ever.
func TestListenWaitsForFates(t *testing.T) {
	returned := make(chan struct{})
	s := serveListen(t, func(ctx context.Context, deliver Deliver) error {
		defer close(returned)
		var fates sync.WaitGroup
		fates.Add(1)
		err := deliver(ctx, one(1), func(error) { fates.Done() })
		fates.Wait()
		<-ctx.Done()
		return err
	})
	ctx, cancel := context.WithCancel(t.Context())
	host := listen(t, s, ctx, 1)
	host.next()
	cancel()
	select {
	case <-returned:
	case <-time.After(time.Minute):
		t.Fatal("it waits")
	}
}

// A delivery of several batches has one fate: durable when all of them are.
func TestListenLargeDelivery(t *testing.T) {
	fates := make(chan error, 10)
	large := func(out *Builder) error {
		on := out.On(Resource{ID: "r"})
		for i := range 3 * flushRows {
			on.Gauge("m", "", float64(i))
		}
		return nil
	}
	s := serveListen(t, func(ctx context.Context, deliver Deliver) error {
		settled := func(err error) { fates <- err }
		failing := errors.New("cannot read the rest")
		err := errors.Join(
			deliver(ctx, large, settled), deliver(ctx, large, settled),
			deliver(ctx, func(*Builder) error { return nil }, settled), // nothing is durable at once
		)
		if e := deliver(ctx, func(*Builder) error { return failing }, settled); e != failing {
			err = errors.Join(err, fmt.Errorf("error %v", e))
		}
		if err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	host := listen(t, s, ctx, 100)
	var tags []uint64
	for range 6 {
		tags = append(tags, host.next().Tag)
	}
	if err := <-fates; err != nil {
		t.Errorf("the empty delivery: %v", err)
	}
	for _, tag := range tags[:5] {
		if tag == tags[1] {
			host.settle(tag, "refused")
		} else {
			host.settle(tag, "")
		}
	}
	if err := <-fates; err == nil || err.Error() != "refused" {
		t.Errorf("a part was refused: %v", err)
	}
	select {
	case err := <-fates:
		t.Errorf("settled with a part missing: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	host.settle(tags[5], "")
	if err := <-fates; err != nil {
		t.Errorf("all is durable: %v", err)
	}
}

// Listen is called again after it returned or panicked, and only one stream is
// open at a time.
func TestListenAgain(t *testing.T) {
	var calls atomic.Int32
	s := serveListen(t, func(ctx context.Context, deliver Deliver) error {
		if calls.Add(1) == 1 {
			panic("lost the connection")
		}
		err := deliver(ctx, func(out *Builder) error {
			out.Add(Sample{Name: "m", ResourceID: ""})
			return one(1)(out)
		}, nil)
		<-ctx.Done()
		return err
	})
	ctx, cancel := context.WithCancel(t.Context())
	host := listen(t, s, ctx, 1)
	delivery := host.next()
	second := listen(t, s, t.Context(), 1)
	if _, err := second.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("a second stream: error %v", err)
	}
	host.settle(delivery.Tag, "")
	cancel()
	for _, part := range []string{"lost the connection", "left out"} {
		eventually(t, "the log says: "+part, func() bool { return strings.Contains(s.log.String(), part) })
	}
	// Without an instance there is nothing to listen to.
	if _, err := s.Stop(t.Context(), &wire.StopRequest{Instance: "i"}); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t, s, t.Context(), 1).Recv(); status.Code(err) != codes.NotFound {
		t.Errorf("error %v", err)
	}
	if calls.Load() != 2 {
		t.Errorf("listened %d times", calls.Load())
	}
}

// watcher is an alarm.
type watcher struct {
	watch func(ctx context.Context, host Host) error
}

func (w *watcher) Publish(context.Context, *Batch) error      { return nil }
func (w *watcher) Watch(ctx context.Context, host Host) error { return w.watch(ctx, host) }

// An alarm reads a storage's answer while it waits for credit to deliver.
func TestAlarmAsksAndDelivers(t *testing.T) {
	results := make(chan string, 10)
	s := serve(t, Plugin{Name: "test", Alarm: func() Alarm {
		return &watcher{func(ctx context.Context, host Host) error {
			q := Query{Meters: []string{"cpu"}, From: time.Unix(1, 0), To: time.Unix(2, 0), Granularity: time.Minute, Aggregation: "mean"}
			for b, err := range host.Query(ctx, "store", q) {
				if err == nil {
					err = host.Deliver(ctx, one(int(b.Volume(0))), nil)
				}
				results <- fmt.Sprint(err)
			}
			for _, err := range host.Query(ctx, "nowhere", Query{}) {
				results <- fmt.Sprint(err)
			}
			short, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			for _, err := range host.Query(short, "slow", Query{}) {
				results <- fmt.Sprint(err)
			}
			<-ctx.Done()
			return nil
		}}
	}})
	s.start("")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	host := listen(t, s, ctx, 1)
	q := host.next().Query
	if q.Storage != "store" || q.GranularityNs != int64(time.Minute) || q.Aggregation != "mean" || q.From != 1e9 || q.To != 2e9 || q.Meters[0] != "cpu" {
		t.Errorf("asked %v", q)
	}
	answer := func(a *wire.QueryReply) {
		t.Helper()
		if err := host.Send(&wire.ToSource{Answer: a}); err != nil {
			t.Fatal(err)
		}
	}
	answer(&wire.QueryReply{Id: 99}) // nobody asked
	for i := range 5 {
		answer(&wire.QueryReply{Id: q.Id, Last: i == 4, Batch: encoded(t, builtOf(t, []Sample{{Name: "cpu", ResourceID: "r", Volume: float64(i)}}))})
	}
	for range 5 {
		host.settle(host.next().Tag, "")
		if got := <-results; got != "<nil>" {
			t.Error(got)
		}
	}
	answer(&wire.QueryReply{Id: host.next().Query.Id, Last: true, Error: "no such storage"})
	if got := <-results; got != "no such storage" {
		t.Error(got)
	}
	if host.next(); <-results != "context deadline exceeded" {
		t.Error("the query has not ended with its context")
	}
}

func TestStorageQuery(t *testing.T) {
	var asked Query
	s := serve(t, Plugin{Name: "test", Storage: func() Storage {
		return &holder{query: func(q Query) iter.Seq2[*Batch, error] {
			asked = q
			return func(yield func(*Batch, error) bool) {
				if !yield(builtOf(t, []Sample{{Name: "cpu", ResourceID: "r", Volume: 7}}), nil) {
					return
				}
				switch q.Aggregation {
				case "mode":
					yield(nil, errors.New("unknown aggregation"))
				case "panic":
					panic("mistake")
				}
			}
		}}
	}})
	s.start("")
	f := func(storage, aggregation, want string, batches int) {
		t.Helper()
		stream, err := s.Storage.Query(t.Context(), &wire.QueryRequest{Id: 5, Storage: storage, Resources: []string{"r"}, From: 3, To: 4, Aggregation: aggregation})
		if err != nil {
			t.Fatal(err)
		}
		var got string
		n, last := 0, false
		for {
			m, err := stream.Recv()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Batch) > 0 {
				n++
			}
			got, last = m.Error, m.Last
			if m.Id != 5 {
				t.Errorf("answer to %d", m.Id)
			}
		}
		if got != want || n != batches || !last {
			t.Errorf("%d batches, error %q, last %v", n, got, last)
		}
	}
	f("i", "", "", 1)
	if asked.From != time.Unix(0, 3).UTC() || asked.To != time.Unix(0, 4).UTC() || asked.Resources[0] != "r" {
		t.Errorf("asked %+v", asked)
	}
	f("i", "mode", "unknown aggregation", 1)
	f("i", "panic", "the plugin panicked: mistake", 1)
	f("other", "", `instance "other" is not running`, 0)
}

// A source that fails once a second fills no log: it tells when that began, and
// when it was over.
func TestListenTellsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(logged)
		ctx, cancel := context.WithCancelCause(t.Context())
		l := &listening{ctx: ctx, in: &instance{env: Env{Log: slog.New(slog.NewTextHandler(log, nil))}}}
		calls := 0
		l.keep(func() error {
			calls++
			switch calls {
			case 50: // it goes well for a while
				time.Sleep(2 * relistened)
			case 100:
				cancel(nil)
			}
			return fmt.Errorf("failure %d", calls)
		})
		var got []string
		for line := range strings.Lines(log.String()) {
			_, line, _ = strings.Cut(strings.TrimSpace(line), " ")
			got = append(got, line)
		}
		want := []string{
			`level=ERROR msg="listening ended and begins again" error="failure 1"`,
			`level=INFO msg="listening goes on again"`,
			`level=ERROR msg="listening ended and begins again" error="failure 50"`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("the log tells\n%s", strings.Join(got, "\n"))
		}
	})
}
