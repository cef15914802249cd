package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator"
	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

// neighbour is an aggregator in this process: what it answers by itself is what its API
// has to give.
type neighbour struct {
	sdk.SeriesStorage
	url string
}

// bundled is an aggregator as the plugin makes it.
type bundled interface {
	sdk.SeriesStorage
	sdk.Starter
	sdk.Stopper
}

func newNeighbour(t *testing.T) *neighbour {
	t.Helper()
	at := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
	table, problems := config.Parse("test.toml", []byte(fmt.Sprintf("path = '%s/store'\nlisten = '%s'", t.TempDir(), at)))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s := aggregator.Plugin().Storage().(bundled)
	if problems := table.Decode(s); len(problems) > 0 {
		t.Fatal(problems)
	}
	err := s.Start(t.Context(), sdk.Env{Instance: "test", Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return &neighbour{s, "http://" + at}
}

func (n *neighbour) publish(t *testing.T, fill func(out *sdk.Builder)) {
	t.Helper()
	batches, err := sdk.Build("test", func(out *sdk.Builder) error { fill(out); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		if err := n.Publish(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

func newGnocchi(t *testing.T, url string) *Gnocchi {
	t.Helper()
	return newGnocchiWith(t, GnocchiOptions{URL: url, Auth: "basic", Username: "admin", Timeout: time.Minute}, nil)
}

func newGnocchiWith(t *testing.T, o GnocchiOptions, keystone Service) *Gnocchi {
	t.Helper()
	g, err := NewGnocchi(o, keystone, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

var everything = sdk.Scope{All: true}

// found is an answer as text: positions, resources and meters.
func found(t *testing.T, r sdk.SeriesReader, q sdk.SeriesQuery) (string, map[string]sdk.Series) {
	t.Helper()
	list, err := r.FindSeries(t.Context(), q)
	if err != nil {
		return problem(err), nil
	}
	var names []string
	series := map[string]sdk.Series{}
	for _, f := range list {
		name := f.Resource + " " + f.Meter
		names = append(names, fmt.Sprint(f.Position, " ", name))
		series[name] = f.Series
	}
	slices.Sort(names)
	return strings.Join(names, ", "), series
}

// problem is what kind of error one is.
func problem(err error) string {
	switch {
	case errors.As(err, new(*sdk.Refused)):
		return "refused"
	case errors.Is(err, errors.ErrUnsupported):
		return "unsupported"
	}
	return "error"
}

// rows is an answer as text.
func rows(w *sdk.Windows, err error) string {
	if err != nil {
		return problem(err)
	}
	var lines []string
	for _, row := range w.All() {
		line := fmt.Sprint(row.Times, row.Values)
		if row.Err != nil {
			line = row.Err.Error()
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// computedText is an answer as text, whose order does not count.
func computedText(list []sdk.ComputedSeries, err error) string {
	if err != nil {
		return problem(err)
	}
	var lines []string
	for _, s := range list {
		lines = append(lines, fmt.Sprint(s.Labels, s.Times, s.Values))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// serve is a server that answers as f says.
func serve(t *testing.T, f func(w http.ResponseWriter, r *http.Request, body string)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		f(w, r, string(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}
