// Package status serves what the host knows of itself over HTTP: a page for
// people, /status as JSON, /metrics for Prometheus, /healthz and /readyz.
package status

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/sdk"
)

// Teller tells how the host is doing; it is safe for concurrent use.
type Teller interface {
	Status() *host.Status
	Latest() map[string]*sdk.Batch
	// Figures takes about a second at most.
	Figures(ctx context.Context) []host.Figures
}

// Server is a running HTTP server.
type Server struct {
	http *http.Server
	addr net.Addr
	done chan error
}

// Listen serves on the given address until Close.
func Listen(address string, teller Teller, log *slog.Logger) (*Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot serve the status page: %w (change listen in [agent], or set it to \"\")", err)
	}
	s := &Server{addr: l.Addr(), done: make(chan error, 1), http: &http.Server{
		Handler:           Handler(teller),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	go func() { s.done <- s.http.Serve(l) }()
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.addr.String() }

// Close ends the server; requests under way may take until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if e := <-s.done; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// Handler answers the requests.
func Handler(teller Teller) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{teller}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := teller.Status()
		if s.Ready() {
			fmt.Fprintln(w, "ready")
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		if s.Draining {
			fmt.Fprintln(w, "the host is stopping")
		}
		for _, missing := range s.Missing {
			fmt.Fprintln(w, missing)
		}
		for _, i := range s.Instances {
			if i.State != "ready" {
				fmt.Fprintf(w, "%s is %s: %s\n", i.Name, i.State, i.Error)
			}
		}
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.Encode(struct {
			*host.Status
			Figures []host.Figures `json:"figures"`
		}{teller.Status(), teller.Figures(r.Context())})
	})
	// The page's template is only read when somebody looks.
	page := sync.OnceValues(func() (*template.Template, error) {
		return template.New("page").Funcs(functions).Parse(pageText)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		t, err := page()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		t.Execute(w, view(r.Context(), teller))
	})
	return mux
}

//go:embed page.html
var pageText string

var functions = template.FuncMap{
	"bytes": byteSize,
	"since": func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return time.Since(t).Round(time.Second).String() + " ago"
	},
	"volume": func(v float64) string {
		if v == math.Trunc(v) && math.Abs(v) < 1e15 {
			return strconv.FormatFloat(v, 'f', 0, 64)
		}
		return strconv.FormatFloat(v, 'g', 6, 64)
	},
	"took": func(d time.Duration) string { return d.Round(10 * time.Microsecond).String() },
	"add": func(n ...uint64) (sum uint64) {
		for _, v := range n {
			sum += v
		}
		return sum
	},
}

func byteSize(n int64) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if n < 1024 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%d GiB", n)
}

// seen is what the page is made of.
type seen struct {
	*host.Status
	Uptime  string
	Ready   bool
	Figures []host.Figures
	Latest  []latest
}

// latest are a source's last samples.
type latest struct {
	Source  string
	Samples []sdk.Sample
	More    int
}

// shownSamples is how many samples of each source the page shows.
const shownSamples = 12

func view(ctx context.Context, teller Teller) seen {
	s := teller.Status()
	v := seen{Status: s, Figures: teller.Figures(ctx), Uptime: s.Time.Sub(s.Started).Round(time.Second).String(), Ready: s.Ready()}
	batches := teller.Latest()
	for _, source := range s.Sources {
		b := batches[source.Name]
		if b == nil {
			continue
		}
		l := latest{Source: source.Name, More: max(0, b.Len()-shownSamples)}
		for i, sample := range b.Samples() {
			if i == shownSamples {
				break
			}
			l.Samples = append(l.Samples, sample)
		}
		v.Latest = append(v.Latest, l)
	}
	return v
}
