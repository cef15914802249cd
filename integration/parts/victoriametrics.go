package parts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
)

// VictoriaServer is a single-node VictoriaMetrics.
type VictoriaServer struct {
	*Process
	// URL has no path: http://127.0.0.1:PORT.
	URL string
}

// VictoriaMetrics starts an empty server. It takes about 0.2 s.
func VictoriaMetrics(tb TB) *VictoriaServer {
	tb.Helper()
	dir := newDir(tb)
	address := fmt.Sprintf("127.0.0.1:%d", FreePort(tb))
	s := &VictoriaServer{URL: "http://" + address}
	s.Process = newProcess(tb, dir, spec{
		name: "victoria-metrics",
		argv: []string{program(tb, "victoria-metrics"),
			"-storageDataPath=" + filepath.Join(dir, "data"),
			"-httpListenAddr=" + address,
			"-retentionPeriod=100y",
			"-search.latencyOffset=0s",
			"-loggerLevel=WARN",
			// Sized for the machine otherwise, of which the tests own a part.
			"-memory.allowedBytes=64MB",
		},
		ready: answers(s.URL + "/health"),
	})
	s.Start()
	return s
}

// VictoriaSeries is one stored series.
type VictoriaSeries struct {
	// Metric holds the labels; the name is under "__name__".
	Metric map[string]string `json:"metric"`
	Values []float64         `json:"values"`
	// Timestamps are milliseconds since 1970, one for each value.
	Timestamps []int64 `json:"timestamps"`
}

// Export returns the series that a selector like {db="nepho"} matches, with all
// that was written before the call.
func (s *VictoriaServer) Export(selector string) []VictoriaSeries {
	s.tb.Helper()
	ctx := context.Background()
	// What was written shows in answers only after a flush, up to a second later.
	if _, err := call(ctx, http.MethodGet, s.URL+"/internal/force_flush", "", nil); err != nil {
		s.tb.Fatalf("cannot flush: %v", err)
	}
	body, err := call(ctx, http.MethodGet, s.URL+"/api/v1/export?match[]="+url.QueryEscape(selector), "", nil)
	if err != nil {
		s.tb.Fatalf("cannot export: %v", err)
	}
	var all []VictoriaSeries
	for decoder := json.NewDecoder(bytes.NewReader(body)); ; {
		var one VictoriaSeries
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			s.tb.Fatalf("cannot decode series: %v", err)
		}
		all = append(all, one)
	}
}
