package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

// fake is an API that answers as a Gnocchi does, from a list, and writes down what it
// was asked.
type fake struct {
	*httptest.Server
	asked   []string
	answers map[string]string // by method and path
	links   map[string]string // headers Link, by marker
}

func newFake(t *testing.T, answers map[string]string) *fake {
	f := &fake{answers: answers, links: map[string]string{}}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		ask := r.Method + " " + r.URL.EscapedPath()
		user, password, _ := r.BasicAuth()
		f.asked = append(f.asked, strings.TrimSpace(fmt.Sprintf("%s?%s %s:%s%s %s", ask, r.URL.RawQuery, user, password, r.Header.Get("X-Auth-Token"), body)))
		if link := f.links[r.URL.Query().Get("marker")]; link != "" {
			w.Header().Set("Link", link)
		}
		answer, ok := f.answers[ask]
		switch {
		case !ok:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"code":404,"title":"Not Found","description":"Metric x does not exist"}`)
		case answer == "":
			w.WriteHeader(http.StatusAccepted)
		case strings.HasPrefix(answer, "400"):
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, answer[3:])
		default:
			fmt.Fprint(w, answer)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

// run runs a command at the fake.
func (f *fake) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	t.Setenv("NEPHO_URL", f.URL)
	f.asked = nil
	var out, log bytes.Buffer
	a := &App{Version: "1", Stdout: &out, Stderr: &log}
	code = a.Main(args)
	return squeeze(out.String()), log.String(), code
}

// squeeze makes one blank of many.
func squeeze(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

const metricAnswer = `{"id":"m1","name":"cpu","unit":"%","creator":"admin","archive_policy":{"name":"low","back_window":3,
 "aggregation_methods":["mean","max"],"definition":[{"granularity":"0:05:00","points":8640,"timespan":"30 days, 0:00:00"},{"granularity":"1:00:00","points":null,"timespan":null}]},
 "resource":{"id":"r1","original_resource_id":"vm-1","type":"instance"}}`

func TestClientCommands(t *testing.T) {
	f := newFake(t, map[string]string{
		"GET /v1/metric":                                    `[{"id":"m1","name":"cpu","unit":null,"archive_policy":{"name":"low"},"resource_id":"r1"},{"id":"m2","name":null,"archive_policy":{"name":"high"}}]`,
		"GET /v1/resource/generic/vm%2F1/metric":            `[{"id":"m1","name":"cpu","archive_policy":{"name":"low"}}]`,
		"GET /v1/metric/m1":                                 metricAnswer,
		"GET /v1/resource/generic/vm-1/metric/cpu":          metricAnswer,
		"POST /v1/metric":                                   `{"id":"m3","name":"cpu"}`,
		"DELETE /v1/metric/m1":                              "",
		"GET /v1/resource/generic/vm-1/metric/cpu/measures": `[["2026-11-22T10:00:00+00:00",300.0,12.5],["2026-11-22T10:05:00+00:00",300.0,1e9]]`,
		"POST /v1/metric/m1/measures":                       "",
		"POST /v1/metric/m2/measures":                       `400{"code":400,"description":{"cause":"Invalid input","reason":"unexpected timestamp","detail":["0"]}}`,
		"GET /v1/resource/generic":                          `[{"id":"r1","original_resource_id":"vm-1","type":"instance","project_id":"p","started_at":"2026","ended_at":null}]`,
		"POST /v1/search/resource/instance":                 `[{"id":"r1","original_resource_id":"vm-1","type":"instance","started_at":"2026"}]`,
		"GET /v1/resource/generic/vm-1":                     `{"id":"r1","type":"instance"}`,
		"GET /v1/resource/instance/vm-1":                    `{"id":"r1","type":"instance","host":"c1","revision_end":null,"metrics":{"cpu":"m1"},"project_id":"p"}`,
		"GET /v1/resource/instance/vm-1/history":            `[{"id":"r1","type":"instance","host":"c0"},{"id":"r1","type":"instance","host":"c1"}]`,
	})
	check := func(code int, stdout, stderr, asked string, args ...string) {
		t.Helper()
		out, log, got := f.run(t, args...)
		if got != code || out != stdout || log != stderr || asked != strings.Join(f.asked, "\n") {
			t.Errorf("nepho %q: code %d\nstdout %s\nstderr %s\nasked %s", args, got, out, log, strings.Join(f.asked, "\n"))
		}
	}
	check(0, "ID NAME UNIT POLICY RESOURCE\nm1 cpu low r1\nm2 high", "", "GET /v1/metric?limit=1000&name=cpu :", "metric", "list", "--name", "cpu")
	check(0, "ID NAME UNIT POLICY RESOURCE\nm1 cpu low", "", "GET /v1/resource/generic/vm%2F1/metric? me:secret", "metric", "list", "--resource", "vm/1", "--user", "me:secret")
	shown := "id m1\nname cpu\nunit %\ncreator admin\nresource vm-1 (instance)\npolicy low\nmethods mean, max\n" +
		"every 0:05:00 for 30 days, 0:00:00, 8640 windows\nevery 1:00:00 for ever\nback window 3"
	check(0, shown, "", "GET /v1/metric/m1? :", "metric", "show", "m1")
	check(0, shown, "", "GET /v1/resource/generic/vm-1/metric/cpu? :", "metric", "show", "vm-1/cpu")
	check(1, "", "nepho metric show: 404 Not Found: Metric x does not exist\n", "GET /v1/metric/x? :", "metric", "show", "x")
	check(2, "", "nepho metric show: METRIC is missing. See nepho help metric show.\n", "", "metric", "show")
	check(0, "m3", "", `POST /v1/metric? : {"archive_policy_name":"low","name":"cpu"}`, "metric", "create", "--name", "cpu", "--policy", "low")
	check(1, "", "nepho metric delete: 404 Not Found: Metric x does not exist\n", "DELETE /v1/metric/x? :\nDELETE /v1/metric/m1? :", "metric", "delete", "x", "m1")
	check(0, "TIME GRANULARITY VALUE\n2026-11-22T10:00:00+00:00 300 12.5\n2026-11-22T10:05:00+00:00 300 1000000000", "",
		"GET /v1/resource/generic/vm-1/metric/cpu/measures?aggregation=max&start=-1hour :", "measures", "show", "vm-1/cpu", "--aggregation", "max", "--start", "-1hour")
	check(0, "2 measures added", "", `POST /v1/metric/m1/measures? : [{"timestamp":"2026-11-22T10:00:00","value":-1.5},{"timestamp":"-2hours","value":2}]`,
		"measures", "add", "m1", "2026-11-22T10:00:00@-1.5", "-2hours@2")
	check(1, "", "nepho measures add: \"x\" is no measure such as 12.5 or 2026-11-22T10:00:00@12.5\n", "", "measures", "add", "m1", "x")
	check(1, "", "nepho measures add: 400 Bad Request: Invalid input: unexpected timestamp: [\"0\"]\n", `POST /v1/metric/m2/measures? : [{"timestamp":"y","value":1}]`, "measures", "add", "m2", "y@1")
	check(2, "", "nepho measures add: MEASURE is missing. See nepho help measures add.\n", "", "measures", "add", "m1")
	check(0, "ID TYPE NAME PROJECT STARTED ENDED\nr1 instance vm-1 p 2026", "", "GET /v1/resource/generic?details=true&limit=5 :", "resource", "list", "--limit", "5")
	check(0, "ID TYPE NAME PROJECT STARTED ENDED\nr1 instance vm-1 2026", "", "POST /v1/search/resource/instance?filter=host+%3D+%27c1%27&limit=1000 :", "resource", "search", "--type", "instance", "host = 'c1'")
	check(0, "id r1\ntype instance\nproject_id p\nhost c1\nmetric cpu m1", "", "GET /v1/resource/generic/vm-1? :\nGET /v1/resource/instance/vm-1? :", "resource", "show", "vm-1")
	check(0, "id r1\ntype instance\nhost c0\n\nid r1\ntype instance\nhost c1", "", "GET /v1/resource/generic/vm-1? :\nGET /v1/resource/instance/vm-1/history?limit=1000 :", "resource", "show", "vm-1", "--history")
	t.Setenv("OS_TOKEN", "t0k")
	check(0, "m3", "", `POST /v1/metric? :t0k {}`, "metric", "create")
}

func TestValueBelowZero(t *testing.T) {
	f := newFake(t, map[string]string{"POST /v1/metric/m/measures": ""})
	if out, log, code := f.run(t, "measures", "add", "m", "-5"); code != 0 || !strings.Contains(f.asked[0], `"value":-5}`) {
		t.Errorf("code %d, %s%s, asked %v", code, out, log, f.asked)
	}
}

func TestPages(t *testing.T) {
	f := newFake(t, map[string]string{"GET /v1/metric": `[{"id":"a"},{"id":"b"}]`})
	f.links[""] = `<http://x/v1/metric?limit=2&marker=b>; rel="next"`
	f.links["b"] = `<http://x/v1/metric?limit=2&marker=c%3A1>; rel="next"`
	out, log, code := f.run(t, "metric", "list", "--limit", "0", "--json")
	var list []any
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list) != 6 || len(f.asked) != 3 || !strings.Contains(f.asked[2], "marker=c%3A1") {
		t.Errorf("code %d, %d entries, %v, stderr %s, asked %q", code, len(list), err, log, f.asked)
	}
	if f.run(t, "metric", "list", "--limit", "3"); len(f.asked) != 2 || !strings.Contains(f.asked[1], "limit=1&") {
		t.Errorf("asked %q", f.asked)
	}
	f.links, f.answers = map[string]string{}, map[string]string{"GET /v1/metric": `[]`}
	if out, _, _ := f.run(t, "metric", "list", "--json"); out != "[]" {
		t.Errorf("nothing is %q", out)
	}
}

