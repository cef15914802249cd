package events

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/plugins/events/chunk/chunktest"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/sdktest"
	"github.com/nephoscope/nepho/sdk/wire"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

func TestConform(t *testing.T) {
	sdktest.Conform(t, sdktest.Options{Config: "listen = '127.0.0.1:0'"})
}

// decode reads options as the SDK does.
func decode(t testing.TB, toml string) (*storage, []config.Problem) {
	t.Helper()
	table, problems := config.Parse("test.toml", []byte(toml))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s := &storage{}
	return s, table.Decode(s)
}

func TestOptions(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		_, problems := decode(t, toml)
		var lines []string
		for _, p := range problems {
			lines = append(lines, p.Error())
		}
		got := strings.Join(lines, "\n")
		if want == "" && got != "" || !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("%s: got %q, want %q", toml, got, want)
		}
	}
	f("", "")
	f("database = 'postgres://nepho:secret@127.0.0.1/nepho'", "")
	f("database = 'mysql://nepho:secret@127.0.0.1/nepho'", "is neither a path nor a URL")
	f("listen = ''", "")
	f("listen = '0.0.0.0:8977'", "anybody who reaches 0.0.0.0:8977 could")
	f("listen = '0.0.0.0:8977'\nunprotected = true", "")
	f("listen = '0.0.0.0:8977'\nbasic = { users = { a = 'b' } }", "")
	f("listen = '[::1]:8977'", "")
	f("listen = '8977'", "is not like 127.0.0.1:")
	f("auth = 'keystone'", "auth keystone needs the URL of Keystone")
	f("url_prefix = '/a?b'", "is no path")
	f("cors_origins = ['dash.example.com']", "is no origin")
	f("tls = { cert = 'a' }", "cert and key belong together")
	f("retention = '-1h'", "retention")
	f("retentoin = '1h'", "retention")
}

