package api_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/plugins/evaluator/action"
	"github.com/nephoscope/nepho/plugins/evaluator/api"
	"github.com/nephoscope/nepho/plugins/evaluator/evaluate"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// BenchmarkCreate makes alarms by the API's handler, as 16 clients do that wait for their
// answers, with the events that say so. What HTTP costs is not in it.
func BenchmarkCreate(b *testing.B) {
	s, err := store.Open(b.Context(), store.Options{URL: filepath.Join(b.TempDir(), "alarms.sqlite")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	e := evaluate.New(evaluate.Options{Store: s, Interval: time.Minute})
	server := api.New(api.Options{
		Store: s, Evaluator: e, Record: func(c *store.Change) []*store.Delivery { return []*store.Delivery{action.Event(c)} },
		Limits: store.Limits{Project: -1, User: -1},
		Web:    web.Options{Auth: auth.None{}, Log: slog.New(slog.DiscardHandler), MaxBody: 1 << 20, Timeout: time.Minute},
	})
	cpu := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	var next atomic.Int64
	var work sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for range 16 {
		work.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				body := fmt.Sprintf(`{"name": "alarm %d", "type": "gnocchi_resources_threshold", "severity": "moderate", "alarm_actions": ["https://hooks.example.com/pager"],
					"gnocchi_resources_threshold_rule": {"metric": "cpu_util", "resource_id": %q, "resource_type": "instance", "threshold": 90, "comparison_operator": "gt", "aggregation_method": "mean", "granularity": 60}}`, i, uuid.NewString())
				w := httptest.NewRecorder()
				r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v2/alarms", strings.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				if server.ServeHTTP(w, r); w.Code != http.StatusCreated {
					b.Errorf("%d: %s", w.Code, w.Body)
					return
				}
			}
		})
	}
	work.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "alarms/s")
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "CPU-µs/alarm")
}
