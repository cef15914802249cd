package status

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
)

func TestMain(m *testing.M) {
	// A server notices the end of a connection after its client.
	parts.Main(m)
}

// teller tells what a test wants told.
type teller struct {
	status  host.Status
	latest  map[string]*sdk.Batch
	figures []host.Figures
}

func (t *teller) Status() *host.Status          { return &t.status }
func (t *teller) Latest() map[string]*sdk.Batch { return t.latest }

func (t *teller) Figures(context.Context) []host.Figures { return t.figures }

// busy is a host with one of everything, some of it in trouble.
func busy(t *testing.T) *teller {
	t.Helper()
	batches, err := sdk.Build("cpu", func(out *sdk.Builder) error {
		on := out.On(sdk.Resource{ID: "<script>alert(1)</script>"})
		for i := range 20 {
			on.Gauge("load", "1", float64(i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	return &teller{latest: map[string]*sdk.Batch{"cpu": batches[0]}, figures: figures(), status: host.Status{
		Version: "1.2.3", PID: 42, Started: now.Add(-90 * time.Second), Time: now, Files: []string{"/etc/nepho/nepho.toml"},
		Plugins: []host.PluginStatus{
			{Process: "pollster/host", Kind: "pollster", Name: "host", State: supervisor.Ready, PID: 43, RSS: 5 << 20, Restarts: 2},
			{Process: "publisher/file", Kind: "publisher", Name: "file", State: supervisor.Failed, Error: `exit status 1 & "so on"`},
		},
		Instances: []host.InstanceStatus{
			{Name: "cpu", State: supervisor.Ready}, {Name: "out", State: supervisor.Backoff, Error: "cannot open <file>"},
		},
		Sources:   []host.SourceStatus{{Name: "cpu", Kind: "pollster", Plugin: "host", Polls: 7, Samples: 140, Skipped: 3, Duration: time.Millisecond}},
		Pipelines: []host.PipelineStatus{{Name: "p", In: 140, Filtered: 40, Out: 100, Stages: []host.StageStatus{{Name: "p/rate", In: 100, Out: 100}}}},
		Sinks:     []host.SinkStatus{{Pipeline: "p", Publisher: "out", Appended: 100, Published: 60, Refused: 1, DroppedFull: 9, Waiting: 30, SpoolBytes: 3 << 20, Error: "down"}},
	}}
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestPage(t *testing.T) {
	for name, teller := range map[string]*teller{"busy": busy(t), "empty": {}} {
		w := get(t, Handler(teller), "/")
		page := w.Body.String()
		if w.Code != http.StatusOK || !strings.HasSuffix(strings.TrimSpace(page), "</html>") {
			t.Errorf("%s: code %d, the page is cut: %.100q", name, w.Code, page)
		}
		for _, never := range []string{"<script", "<file>", "%!", "<no value>", "ZgotmplZ"} {
			if strings.Contains(page, never) {
				t.Errorf("%s: the page has %s", name, never)
			}
		}
		if !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: headers %v", name, w.Header())
		}
		if name == "empty" {
			continue
		}
		for _, says := range []string{"1.2.3", "1m30s", "pollster/host", "exit status 1 &amp;", "cannot open &lt;file&gt;", "&lt;script&gt;", "and 8 more", "5 MiB", "3 MiB"} {
			if !strings.Contains(page, says) {
				t.Errorf("the page does not say %q:\n%s", says, page)
			}
		}
	}
}

func TestStatusJSON(t *testing.T) {
	w := get(t, Handler(busy(t)), "/status")
	var s host.Status
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%v, %v", err, w.Header())
	}
	if s.PID != 42 || len(s.Plugins) != 2 || s.Sinks[0].Waiting != 30 || s.Sources[0].Duration != time.Millisecond || s.Plugins[1].State != supervisor.Failed {
		t.Errorf("it is %+v", s)
	}
}

func TestReadiness(t *testing.T) {
	f := func(change func(*teller), code int, says string) {
		t.Helper()
		b := busy(t)
		change(b)
		h := Handler(b)
		if w := get(t, h, "/readyz"); w.Code != code || !strings.Contains(w.Body.String(), says) {
			t.Errorf("code %d, %s", w.Code, w.Body)
		}
		if w := get(t, h, "/healthz"); w.Code != http.StatusOK {
			t.Errorf("not healthy: %d, %s", w.Code, w.Body)
		}
	}
	f(func(*teller) {}, http.StatusServiceUnavailable, "out is backoff: cannot open <file>\n")
	f(func(b *teller) { b.status.Instances[1].State = supervisor.Ready }, http.StatusOK, "ready")
	f(func(b *teller) { b.status.Instances = nil }, http.StatusOK, "ready")
	f(func(b *teller) { b.status.Instances, b.status.Draining = nil, true }, http.StatusServiceUnavailable, "the host is stopping")
}

func TestMetrics(t *testing.T) {
	w := get(t, Handler(busy(t)), "/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	f := func(name string, want float64) {
		t.Helper()
		sum := 0.0
		for _, m := range families[name].GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		if sum != want {
			t.Errorf("%s is %g, want %g", name, sum, want)
		}
	}
	f("nepho_info", 1)
	f("nepho_plugin_up", 1)
	f("nepho_plugin_failed", 1)
	f("nepho_plugin_restarts_total", 2)
	f("nepho_plugin_resident_bytes", 5<<20)
	f("nepho_instance_up", 1)
	f("nepho_source_polls_total", 7)
	f("nepho_source_skipped_total", 3)
	f("nepho_source_last_poll_seconds", 0.001)
	f("nepho_pipeline_in_total", 140)
	f("nepho_sink_published_total", 60)
	f("nepho_sink_dropped_total", 9)
	f("nepho_sink_waiting", 30)
	f("nepho_sink_up", 0)
	f("nepho_sink_spool_bytes", 3<<20)
	if families["go_goroutines"] == nil || families["process_start_time_seconds"] == nil {
		t.Error("the host's own process is not measured")
	}
}

func TestOtherRequests(t *testing.T) {
	h := Handler(busy(t))
	for path, code := range map[string]int{"/nothing": 404, "/status/": 404, "/index.html": 404} {
		if w := get(t, h, path); w.Code != code {
			t.Errorf("%s gives %d", path, w.Code)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/status", nil))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s gives %d", method, w.Code)
		}
	}
}

func TestListen(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	s, err := Listen("127.0.0.1:0", busy(t), log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(s.Addr(), busy(t), log); err == nil || !strings.Contains(err.Error(), "change listen in [agent]") {
		t.Errorf("the same address again: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + s.Addr() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || string(body) != "ok\n" {
		t.Errorf("%v, %q", err, body)
	}
	// A client that says nothing does not keep the server from closing for long.
	silent, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dialed := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	// One that is silent for five seconds is gone without more.
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) && begun.Sub(dialed) < 4*time.Second {
		t.Errorf("closing took %v and ended with %v, not with its context", time.Since(begun), err)
	}
	if _, err := client.Get("http://" + s.Addr() + "/healthz"); err == nil {
		t.Error("it serves after Close")
	}
}

func TestByteSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 5 << 20: "5 MiB", 3 << 30: "3 GiB", 5000 << 30: "5000 GiB"} {
		if got := byteSize(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}
