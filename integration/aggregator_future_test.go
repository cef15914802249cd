package integration

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A measure far in the future must not hide what comes after it, as it does in Gnocchi.
func TestAggregatorFuture(t *testing.T) {
	t.Parallel()
	g := newAggregator(t, "").start()
	s := g.makeMetrics(1)[0]
	all := map[*series][]point{s: row(yesterday(), 100, 1)}
	g.write(all)
	future := point{time.Now().UTC().AddDate(10, 0, 0).Truncate(time.Second), 7}

	// To one metric: nothing of the request is stored.
	code, text, err := g.ask("POST", "/v1/metric/"+s.id+"/measures", []point{{yesterday().Add(100 * time.Second), 5}, future})
	if err != nil || code != http.StatusBadRequest || !strings.Contains(text, "future") {
		t.Errorf("%d: %s %v", code, text, err)
	}
	g.expect([]*series{s})

	// In a batch: all else is stored, and it is told.
	next := row(yesterday().Add(100*time.Second), 20, 101)
	code, text, err = g.ask("POST", "/v1/batch/metrics/measures", map[string][]point{s.id: append([]point{future}, next...)})
	if err != nil || code != http.StatusAccepted {
		t.Fatalf("%d: %s %v", code, text, err)
	}
	var report struct {
		Accepted, Late, Future int
		Refused                []struct {
			Metric, Reason string
			Timestamp      time.Time
		}
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if report.Accepted != 20 || report.Late != 0 || report.Future != 1 || len(report.Refused) != 1 ||
		report.Refused[0].Metric != s.id || report.Refused[0].Reason != "future" || !report.Refused[0].Timestamp.Equal(future.Timestamp) {
		t.Errorf("%s", text)
	}
	s.takes(next)
	g.expect([]*series{s})

	// Life goes on, and so it does after a restart.
	g.write(map[*series][]point{s: row(yesterday().Add(2*time.Minute), 100, 1)})
	g.expect([]*series{s})
	g.Stop()
	g.start()
	g.write(map[*series][]point{s: row(time.Now().UTC().Truncate(time.Second), 3, 1)})
	g.expect([]*series{s})
	g.Stop()
}
