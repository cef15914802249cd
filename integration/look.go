package integration

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/sdk"
)

// client does not keep connections: an agent that is killed takes them along.
func client() *http.Client {
	return &http.Client{Timeout: patience / 2, Transport: &http.Transport{DisableKeepAlives: true}}
}

// Get asks the agent's HTTP server and gives the status code and the body.
func (a *Agent) Get(path string) (int, string, error) {
	r, err := client().Get("http://" + a.Listen + path)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return r.StatusCode, string(body), err
}

// AwaitReady waits until all instances are started.
func (a *Agent) AwaitReady() {
	a.tb.Helper()
	Eventually(a.tb, "the agent is ready", func() error {
		select {
		case <-a.done:
			a.tb.Fatalf("the agent ended: %v", a.end)
		default:
		}
		code, body, err := a.Get("/readyz")
		if err == nil && code != http.StatusOK {
			err = errors.New(body)
		}
		return err
	})
}

// Status asks the agent how it is doing.
func (a *Agent) Status() *host.Status {
	a.tb.Helper()
	code, body, err := a.Get("/status")
	s := new(host.Status)
	if err == nil {
		err = json.Unmarshal([]byte(body), s)
	}
	if err != nil || code != http.StatusOK {
		a.tb.Fatalf("cannot get the status (code %d): %v", code, err)
	}
	return s
}

// Source gives the status of a source.
func (a *Agent) Source(name string) host.SourceStatus {
	a.tb.Helper()
	all := a.Status().Sources
	return all[a.find("source", name, slices.IndexFunc(all, func(s host.SourceStatus) bool { return s.Name == name }))]
}

// Pipeline gives the status of a pipeline.
func (a *Agent) Pipeline(name string) host.PipelineStatus {
	a.tb.Helper()
	all := a.Status().Pipelines
	return all[a.find("pipeline", name, slices.IndexFunc(all, func(s host.PipelineStatus) bool { return s.Name == name }))]
}

// Sink gives the status of a publisher in a pipeline.
func (a *Agent) Sink(pipeline, publisher string) host.SinkStatus {
	a.tb.Helper()
	all := a.Status().Sinks
	return all[a.find("sink", pipeline+"/"+publisher, slices.IndexFunc(all, func(s host.SinkStatus) bool {
		return s.Pipeline == pipeline && s.Publisher == publisher
	}))]
}

// Plugin gives the status of the first process of a plugin, such as
// pollster/host.
func (a *Agent) Plugin(name string) host.PluginStatus {
	a.tb.Helper()
	all := a.Status().Plugins
	return all[a.find("plugin", name, slices.IndexFunc(all, func(s host.PluginStatus) bool { return s.Kind+"/"+s.Name == name }))]
}

func (a *Agent) find(what, name string, at int) int {
	a.tb.Helper()
	if at < 0 {
		a.tb.Fatalf("the status has no %s %q", what, name)
	}
	return at
}

// Metrics scrapes the agent as Prometheus does.
func (a *Agent) Metrics() map[string]*dto.MetricFamily {
	a.tb.Helper()
	r, err := client().Get("http://" + a.Listen + "/metrics")
	if err != nil {
		a.tb.Fatalf("cannot scrape: %v", err)
	}
	defer r.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r.Body)
	if err != nil {
		a.tb.Fatalf("what /metrics gives is not Prometheus' text: %v", err)
	}
	return families
}

// Metric scrapes and gives the sum of a metric's values over all that have the
// given labels (name, value, name, value ...).
func (a *Agent) Metric(name string, labels ...string) float64 {
	a.tb.Helper()
	family := a.Metrics()[name]
	if family == nil {
		a.tb.Fatalf("there is no metric %q", name)
	}
	sum := 0.0
	for _, m := range family.Metric {
		if hasLabels(m, labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return sum
}

func hasLabels(m *dto.Metric, labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool {
			return l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}) {
			return false
		}
	}
	return true
}

// Samples reads what the file publisher wrote to a file in the agent's folder and
// to those it rotated; compressed ones it does not read. A line that is not
// complete yet is left out.
func (a *Agent) Samples(name string) []sdk.Sample {
	a.tb.Helper()
	files, err := filepath.Glob(a.Path(name) + "*")
	if err != nil {
		a.tb.Fatalf("cannot list: %v", err)
	}
	// Rotated ones have a time behind the name and are older.
	slices.SortFunc(files, func(x, y string) int {
		if len(x) != len(y) {
			return len(y) - len(x)
		}
		return strings.Compare(x, y)
	})
	var samples []sdk.Sample
	for _, file := range files {
		samples = append(samples, a.samplesOf(file)...)
	}
	return samples
}

func (a *Agent) samplesOf(file string) []sdk.Sample {
	a.tb.Helper()
	f, err := os.Open(file)
	if err != nil {
		a.tb.Fatalf("cannot read samples: %v", err)
	}
	defer f.Close()
	var samples []sdk.Sample
	for in := bufio.NewReaderSize(f, 1<<20); ; {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return samples
		}
		var s sdk.Sample
		if err := json.Unmarshal(line, &s); err != nil {
			a.tb.Fatalf("a line of %s is no sample: %v: %s", file, err, line)
		}
		samples = append(samples, s)
	}
}