func TestUnreachable(t *testing.T) {
	f := newFake(t, map[string]string{"GET /v1/metric": "<html>"})
	if _, log, code := f.run(t, "metric", "list"); code != 1 || !strings.Contains(log, "what answers at "+f.URL+" is no aggregator") {
		t.Errorf("code %d, %s", code, log)
	}
	const nobody = "http://127.0.0.1:1" // the port of a server that was closed may be another's by now
	if _, log, code := f.run(t, "metric", "list", "--url", nobody); code != 1 || !strings.Contains(log, "no aggregator answers at "+nobody+": ") {
		t.Errorf("code %d, %s", code, log)
	}
	if _, log, code := f.run(t, "metric", "list", "--url", "ftp://x"); code != 1 || !strings.Contains(log, `"ftp://x" is no address such as`) {
		t.Errorf("code %d, %s", code, log)
	}
}

// Without an address the commands ask the aggregator of the configuration.
func TestPlaceOfConfiguration(t *testing.T) {
	t.Setenv("NEPHO_URL", "")
	f := func(toml, want, wantUser string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "nepho.toml")
		if err := os.WriteFile(file, []byte(toml), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := newClient(&clientFlags{of: theAggregator, file: &file})
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = c.base
			r := http.Request{Header: c.header}
			if user, _, _ := r.BasicAuth(); user != wantUser {
				t.Errorf("%s: asked as %q", toml, user)
			}
		}
		if got != want {
			t.Errorf("%s: %s", toml, got)
		}
	}
	f("", "http://127.0.0.1:8041", "admin")
	f("[[storage.aggregator]]\nlisten = '[::1]:99'\nauth = 'none'", "http://[::1]:99", "")
	f("[[storage.other]]\nlisten = 'x:1'\n[[storage.aggregator]]\nname = 'a'\nlisten = '0.0.0.0:99'\nurl_prefix = '/metric/'\ntls = { cert = '/c', key = '/k' }", "https://127.0.0.1:99/metric", "admin")
	f("[[storage.aggregator]]\nlisten = ''", "aggregator serves no API: its option listen is empty", "")
}

