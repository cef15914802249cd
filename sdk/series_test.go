package sdk

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/nephoscope/nepho/sdk/wire"
)

// answers is a storage that answers what it is given.
type answers struct {
	asked    any
	found    []FoundSeries
	windows  *Windows
	advances []*Advance
	computed []ComputedSeries
	err      error
}

func (a *answers) FindSeries(_ context.Context, q SeriesQuery) ([]FoundSeries, error) {
	a.asked = q
	return a.found, a.err
}

func (a *answers) Windows(_ context.Context, qs []WindowQuery) (*Windows, error) {
	a.asked = qs
	return a.windows, a.err
}

func (a *answers) Follow(_ context.Context, q FollowQuery) iter.Seq2[*Advance, error] {
	a.asked = q
	return func(yield func(*Advance, error) bool) {
		for _, advance := range a.advances {
			if !yield(advance, nil) {
				return
			}
		}
		yield(nil, a.err)
	}
}

func (a *answers) Compute(_ context.Context, q ComputeQuery) ([]ComputedSeries, error) {
	a.asked = q
	return a.computed, a.err
}

// through gives a reader that asks another by encoded messages.
func through(r SeriesReader) SeriesReader {
	return AskSeries(func(ctx context.Context, call wire.Question_Call) (SeriesExchange, error) {
		x := &channels{ctx: ctx, requests: make(chan []byte, 1), parts: make(chan []byte), end: make(chan error, 1)}
		go func() {
			x.end <- AnswerSeries(ctx, r, call, func() ([]byte, error) {
				select {
				case request := <-x.requests:
					return request, nil
				case <-ctx.Done():
					return nil, io.EOF
				}
			}, func(part []byte) error {
				select {
				case x.parts <- part:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		}()
		return x, nil
	})
}

type channels struct {
	ctx             context.Context
	requests, parts chan []byte
	end             chan error
}

func (x *channels) Send(message []byte) error { x.requests <- message; return nil }

func (x *channels) Recv() ([]byte, error) {
	select {
	case part := <-x.parts:
		return part, nil
	case err := <-x.end:
		if err == nil {
			err = io.EOF
		}
		return nil, err
	case <-x.ctx.Done():
		return nil, x.ctx.Err()
	}
}

// random makes questions and answers of any size.
type random struct{ *rand.Rand }

func (r random) text() string { return []string{"", "a", "cpu_util", "vm-1", "é"}[r.IntN(5)] }

func (r random) series() Series {
	return Series{r.Uint64() >> r.IntN(64), r.text(), r.text(), r.text(), r.text(), r.text(), r.text(), r.text()}
}

func (r random) points(n int) (times []int64, values []float64) {
	for range n {
		times, values = append(times, int64(r.Uint64())), append(values, r.NormFloat64())
	}
	return times, values
}

func (r random) time() time.Time { return time.Unix(r.Int64N(2e9), r.Int64N(1e9)).UTC() }

// count is small, mostly.
func (r random) count() int {
	if r.IntN(10) == 0 {
		return r.IntN(partRows * 5 / 4)
	}
	return r.IntN(5)
}

// What is asked arrives as it was asked, and what is answered as it was answered, in
// however many messages.
func TestSeriesCrossTheWire(t *testing.T) {
	ctx := t.Context()
	for seed := range uint64(12) {
		r := random{rand.New(rand.NewPCG(seed, 1))}
		a := new(answers)
		reader := through(a)
		is := func(what string, got, want any, err error) {
			t.Helper()
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("seed %d: %s is not what it was: %.300v, error %v, want %.300v", seed, what, got, err, want)
			}
		}

		q := SeriesQuery{Scope: Scope{All: r.IntN(2) > 0, User: r.text(), Project: r.text()}}
		asked := 1
		switch r.IntN(3) {
		case 0:
			asked += r.count()
			for range asked {
				q.IDs = append(q.IDs, r.text())
			}
		case 1:
			q.Names = []SeriesName{{r.text(), r.text()}, {r.text(), r.text()}}
			asked = 2
		default:
			q.Search = &ResourceSearch{Type: r.text(), Filter: r.text(), Meters: []string{r.text()}}
		}
		for range r.count() {
			a.found = append(a.found, FoundSeries{r.series(), r.IntN(asked)})
		}
		found, err := reader.FindSeries(ctx, q)
		is("what was found", found, a.found, err)
		is("the question", a.asked, q, nil)

		qs := make([]WindowQuery, 1+r.IntN(3))
		a.windows = &Windows{Counts: []int32{}, Times: []int64{}, Values: []float64{}}
		for i := range qs {
			qs[i] = WindowQuery{Granularity: 1 + time.Duration(r.Uint64()>>2), Aggregation: r.text(), From: r.time(), To: r.time()}
			for range 1 + r.count() {
				qs[i].Series = append(qs[i].Series, r.Uint64())
				if r.IntN(4) == 0 {
					a.windows.Counts = append(a.windows.Counts, -int32(1+r.IntN(4)))
					continue
				}
				times, values := r.points(r.IntN(3))
				a.windows.Counts = append(a.windows.Counts, int32(len(times)))
				a.windows.Times, a.windows.Values = append(a.windows.Times, times...), append(a.windows.Values, values...)
			}
		}
		windows, err := reader.Windows(ctx, qs)
		if windows != nil && windows.Times == nil {
			windows.Times, windows.Values = []int64{}, []float64{}
		}
		is("the windows", windows, a.windows, err)
		is("the question", a.asked, qs, nil)

		c := ComputeQuery{Scope: q.Scope, Language: r.text(), Expression: r.text(), Search: q.Search, From: r.time(), To: r.time(), Granularity: time.Duration(r.Uint64() >> 1)}
		for range r.count() / 10 {
			s := ComputedSeries{Labels: map[string]string{}}
			for i := range r.IntN(3) {
				s.Labels[strconv.Itoa(i)] = r.text()
			}
			s.Times, s.Values = r.points(1 + r.IntN(5))
			a.computed = append(a.computed, s)
		}
		computed, err := reader.Compute(ctx, c)
		is("what was computed", computed, a.computed, err)
		is("the question", a.asked, c, nil)

		f := FollowQuery{Meters: []string{r.text()}, Undescribed: r.IntN(2) > 0}
		a.err = errors.New("the end")
		var want, got Advance
		for range r.IntN(4) {
			one := new(Advance)
			for range r.count() {
				one.New = append(one.New, r.series())
			}
			for range 4 * r.count() {
				one.Numbers = append(one.Numbers, r.Uint64())
			}
			one.Times, _ = r.points(len(one.Numbers))
			a.advances = append(a.advances, one)
			want.New, want.Numbers, want.Times = append(want.New, one.New...), append(want.Numbers, one.Numbers...), append(want.Times, one.Times...)
		}
		err = nil
		for one, e := range reader.Follow(ctx, f) {
			if err = e; e != nil {
				break
			}
			got.New, got.Numbers, got.Times = append(got.New, one.New...), append(got.Numbers, one.Numbers...), append(got.Times, one.Times...)
		}
		if err == nil || err.Error() != "the end" {
			t.Errorf("seed %d: error %v", seed, err)
		}
		is("what advanced", got, want, nil)
		is("the question", a.asked, f, nil)
	}
}

// Answers that are none, as a storage with a mistake gives them, are errors.
func TestWrongAnswers(t *testing.T) {
	one := []WindowQuery{{Series: []uint64{1}, Granularity: 1}}
	for _, w := range []*Windows{
		{}, {Counts: []int32{1}}, {Counts: []int32{0, 0}}, {Counts: []int32{1}, Times: []int64{1}, Values: []float64{1, 2}},
		{Counts: []int32{-1000}},
	} {
		if got, err := through(&answers{windows: w}).Windows(t.Context(), one); err == nil {
			t.Errorf("%+v is taken as %+v", w, got)
		}
	}
	many := &Windows{Counts: []int32{MaxWindows + 1}, Times: make([]int64, MaxWindows+1), Values: make([]float64, MaxWindows+1)}
	var refused *Refused
	if _, err := through(&answers{windows: many}).Windows(t.Context(), one); !errors.As(err, &refused) {
		t.Errorf("error %v", err)
	}
	if _, err := through(&answers{found: []FoundSeries{{Position: 1}}}).FindSeries(t.Context(), SeriesQuery{IDs: []string{"a"}}); err == nil {
		t.Error("a position of nothing that was asked for is taken")
	}
	if _, err := through(&answers{computed: []ComputedSeries{{Times: []int64{1}}}}).Compute(t.Context(), ComputeQuery{}); err == nil {
		t.Error("a time without a value is taken")
	}
	for _, err := range through(&answers{advances: []*Advance{{Numbers: []uint64{1}}}, err: io.ErrUnexpectedEOF}).Follow(t.Context(), FollowQuery{}) {
		if err == nil || err == io.ErrUnexpectedEOF {
			t.Errorf("a series without a time is taken, error %v", err)
		}
	}
	if _, err := through(&answers{}).Compute(t.Context(), ComputeQuery{Granularity: -1}); !errors.As(err, &refused) {
		t.Errorf("error %v", err)
	}
}

// series is an alarm's handle of a storage, tried by f.
func seriesOfHost(t *testing.T, questions bool, f func(ctx context.Context, store SeriesReader)) (*served, *stream) {
	t.Helper()
	s := serve(t, Plugin{Name: "test", Alarm: func() Alarm {
		return &watcher{func(ctx context.Context, host Host) error {
			f(ctx, host.Series("store"))
			<-ctx.Done()
			return nil
		}}
	}})
	s.start("")
	c, err := s.Source.Listen(t.Context())
	if err == nil {
		err = c.Send(&wire.ToSource{Instance: "i", Credit: 1, Questions: questions})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, &stream{c, t}
}

// A host that is older takes no questions, and an alarm learns of it.
func TestHostTakesNoQuestions(t *testing.T) {
	heard := make(chan error, 4)
	seriesOfHost(t, false, func(ctx context.Context, store SeriesReader) {
		_, err := store.FindSeries(ctx, SeriesQuery{IDs: []string{"a"}})
		heard <- err
		_, err = store.Windows(ctx, nil)
		heard <- err
		_, err = store.Compute(ctx, ComputeQuery{})
		heard <- err
		for _, err := range store.Follow(ctx, FollowQuery{}) {
			heard <- err
		}
	})
	for range 4 {
		if err := <-heard; !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), `"store"`) {
			t.Errorf("error %v", err)
		}
	}
}

func askStream(t *testing.T, s *served, ctx context.Context) grpc.BidiStreamingClient[wire.ToAsker, wire.Question] {
	t.Helper()
	c, err := s.Asker.Ask(ctx)
	if err == nil {
		err = c.Send(&wire.ToAsker{Instance: "i"})
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Questions wait for the host's stream, are answered in any order, end with their
// context, and with the stream; the next stream takes the next ones.
func TestAlarmAsks(t *testing.T) {
	heard := make(chan string, 10)
	leave := make(chan struct{})
	s, _ := seriesOfHost(t, true, func(ctx context.Context, store SeriesReader) {
		ask := func(ctx context.Context, expression string) {
			list, err := store.Compute(ctx, ComputeQuery{Expression: expression})
			if err != nil {
				heard <- expression + ": " + err.Error()
				return
			}
			heard <- expression + ": " + strconv.Itoa(len(list))
		}
		short, cancel := context.WithCancel(ctx)
		for _, expression := range []string{"first", "second", "lost"} {
			go ask(ctx, expression)
		}
		go ask(short, "left")
		<-leave
		cancel()
		<-leave
		ask(ctx, "again")
	})
	ctx, cancel := context.WithCancel(t.Context())
	host := askStream(t, s, ctx)
	ids := map[string]uint64{}
	question := func() *wire.Question {
		t.Helper()
		q, err := host.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	expression := func(q *wire.Question) string {
		t.Helper()
		r := new(wire.ComputeRequest)
		if err := proto.Unmarshal(q.Message, r); err != nil || q.Storage != "store" || q.Call != wire.Question_COMPUTE {
			t.Fatalf("asked %v, error %v", q, err)
		}
		return r.Expression
	}
	for range 4 {
		q := question()
		ids[expression(q)] = q.Id
	}
	if got := slices.Sorted(maps.Keys(ids)); !slices.Equal(got, []string{"first", "left", "lost", "second"}) {
		t.Fatalf("asked %v", got)
	}
	answer := func(a *wire.Answer) {
		t.Helper()
		if err := host.Send(&wire.ToAsker{Answer: a}); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(want string) {
		t.Helper()
		if got := <-heard; got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	part, err := proto.Marshal(&wire.ComputeReply{Strings: []string{""}, Labels: []uint32{0, 0}, Points: []uint32{0, 0}})
	if err != nil {
		t.Fatal(err)
	}
	answer(&wire.Answer{Id: 4711, Last: true}) // nobody asked
	answer(&wire.Answer{Id: ids["second"], Message: part})
	answer(&wire.Answer{Id: ids["second"], Message: part})
	answer(&wire.Answer{Id: ids["second"], Last: true})
	hear("second: 4")
	answer(&wire.Answer{Id: ids["first"], Message: part})
	answer(&wire.Answer{Id: ids["first"], Last: true, Status: 3, Error: "wrong"})
	hear("first: wrong")
	leave <- struct{}{}
	hear("left: context canceled")
	if q := question(); q.Id != ids["left"] || !q.Cancel {
		t.Errorf("the host is told %v", q)
	}
	cancel()
	hear("lost: the connection to the host ended")
	host = askStream(t, s, t.Context())
	leave <- struct{}{}
	q := question()
	if expression(q) != "again" {
		t.Errorf("asked %v", q)
	}
	answer(&wire.Answer{Id: q.Id, Message: []byte("garbage")})
	if got := <-heard; !strings.HasPrefix(got, "again: invalid answer of the storage") {
		t.Errorf("heard %q", got)
	}
}

// A storage's or a host's bytes never panic, and what is taken of them is sound.
func FuzzSeriesAnswers(f *testing.F) {
	r := random{rand.New(rand.NewPCG(1, 1))}
	s := r.series()
	times, values := r.points(3)
	seed := func(m proto.Message) {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	table := tableOf(1, func(int) *Series { return &s })
	seed(&wire.AdvanceReply{New: table, Number: []uint64{1, 2, 3}, Time: times})
	table.Position = []uint32{1}
	seed(table)
	seed(&wire.WindowsReply{Count: []int32{2, -1, 1}, Time: times, Value: values})
	seed(&wire.ComputeReply{Strings: []string{"", "a"}, Labels: []uint32{1}, Points: []uint32{3}, LabelName: []uint32{1}, LabelValue: []uint32{0}, Time: times, Value: values})
	seed(&wire.FindRequest{Ids: []string{"a"}})
	seed(&wire.WindowsRequest{Queries: []*wire.WindowQuery{{Series: []uint64{1}, GranularityNs: 1}}})
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if w := new(wire.SeriesTable); proto.Unmarshal(data, w) == nil {
			if list, err := appendFound(nil, w, 2); err == nil {
				for _, found := range list {
					if found.Position < 0 || found.Position > 1 {
						t.Errorf("position %d", found.Position)
					}
				}
			}
		}
		if w := new(wire.AdvanceReply); proto.Unmarshal(data, w) == nil {
			if a, err := decodeAdvance(w); err == nil && len(a.Numbers) != len(a.Times) {
				t.Errorf("%d numbers, %d times", len(a.Numbers), len(a.Times))
			}
		}
		if w := new(wire.WindowsReply); proto.Unmarshal(data, w) == nil {
			all := new(Windows)
			for range 2 {
				if appendWindows(all, w, 100) != nil {
					break
				}
			}
			for _, row := range all.All() {
				var absent Absence
				if len(row.Times) != len(row.Values) || row.Err != nil && (!errors.As(row.Err, &absent) || absent == 0 || absent.Error() == "") {
					t.Errorf("row %+v", row)
				}
			}
		}
		if w := new(wire.ComputeReply); proto.Unmarshal(data, w) == nil {
			list, err := appendComputed(nil, w, 0)
			for _, s := range list {
				if err == nil && len(s.Times) != len(s.Values) {
					t.Errorf("series %+v", s)
				}
			}
		}
		for call := range wire.Question_Call_name {
			// Questions are answered by something, or refused.
			requests := [][]byte{data}
			err := AnswerSeries(t.Context(), &answers{windows: new(Windows), err: io.ErrNoProgress}, wire.Question_Call(call), func() ([]byte, error) {
				if len(requests) == 0 {
					return nil, io.EOF
				}
				next := requests[0]
				requests = nil
				return next, nil
			}, func([]byte) error { return nil })
			if err == nil {
				t.Errorf("call %d is answered", call)
			}
		}
	})
}
