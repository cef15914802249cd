package parts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
)

// InfluxServer is an InfluxDB 1.x without authentication.
type InfluxServer struct {
	*Process
	// URL has no path: http://127.0.0.1:PORT.
	URL string
}

// InfluxDB starts a server without databases. It takes about 0.1 s.
func InfluxDB(tb TB) *InfluxServer {
	tb.Helper()
	dir := newDir(tb)
	ports := FreePorts(tb, 2)
	config := filepath.Join(dir, "influxdb.conf")
	writeFile(tb, config, fmt.Sprintf(`reporting-disabled = true
bind-address = "127.0.0.1:%d"
[meta]
dir = %q
[data]
dir = %q
wal-dir = %q
[http]
bind-address = "127.0.0.1:%d"
log-enabled = false
[monitor]
store-enabled = false
`, ports[1], filepath.Join(dir, "meta"), filepath.Join(dir, "data"), filepath.Join(dir, "wal"), ports[0]))
	s := &InfluxServer{URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0])}
	s.Process = newProcess(tb, dir, spec{
		name:  "influxd",
		argv:  []string{program(tb, "influxd"), "-config", config},
		env:   []string{"HOME=" + dir},
		ready: answers(s.URL + "/ping"),
	})
	s.Start()
	return s
}

// InfluxSeries is one table of a query's result.
type InfluxSeries struct {
	Name    string            `json:"name"`
	Tags    map[string]string `json:"tags"`
	Columns []string          `json:"columns"`
	// Values hold one row each, in the order of Columns. Numbers are json.Number;
	// times are nanoseconds since 1970.
	Values [][]any `json:"values"`
}

// CreateDatabase makes a database.
func (s *InfluxServer) CreateDatabase(name string) {
	s.tb.Helper()
	s.Query("", fmt.Sprintf("CREATE DATABASE %q", name))
}

// Write stores points in line protocol with times in nanoseconds.
func (s *InfluxServer) Write(database, lines string) {
	s.tb.Helper()
	target := s.URL + "/write?precision=ns&db=" + url.QueryEscape(database)
	if _, err := call(context.Background(), http.MethodPost, target, "", []byte(lines)); err != nil {
		s.tb.Fatalf("cannot write points: %v", err)
	}
}

// Query runs one InfluxQL statement and returns its tables.
func (s *InfluxServer) Query(database, statement string) []InfluxSeries {
	s.tb.Helper()
	form := url.Values{"q": {statement}, "db": {database}, "epoch": {"ns"}}
	body, err := call(context.Background(), http.MethodPost, s.URL+"/query",
		"application/x-www-form-urlencoded", []byte(form.Encode()))
	if err != nil {
		s.tb.Fatalf("cannot query: %v", err)
	}
	var answer struct {
		Results []struct {
			Series []InfluxSeries `json:"series"`
			Error  string         `json:"error"`
		} `json:"results"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // nanoseconds do not fit a float64
	if err := decoder.Decode(&answer); err != nil {
		s.tb.Fatalf("cannot decode answer %q: %v", body, err)
	}
	if len(answer.Results) != 1 || answer.Results[0].Error != "" {
		s.tb.Fatalf("query %q failed: %s", statement, body)
	}
	return answer.Results[0].Series
}
