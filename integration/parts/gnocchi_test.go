package parts

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"testing"
)

// ask sends a request as the user admin and gives the answer's body.
func (s *GnocchiServer) ask(ctx context.Context, method, path, body string) ([]byte, error) {
	return call(ctx, method, "http://admin:@"+s.URL[len("http://"):]+path, "application/json", []byte(body))
}

func TestGnocchiAggregates(t *testing.T) {
	t.Parallel()
	var dirs []string
	t.Run("run", func(t *testing.T) {
		s := Gnocchi(t)
		dirs = []string{s.Dir, s.Workers.Dir}
		must := func(method, path, body string) (answer []byte) {
			t.Helper()
			answer, err := s.ask(t.Context(), method, path, body)
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
		if _, err := call(t.Context(), http.MethodGet, s.URL+"/v1/status", "", nil); err == nil {
			t.Error("who is nobody sees the status")
		}
		must("POST", "/v1/archive_policy", `{"name": "day", "back_window": 0, "aggregation_methods": ["mean"], "definition": [{"granularity": 86400, "points": 10}]}`)
		var metric struct{ ID string }
		if err := json.Unmarshal(must("POST", "/v1/metric", `{"archive_policy_name": "day"}`), &metric); err != nil {
			t.Fatal(err)
		}
		must("POST", "/v1/metric/"+metric.ID+"/measures", `[{"timestamp": "2026-01-01T00:00:00", "value": 1}, {"timestamp": "2026-01-01T01:00:00", "value": 3}]`)
		awaitTrue(t, "the measures are not aggregated", func() bool {
			return bytes.Contains(must("GET", "/v1/metric/"+metric.ID+"/measures?granularity=86400", ""), []byte("2.0]"))
		})
	})
	for _, dir := range dirs {
		expectNothingLeft(t, dir)
	}
}
