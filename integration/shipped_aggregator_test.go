package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
)

// The configuration that keeps samples keeps them: the commands, Gnocchi's API and
// Prometheus's find what the machine's pollster measured, also after a kill and a
// restart, and what is stored is sound.
func TestShippedAggregator(t *testing.T) {
	listen := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
	a := shipped(t, "aggregator.toml", nil, &parts.InfluxServer{}, "[[storage.aggregator]]\n", "[[storage.aggregator]]\nlisten = '"+listen+"'\n")
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	look := func(want string, args ...string) {
		t.Helper()
		Eventually(t, fmt.Sprintf("nepho %q says %q", args, want), func() error {
			stdout, stderr, code := a.Run(args...)
			if code != 0 || !strings.Contains(stdout, want) {
				return fmt.Errorf("code %d\n%s\n%s", code, stdout, stderr)
			}
			return nil
		})
	}
	check := func() {
		t.Helper()
		look(hostname, "resource", "list", "--type", "host")
		look("host.load.1min", "metric", "list", "--name", "host.load.1min")
		look("metric host.load.1min", "resource", "show", hostname)
		look("policy", "metric", "show", hostname+"/host.load.1min")
		look(" 60 ", "measures", "show", hostname+"/host.load.1min", "--granularity", "60", "--aggregation", "last")
		look(hostname, "resource", "search", "--type", "host", "host_name = '"+hostname+"' and ended_at = null")
		Eventually(t, "PromQL gives a rate of a counter", func() error {
			r, err := http.NewRequest("GET", "http://"+listen+"/prometheus/api/v1/query?query="+url.QueryEscape("last_over_time(host_cpu_busy[10m]) > 0"), nil)
			if err != nil {
				return err
			}
			r.SetBasicAuth("admin", "")
			answer, err := client().Do(r)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			var got struct {
				Data struct {
					Result []struct{ Metric map[string]string }
				}
			}
			if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
				return err
			}
			if len(got.Data.Result) != 1 || got.Data.Result[0].Metric["resource_id"] != hostname {
				return fmt.Errorf("%d: %+v", answer.StatusCode, got)
			}
			return nil
		})
	}
	check()
	metric, stderr, code := a.Run("metric", "create", "--name", "mine", "--policy", "medium")
	if code != 0 {
		t.Fatal(stderr)
	}
	metric = strings.TrimSpace(metric)
	if _, stderr, code := a.Run("measures", "add", metric, "-7.25"); code != 0 {
		t.Fatal(stderr)
	}
	look("-7.25", "measures", "show", metric)
	a.Kill9()
	a.Start()
	a.AwaitReady()
	check()
	look("-7.25", "measures", "show", metric)
	if _, stderr, code := a.Run("metric", "delete", metric); code != 0 {
		t.Fatal(stderr)
	}
	if _, stderr, code := a.Run("measures", "show", metric); code != 1 || !strings.Contains(stderr, "404 Not Found: Metric "+metric+" does not exist") {
		t.Errorf("code %d: %s", code, stderr)
	}
	look("damaged: 0\n", "aggregator", "verify")
	undisturbed(t, a)
	look("damaged: 0\n", "aggregator", "verify")
	heads, err := filepath.Glob(a.Path("data", "aggregator", "objects", "heads", "*"))
	if err != nil || len(heads) == 0 {
		t.Fatal(heads, err)
	}
	for _, head := range heads {
		if err := os.Chmod(head, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(head, 100); err != nil {
			t.Fatal(err)
		}
	}
	if stdout, _, code := a.Run("aggregator", "verify", a.Path("data", "aggregator")); code != 1 || !strings.Contains(stdout, "heads/") {
		t.Errorf("code %d: %s", code, stdout)
	}
}