func TestStoreCommands(t *testing.T) {
	t.Setenv("NEPHO_CONFIG", "/nowhere.toml")
	var out, log bytes.Buffer
	a := &App{Stdout: &out, Stderr: &log, Store: Store{
		Inspect: func(w io.Writer, file string, metrics ...uint64) error {
			fmt.Fprintln(w, "inspected", file, metrics)
			if file == "broken" {
				return fmt.Errorf("cannot read it")
			}
			return nil
		},
	}}
	if code := a.Main([]string{"aggregator", "inspect", "f", "7", "8"}); code != 0 || out.String() != "inspected f [7 8]\n" {
		t.Errorf("code %d, %s", code, out.String())
	}
	if code := a.Main([]string{"aggregator", "inspect", "broken"}); code != 1 || log.String() != "nepho aggregator inspect: cannot read it\n" {
		t.Errorf("code %d, %s", code, log.String())
	}
	log.Reset()
	if code := a.Main([]string{"aggregator", "verify"}); code != 1 || !strings.Contains(log.String(), "/nowhere.toml has no [[storage.aggregator]]: name a folder or an URL") {
		t.Errorf("code %d, %s", code, log.String())
	}
	log.Reset()
	if code := a.Main([]string{"aggregator", "inspect", "f", "x"}); code != 2 || !strings.Contains(log.String(), `"x" is no number of a metric`) {
		t.Errorf("code %d, %s", code, log.String())
	}
	log.Reset()
	if code := a.Main([]string{"aggregator", "inspect"}); code != 2 || log.String() != "nepho aggregator inspect: FILE is missing. See nepho help aggregator inspect.\n" {
		t.Errorf("code %d, %s", code, log.String())
	}
}