// The figures follow what is published; what comes again is told apart.
func TestMeasure(t *testing.T) {
	p := sdktest.Start(t, "listen = ''")
	e := sdk.Event{MessageID: "1", EventType: "x", Generated: time.Now()}
	for range 2 {
		data, err := batch(t, 0, e).Encode()
		if err == nil {
			err = p.PublishBatch(t.Context(), data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	figures, err := p.Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"stored_total": 1, "duplicates_total": 1, "expired_total": 0, "retained": 1, "chunks": 1}
	for _, f := range figures {
		name := strings.TrimPrefix(f.Metric, "nepho_events_")
		if name == "size_bytes" && f.Value > 0 {
			continue
		}
		if v, ok := want[name]; !ok || v != f.Value {
			t.Errorf("%s is %g", f.Metric, f.Value)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("not told are %v", want)
	}
}

// start starts an instance in this process and stops it with the test.
func start(t testing.TB, toml string, dir string) *storage {
	t.Helper()
	s, problems := decode(t, "listen = '127.0.0.1:0'\n"+toml)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	err := s.Start(t.Context(), sdk.Env{Instance: "test", StateDir: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// batch is one of events, and of some samples.
func batch(tb testing.TB, samples int, events ...sdk.Event) *sdk.Batch {
	tb.Helper()
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		for i := range samples {
			out.On(sdk.Resource{ID: "r"}).Gauge("m", "B", float64(i))
		}
		for _, e := range events {
			out.AddEvent(e)
		}
		return nil
	})
	if err != nil || len(batches) != 1 {
		tb.Fatalf("%d batches, %v", len(batches), err)
	}
	return batches[0]
}

// stored asks the API for all events.
func stored(tb testing.TB, address string) (ids []string) {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+address+"/v2/events", nil)
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Accept", "application/x-ndjson")
	r.SetBasicAuth("admin", "")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	defer a.Body.Close()
	lines := bufio.NewScanner(a.Body)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var e sdk.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			tb.Fatalf("%d: %v in %s", a.StatusCode, err, lines.Text())
		}
		ids = append(ids, e.MessageID)
	}
	if err := lines.Err(); err != nil || a.StatusCode != 200 {
		tb.Fatalf("got %d, %v", a.StatusCode, err)
	}
	return ids
}

func TestPublish(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := start(t, "", dir)
	one := sdk.Event{MessageID: "1", EventType: "a", Generated: time.Now()}
	two := sdk.Event{MessageID: "2", EventType: "a", Generated: time.Now().Add(time.Second)}
	if err := s.Publish(ctx, batch(t, 0, one)); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(ctx, batch(t, 2, two, one)); err != nil { // with samples, which are left out
		t.Fatal(err)
	}
	if got := stored(t, s.server.Address); !slices.Equal(got, []string{"1", "2"}) {
		t.Fatalf("got %q", got)
	}
	for _, err := range s.Query(ctx, sdk.Query{}) {
		if err == nil {
			t.Error("there are samples")
		}
	}
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	s = start(t, "", dir)
	if got := stored(t, s.server.Address); !slices.Equal(got, []string{"1", "2"}) {
		t.Fatalf("after a restart: got %q", got)
	}
	if err := (&storage{}).Start(ctx, sdk.Env{}); err == nil {
		t.Error("started without options or a folder")
	}
}

// An event that is too long, as a batch can have it that no SDK of ours made, is refused
// by itself, and not tried again with its batch.
func TestTooLong(t *testing.T) {
	s := start(t, "", t.TempDir())
	long := sdk.Event{MessageID: "long", EventType: "a", Generated: time.Now()}
	for i := range 17 {
		long.Traits = append(long.Traits, sdk.Trait{Name: fmt.Sprint(i), Type: sdk.Text, Value: "shared"})
	}
	data, err := batch(t, 3, sdk.Event{MessageID: "1", EventType: "a", Generated: time.Now()}, long, sdk.Event{MessageID: "2", EventType: "a", Generated: time.Now().Add(time.Second)}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	var w wire.Batch
	if err := proto.Unmarshal(data, &w); err != nil {
		t.Fatal(err)
	}
	w.Strings[slices.Index(w.Strings, "shared")] = strings.Repeat("x", sdk.MaxStringBytes)
	if data, err = proto.Marshal(&w); err != nil {
		t.Fatal(err)
	}
	b, err := sdk.DecodeBatch(data)
	if err != nil {
		t.Fatal(err)
	}
	var refused *sdk.Refused
	if err := s.Publish(t.Context(), b); !errors.As(err, &refused) || !slices.Equal(refused.Rows, []int{4}) {
		t.Fatalf("got %v, %+v", err, refused)
	}
	if got := stored(t, s.server.Address); !slices.Equal(got, []string{"1", "2"}) {
		t.Fatalf("got %q", got)
	}
}

// What was acknowledged is there, once, when the process is killed at any moment and
// its batches come again.
func TestKill9(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
	p := sdktest.StartWith(t, sdktest.Options{Config: "listen = '" + address + "'", StateDir: filepath.Join(t.TempDir(), "state")})
	nova := chunktest.NewNova(1, time.Now().Add(-time.Hour), 100*time.Millisecond)
	sent := map[string]bool{}
	for round := range 3 {
		acknowledged := 0
		ended := make(chan struct{})
		var killing sync.WaitGroup
		var again []byte // may be there or not
		go func() {
			defer close(ended)
			for n := 0; ; n++ {
				events := nova.Events(20 + n%200)
				data, err := batch(t, 0, events...).Encode()
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range events {
					sent[e.MessageID] = true
				}
				if p.PublishBatch(t.Context(), data) != nil {
					again = data
					return
				}
				if acknowledged++; acknowledged == 10+7*round {
					// From here on it is killed, whatever it does.
					killing.Go(p.Kill)
				}
			}
		}()
		<-ended
		killing.Wait()
		p.Restart()
		if err := p.PublishBatch(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		got := stored(t, address)
		once := map[string]bool{}
		for _, id := range got {
			if once[id] || !sent[id] {
				t.Fatalf("event %s is there twice, or was never sent", id)
			}
			once[id] = true
		}
		if len(once) != len(sent) {
			t.Fatalf("round %d: %d of %d events are there", round, len(once), len(sent))
		}
	}
	if text := p.Stderr(); strings.Contains(text, "damaged") {
		t.Errorf("damage:\n%s", text)
	}
}
