package aggregator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

func TestConform(t *testing.T) {
	sdktest.Conform(t, sdktest.Options{Config: "definitions = []\npath = ''\nlisten = '127.0.0.1:0'"})
}

// decode reads options as the SDK does.
func decode(t testing.TB, toml string) (*store, []config.Problem) {
	t.Helper()
	table, problems := config.Parse("test.toml", []byte(toml))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s := &store{}
	return s, table.Decode(s)
}

// start starts an instance in this process, in a folder of its own unless the options
// name one, and stops it with the test.
func start(t testing.TB, toml string) *store {
	t.Helper()
	s, err := launch(t, toml)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func launch(t testing.TB, toml string) (*store, error) {
	t.Helper()
	if !strings.Contains("\n"+toml, "\npath =") {
		toml = fmt.Sprintf("path = '%s'\n%s", filepath.Join(t.TempDir(), "store"), toml)
	}
	if !strings.Contains(toml, "listen =") {
		toml = "listen = '127.0.0.1:0'\n" + toml
	}
	s, problems := decode(t, toml)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	err := s.Start(t.Context(), sdk.Env{Instance: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, err
}

func TestOptions(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		var lines []string
		_, problems := decode(t, toml)
		for _, p := range problems {
			lines = append(lines, p.Error())
		}
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("%s\n got: %s\nwant: %s", toml, got, want)
		}
	}
	f("", "")
	f("listen = ''", "")
	f("pth = 'x'", `test.toml:1:1: pth: unknown option (did you mean "path"?)`)
	f("path = ''", "")
	f("index = 'mysql://root:secret@db/x'", "test.toml:1:1: index: is neither a path nor a URL such as postgres://nepho@127.0.0.1/nepho")
	f("index = 'postgres://nepho:secret@db/x'", "")
	f("listen = '8041'", `test.toml:1:1: listen: "8041" is not like 127.0.0.1:8041 or [::1]:8041`)
	f("listen = '0.0.0.0:8041'", `test.toml:1:1: listen: anybody who reaches 0.0.0.0:8041 could do anything: with auth = basic list basic.users, choose keystone or remoteuser, or set unprotected = true if the network is yours alone`)
	f("auth = 'none'\nlisten = ':8041'", `test.toml:2:1: listen: anybody who reaches :8041 could do anything: with auth = basic list basic.users, choose keystone or remoteuser, or set unprotected = true if the network is yours alone`)
	f("auth = 'none'\nlisten = 'localhost:8041'", "")
	f("auth = 'none'\nlisten = '[::1]:8041'", "")
	f("auth = 'none'\nlisten = '0.0.0.0:8041'\nunprotected = true", "")
	f("listen = '0.0.0.0:8041'\nbasic = { users = { admin = 'x' } }", "")
	f("auth = 'keystone'", "test.toml:1:1: keystone.auth_url: auth keystone needs the URL of Keystone, such as https://keystone:5000/v3\ntest.toml:1:1: keystone.username: auth keystone needs a service user, or an application credential")
	f("tls = { cert = '/x' }", "test.toml:1:1: tls: cert and key belong together")
	f("cors_origins = ['*', 'grafana']", `test.toml:1:22: cors_origins[1]: "grafana" is no origin such as https://grafana.example.com`)
	f("url_prefix = '/a b'", "test.toml:1:1: url_prefix: is no path such as /telemetry")
	f("checkpoint = '1ms'", `test.toml:1:1: checkpoint: "1ms" is out of range, allowed are 1s to 24h`)
	f("[s3]\nendpoint = 's3'\nbucket = 'b'\naccess_key = 'x'", "test.toml:2:1: s3.endpoint: is no URL such as https://s3.example.com; keys belong to access_key and secret_key\ntest.toml:1:1: s3: access_key and secret_key belong together")
	f("definitions = ['shipped', '/nowhere.toml']", "test.toml:1:1: definitions: /nowhere.toml: cannot read the definitions: open /nowhere.toml: no such file or directory")
	file := filepath.Join(t.TempDir(), "d.toml")
	if err := os.WriteFile(file, []byte("[[metric]]\npolicy = 'medum'"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("definitions = ['"+file+"']", `test.toml:1:1: definitions: `+file+`:2:1: metric.policy: no archive policy is called "medum": add a [[policy]] with that name (did you mean "medium"?)`)
	f("definitions = ['"+file+"']\ndefault_policies = false", `test.toml:1:1: definitions: `+file+`:2:1: metric.policy: no archive policy is called "medum": add a [[policy]] with that name`)
}

// get asks the instance's API.
func get(t testing.TB, s *store, path string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("admin", "")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// build makes one batch.
func build(t testing.TB, fill func(out *sdk.Builder)) *sdk.Batch {
	t.Helper()
	batches, err := sdk.Build("test", func(out *sdk.Builder) error { fill(out); return nil })
	if err != nil || len(batches) != 1 {
		t.Fatal(len(batches), err)
	}
	return batches[0]
}

func TestSamplesToAPI(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := start(t, "path = '"+dir+"'\nurl_prefix = '/metric'")
	now := time.Now().Truncate(time.Minute)
	batch := build(t, func(out *sdk.Builder) {
		vm := sdk.Resource{ID: "0a7a15ff-aa13-4ac2-897c-9bdf30ce175b", ProjectID: "p", UserID: "u", Metadata: sdk.Metadata{
			"display_name": "web", "instance_host": "c1", "flavor": map[string]any{"id": "7", "name": "tiny"}, "launched_at": "2026-01-01T00:00:00",
		}}
		for i := range 10 {
			out.At(now.Add(time.Duration(i-20) * time.Minute))
			out.On(vm).Gauge("memory.usage", "MiB", float64(i))
			out.On(vm).Cumulative("cpu", "ns", float64(i)*60e9)
			out.On(sdk.Resource{ID: "node1./var", Metadata: sdk.Metadata{"mountpoint": "/var", "host": "node1"}}).Gauge("host.filesystem.used", "B", float64(i))
		}
	})
	if err := s.Publish(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	check := func(s *store) {
		t.Helper()
		if code, _ := get(t, s, "/metric/healthcheck"); code != 200 {
			t.Errorf("healthcheck: %d", code)
		}
		code, body := get(t, s, "/metric/v1/resource/instance/0a7a15ff-aa13-4ac2-897c-9bdf30ce175b")
		for _, want := range []string{`"host":"c1"`, `"display_name":"web"`, `"flavor_id":"7"`, `"flavor_name":"tiny"`, `"launched_at":"2026-01-01T00:00:00+00:00"`, `"project_id":"p"`, `"user_id":"u"`, `"creator":"admin"`, `"cpu":`, `"memory.usage":`} {
			if code != 200 || !strings.Contains(body, want) {
				t.Errorf("%d: no %s in %s", code, want, body)
			}
		}
		code, body = get(t, s, "/metric/v1/resource/generic/node1._var/metric/host.filesystem.used/measures?granularity=60&aggregation=last")
		if code != 200 || strings.Count(body, "[\"") != 10 || !strings.Contains(body, "60.0,9.0]]") {
			t.Errorf("%d: %s", code, body)
		}
		code, body = get(t, s, "/metric/v1/resource/instance/0a7a15ff-aa13-4ac2-897c-9bdf30ce175b/metric/cpu/measures?granularity=60&aggregation=rate:mean")
		if code != 200 || strings.Count(body, ",60000000000.0]") != 9 {
			t.Errorf("%d: %s", code, body)
		}
		if code, body = get(t, s, "/metric/prometheus/api/v1/query?query=count(memory_usage)"); code != 200 || !strings.Contains(body, `"status":"success"`) {
			t.Errorf("%d: %s", code, body)
		}
		if code, _ = get(t, s, "/v1/"); code != 404 {
			t.Errorf("outside of the prefix: %d", code)
		}
	}
	check(s)
	// After a restart it is all there, and the same samples again change nothing.
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = start(t, "path = '"+dir+"'\nurl_prefix = '/metric'")
	check(s)
	if err := s.Publish(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	check(s)
	if _, body := get(t, s, "/metric/v1/resource/instance/0a7a15ff-aa13-4ac2-897c-9bdf30ce175b/history"); strings.Count(body, `"revision_start"`) != 1 {
		t.Errorf("history: %s", body)
	}
}

// What cannot start says why, and leaves nothing behind that keeps the next from
// starting.
func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	taken := start(t, "definitions = []\npath = '"+filepath.Join(dir, "a")+"'")
	f := func(want, toml string) {
		t.Helper()
		if _, err := launch(t, toml); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", toml, err)
		}
	}
	second := "definitions = []\npath = '" + filepath.Join(dir, "b") + "'\n"
	f("cannot listen for the HTTP API", second+"listen = '"+taken.address+"'")
	f("cannot load the certificate", second+"tls = { cert = '/nowhere', key = '/nowhere' }")
	f("cannot reach the index in PostgreSQL", second+"index = 'postgres://nobody:secret@127.0.0.1:1/x?connect_timeout=1'")
	f("is used by another process", "definitions = []\npath = '"+filepath.Join(dir, "a")+"'")
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f("cannot make the folder of the aggregator", "path = '"+filepath.Join(dir, "file", "x")+"'")
	s := start(t, second)
	if code, _ := get(t, s, "/healthcheck"); code != 200 {
		t.Errorf("healthcheck: %d", code)
	}
	if _, err := launch(t, second); err != nil && strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells a password: %v", err)
	}
}

func TestDeletedMetricsArePurged(t *testing.T) {
	s := start(t, "definitions = []\npurge_delay = '1h'")
	if err := s.Publish(t.Context(), build(t, func(out *sdk.Builder) { out.On(sdk.Resource{ID: "vm"}).Gauge("cpu_util", "%", 1) })); err != nil {
		t.Fatal(err)
	}
	before := s.engine.Stats().Metrics
	found, err := s.find(t.Context(), sdk.Query{Meters: []string{"cpu_util"}})
	if err != nil || len(found) != 1 {
		t.Fatal(len(found), err)
	}
	if err := s.index.DeleteMetric(t.Context(), found[0].metric.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.purgeOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := s.engine.Stats().Metrics; now != before {
		t.Errorf("%d metrics instead of %d before the delay is over", now, before)
	}
	s.PurgeDelay = 0
	if err := s.purgeOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := s.engine.Stats().Metrics; now != before-1 {
		t.Errorf("%d metrics, before %d", now, before)
	}
	// The next sample makes it again.
	if err := s.Publish(t.Context(), build(t, func(out *sdk.Builder) { out.On(sdk.Resource{ID: "vm"}).Gauge("cpu_util", "%", 2) })); err != nil {
		t.Fatal(err)
	}
	if code, body := get(t, s, "/v1/resource/generic/vm/metric/cpu_util/measures?granularity=300"); code != 200 || !strings.HasSuffix(body, "300.0,2.0]]") {
		t.Errorf("%d: %s", code, body)
	}
}

func TestEventsEndResources(t *testing.T) {
	s := start(t, "")
	vm := "0a7a15ff-aa13-4ac2-897c-9bdf30ce175b"
	if err := s.Publish(t.Context(), build(t, func(out *sdk.Builder) {
		out.On(sdk.Resource{ID: vm}).Gauge("cpu_util", "%", 1)
		out.On(sdk.Resource{ID: vm + "-vda", Metadata: sdk.Metadata{"disk_name": "vda", "instance_id": vm}}).Gauge("disk.device.usage", "B", 1)
		out.On(sdk.Resource{ID: "other", Metadata: sdk.Metadata{"disk_name": "vda", "instance_id": "1a7a15ff-aa13-4ac2-897c-9bdf30ce175b"}}).Gauge("disk.device.usage", "B", 1)
	})); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Publish(t.Context(), build(t, func(out *sdk.Builder) {
			out.AddEvent(sdk.Event{MessageID: "m", EventType: "compute.instance.delete.start", Generated: time.Now(), Traits: []sdk.Trait{{Name: "instance_id", Type: sdk.Text, Value: vm}}})
		})); err != nil {
			t.Fatal(err)
		}
		for path, ended := range map[string]bool{"instance/" + vm: true, "instance_disk/" + vm + "-vda": true, "instance_disk/other": false} {
			if code, body := get(t, s, "/v1/resource/"+path); code != 200 || strings.Contains(body, `"ended_at":null`) == ended {
				t.Errorf("%s: %d %s", path, code, body)
			}
		}
	}
}

func TestUnreadableDefinitionsAtStart(t *testing.T) {
	s := &store{}
	s.Definitions, s.Path = []string{"/nowhere.toml"}, t.TempDir()
	var problem config.Problem
	if err := s.Start(t.Context(), sdk.Env{}); !errors.As(err, &problem) || problem.Pos.File != "/nowhere.toml" {
		t.Errorf("error %v", err)
	}
}

// With the index in PostgreSQL all is the same.
func TestPostgreSQL(t *testing.T) {
	s := start(t, "index = '"+parts.PostgreSQL(t).Database()+"'")
	sample := func(v float64) {
		t.Helper()
		if err := s.Publish(t.Context(), build(t, func(out *sdk.Builder) {
			out.At(time.Now().Truncate(time.Hour).Add(time.Duration(v) * time.Minute))
			out.On(sdk.Resource{ID: "vm", Metadata: sdk.Metadata{"display_name": "web"}}).Gauge("cpu_util", "%", v)
		})); err != nil {
			t.Fatal(err)
		}
	}
	for v := range 3 {
		sample(float64(v))
	}
	const measures = "/v1/resource/instance/vm/metric/cpu_util/measures?granularity=60"
	if code, body := get(t, s, measures); code != 200 || strings.Count(body, ",60.0,") != 3 {
		t.Errorf("%d: %s", code, body)
	}
	id, err := index.ResourceID("vm", "admin")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.index.DeleteResource(t.Context(), "instance", id, time.Time{}); err != nil {
		t.Fatal(err)
	}
	sample(3)
	if code, body := get(t, s, measures); code != 200 || strings.Count(body, ",60.0,") != 1 {
		t.Errorf("%d: %s", code, body)
	}
	if _, body := get(t, s, "/v1/resource/instance/vm"); !strings.Contains(body, `"display_name":"web"`) {
		t.Error(body)
	}
}