func TestAdopt(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("NEPHO_CONFIG", filepath.Join(dir, "nepho.toml"))
	if err := os.WriteFile(filepath.Join(dir, "nepho.toml"), []byte("[agent]\ndata_dir = '/data'\n[[storage.aggregator]]\npath = ''"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	failed := error(nil)
	a := &App{Stdout: &out, Stderr: &log, Store: Store{
		Adopt: func(_ context.Context, w io.Writer, path string, options *sdkconfig.Table) error {
			fmt.Fprintln(w, path, options.Get("path").Str)
			return failed
		},
	}}
	if code := a.Main([]string{"aggregator", "adopt"}); code != 0 || out.String() != "/data/state/storage/aggregator \n" {
		t.Errorf("code %d, %s%s", code, out.String(), log.String())
	}
	failed = fmt.Errorf("the database is away")
	if code := a.Main([]string{"aggregator", "adopt"}); code != 1 || log.String() != "nepho aggregator adopt: the database is away\n" {
		t.Errorf("code %d, %s", code, log.String())
	}
	out.Reset()
	if code := a.Main([]string{"help", "aggregator", "adopt"}); code != 0 || !strings.Contains(out.String(), "are forgotten") {
		t.Errorf("code %d, %s", code, out.String())
	}
	log.Reset()
	t.Setenv("NEPHO_CONFIG", "/nowhere.toml")
	if code := a.Main([]string{"aggregator", "adopt"}); code != 1 || log.String() != "nepho aggregator adopt: /nowhere.toml has no [[storage.aggregator]]\n" {
		t.Errorf("code %d, %s", code, log.String())
	}
}

func TestGroupsOfCommands(t *testing.T) {
	f := func(code int, stdout, stderr string, args ...string) {
		t.Helper()
		var out, log bytes.Buffer
		a := &App{Stdout: &out, Stderr: &log}
		if got := a.Main(args); got != code || !strings.Contains(out.String(), stdout) || !strings.Contains(log.String(), stderr) {
			t.Errorf("%q: code %d, stdout %s, stderr %s", args, got, out.String(), log.String())
		}
	}
	f(0, "Usage: nepho metric COMMAND [OPTIONS]\n\nList, show, make and delete metrics of the aggregator.\n\n  list ", "", "help", "metric")
	f(0, "Usage: nepho metric COMMAND", "", "metric", "--help")
	f(2, "", "Usage: nepho metric COMMAND", "metric")
	f(0, "Usage: nepho measures show [OPTIONS] METRIC\n\nShow measures of a metric.\n\nMETRIC is an id", "", "help", "measures", "show")
	f(0, "  --granularity LENGTH\n", "", "measures", "show", "--help")
	f(2, "", "nepho metric: there is no command \"lsit\"; did you mean \"list\"? See nepho help metric.\n", "metric", "lsit")
	f(2, "", "nepho metric show: what is \"b\" for? See nepho help metric show.\n", "metric", "show", "a", "b")
}
