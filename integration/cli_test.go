package integration

import (
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/sdk"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file in testdata; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test ./integration -run TestHelp -update writes it anew. It is now:\n%s", file, got)
	}
}

// commands are those of the command line.
var commands = []string{"run", "check", "test", "plugins", "config", "status", "version"}

func TestHelp(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, "")
	a.Env = []string{"NEPHO_CONFIG="}
	out, stderr, code := a.Run("help")
	if code != 0 || stderr != "" {
		t.Errorf("help: code %d, %s", code, stderr)
	}
	golden(t, "help.txt", out)
	for _, c := range commands {
		if !regexpMatch(`(?m)^  `+c+` `, out) {
			t.Errorf("help does not name %s", c)
		}
		text, stderr, code := a.Run(c, "--help")
		if code != 0 || stderr != "" {
			t.Errorf("%s --help: code %d, %s", c, code, stderr)
		}
		golden(t, "help-"+c+".txt", text)
		if same, _, _ := a.Run("help", c); same != text {
			t.Errorf("help %s is not %s --help", c, c)
		}
	}
}

// Mistakes on the command line are told in one line on standard error, with exit
// code 2; what cannot be done has code 1.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, healthy)
	f := func(want int, says string, args ...string) {
		t.Helper()
		_, stderr, code := a.Run(args...)
		if code != want || !strings.Contains(stderr, says) {
			t.Errorf("nepho %q: code %d instead of %d, says %q instead of %q", args, code, want, stderr, says)
		}
	}
	f(2, "Usage: nepho COMMAND")
	f(2, `there is no command "chekc"; did you mean "check"?`, "chekc")
	f(2, "nonsense", "check", "--nonsense")
	f(2, `what is "extra" for?`, "check", "extra")
	f(2, "invalid value", "test", "--polls", "many")
	f(2, `there is no pollster "nobody"`, "test", "nobody")
	f(2, `there is no pollster "file"`, "test", "file")
	f(2, "there is no bundled plugin", "plugin", "pollster/nothing")
	f(0, "", "check")
	f(0, "", "--version")
	f(1, "cannot read the file", "check", "--config", "/nowhere.toml")
	f(1, "cannot read the file", "run", "--config", "/nowhere.toml")
	f(1, "cannot read the file", "test", "--config", "/nowhere.toml")
	f(1, `there is no plugin "nothing"`, "config", "nothing")
	f(1, "no agent answers", "status")
	f(1, "no agent answers", "status", "--address", "127.0.0.1:1")
}

func TestVersion(t *testing.T) {
	t.Parallel()
	out, _, code := NewAgent(t, "").Run("version")
	if code != 0 || !regexpMatch(`^nepho \S+\n$`, out) {
		t.Errorf("code %d, %q", code, out)
	}
}

// A trial shows what each pipeline would publish, in text and as JSON lines,
// starts no publisher, writes nothing, and runs beside the agent.
func TestTrial(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, healthy+`
[[pollster.rogue]]
interval = "10s"
[[transformer.rate_of_change]]
meters = ["number"]
[[publisher.rogue]]
name = "never"
mode = "hang-start"
[[pipeline]]
name = "rates"
sources = ["rogue"]
transformers = ["rate_of_change"]
publishers = ["never"]
`)
	a.installRogue("pollster", "publisher")
	out, stderr, code := a.Run("test")
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	for _, says := range []string{"pipeline healthy → file\n", "host.memory.total", "gauge"} {
		if !strings.Contains(out, says) {
			t.Errorf("it does not say %q:\n%s", says, out)
		}
	}
	out, stderr, code = a.Run("test", "rogue", "--json", "--polls", "3", "--every", "50ms")
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 { // all but the first of three samples have a rate
		t.Errorf("it gives %d lines:\n%s", len(lines), out)
	}
	for _, line := range lines {
		var s sdk.Sample
		if err := json.Unmarshal([]byte(line), &s); err != nil || s.Type != sdk.Gauge {
			t.Errorf("%v in %s", err, line)
		}
	}
	for _, made := range []string{"data", "healthy.json"} {
		if _, err := os.Stat(a.Path(made)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it made %s", made)
		}
	}
	// What cannot be polled is told, and does not keep the others.
	a.Configure(strings.Replace(healthy, "[[pipeline]]", "[[pollster.rogue]]\nmode = 'fail'\n[[pipeline]]\nname = 'r'\nsources = ['rogue']\npublishers = ['file']\n[[pipeline]]", 1))
	out, stderr, code = a.Run("test")
	if code != 1 || !strings.Contains(stderr, "rogue: this poll fails") || !strings.Contains(out, "host.memory.total") {
		t.Errorf("code %d, says %s\n%s", code, out, stderr)
	}
	a.awaitNoProcesses()
}

func TestPluginsAreListed(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, healthy)
	path := a.installRogue("pollster")[0]
	out, stderr, code := a.Run("plugins")
	if code != 0 {
		t.Errorf("code %d: %s", code, stderr)
	}
	for _, says := range []string{
		`pollster\s+host\s+\S+\s+bundled\s+host\s`, `publisher\s+file\s+\S+\s+bundled\s+file\s`, `transformer\s+rate_of_change\s`,
		`pollster\s+rogue\s+6\.6\.6\s+` + path + ` sha256:[0-9a-f]{64}\s+Misbehaves as it is told`,
	} {
		if !regexpMatch(says, out) {
			t.Errorf("it does not say %s:\n%s", says, out)
		}
	}
	// One that cannot be used is named with the reason.
	chmod(a, path, 0o757)
	out, _, code = a.Run("plugins")
	if code != 1 || !regexpMatch(`rogue.*cannot be used: .*everybody may write`, out) {
		t.Errorf("code %d:\n%s", code, out)
	}
	out, _, code = a.Run("plugins", "--plugin-dir", a.Path("tmp"))
	if code != 0 || strings.Contains(out, "rogue") {
		t.Errorf("code %d:\n%s", code, out)
	}
}

// Every plugin's sample is a configuration that the check takes, once what must be
// filled in is.
func TestSampleConfigurations(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, "")
	a.installRogue("pollster")
	out, stderr, code := a.Run("config", "host", "publisher/file")
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	a.Configure(regexpReplace(`/var/lib/nepho`, out, a.Dir))
	if _, stderr, code := a.Run("check"); code != 0 {
		t.Errorf("check of a sample says:\n%s", stderr)
	}
	out, stderr, code = a.Run("config", "rogue")
	if code != 0 || !strings.Contains(out, "[[pollster.rogue]]") || !strings.Contains(out, "What to do wrong") {
		t.Errorf("code %d: %s%s", code, out, stderr)
	}
	out, _, code = a.Run("config", "amqp") // of two kinds
	if code != 0 || !strings.Contains(out, "[[publisher.amqp]]") || !strings.Contains(out, "[[notification.amqp]]") {
		t.Errorf("code %d: %s", code, out)
	}
}

func TestStatusCommand(t *testing.T) {
	t.Parallel()
	a := StartAgent(t, healthy)
	Eventually(t, "the status is good and shows that samples flow", func() error {
		out, stderr, code := a.Run("status")
		return want(code == 0 && regexpMatch(`(?m)^nepho \S+, process \d+, up `, out) && regexpMatch(`(?m)^healthy/file +[1-9]`, out) && regexpMatch(`(?m)^pollster/host +ready `, out),
			"code %d: %s%s", code, out, stderr)
	})
	out, _, code := a.Run("status", "--json", "--address", a.Listen)
	var s host.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 || s.PID != a.PID() {
		t.Errorf("code %d, %v: %s", code, err, out)
	}
	a.installRogue("pollster")
	a.Configure(healthy + "[[pollster.rogue]]\nmode = 'fail-start'\n[[pipeline]]\nname = 'r'\nsources = ['rogue']\npublishers = ['file']\n")
	a.Reload()
	Eventually(t, "the status is bad", func() error {
		out, _, code := a.Run("status")
		return want(code == 1 && strings.Contains(out, "instance rogue is backoff: this plugin cannot start"), "code %d: %s", code, out)
	})
	a.Stop()
}

// The page says the same as the status, and quotes what plugins
// say so that it is text and nothing else.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, healthy+"[[pollster.rogue]]\nname = 'bad'\ncommand = '${DIR}/plugins/<b>&amp;'\n[[pipeline]]\nname = 'r'\nsources = ['bad']\npublishers = ['file']\n")
	a.Start()
	awaitFlow(t, a, "healthy.json", 3)
	a.AwaitLog("no such file")
	code, page, err := a.Get("/")
	if err != nil || code != http.StatusOK {
		t.Fatalf("code %d, %v", code, err)
	}
	for _, says := range []string{"host.memory.total", "healthy", "pollster/host", "&lt;b&gt;&amp;amp;"} {
		if !strings.Contains(page, says) {
			t.Errorf("the page does not say %q:\n%s", says, page)
		}
	}
	if strings.Contains(page, "<b>") || strings.Contains(page, "ZgotmplZ") || strings.Contains(page, "<no value>") {
		t.Errorf("the page is:\n%s", page)
	}
	for path, expected := range map[string]int{
		"/healthz": 200, "/readyz": 503, "/status": 200, "/metrics": 200, "/nothing": 404, "/status/more": 404,
	} {
		if code, body, err := a.Get(path); err != nil || code != expected {
			t.Errorf("%s gives %d, %v: %s", path, code, err, body)
		}
	}
	if _, body, _ := a.Get("/readyz"); !regexpMatch("bad is (starting|backoff|failed)", body) {
		t.Errorf("/readyz says %s", body)
	}
	r, err := client().Post("http://"+a.Listen+"/", "text/plain", nil)
	if err != nil || r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST gives %v, %v", r, err)
	}
	a.Stop()
}

// /metrics is Prometheus' text with documented names, has what the status has, and
// its counters only grow.
func TestMetrics(t *testing.T) {
	t.Parallel()
	a := StartAgent(t, healthy)
	awaitFlow(t, a, "healthy.json", 3)
	before := a.Metrics()
	awaitFlow(t, a, "healthy.json", 10)
	after := a.Metrics()
	for name, f := range after {
		if !strings.HasPrefix(name, "nepho_") {
			continue
		}
		if f.GetHelp() == "" || strings.HasSuffix(name, "_total") != (f.GetType().String() == "COUNTER") {
			t.Errorf("%s is a %v with help %q", name, f.GetType(), f.GetHelp())
		}
		for i, m := range f.Metric {
			if c := m.GetCounter(); c != nil && i < len(before[name].GetMetric()) && c.GetValue() < before[name].Metric[i].GetCounter().GetValue() {
				t.Errorf("%s has shrunk", name)
			}
		}
	}
	Eventually(t, "what is in the file is counted", func() error { // when the publisher has answered
		n := a.Metric("nepho_sink_published_total", "pipeline", "healthy", "publisher", "file")
		return want(n >= 13, "%g are published", n)
	})
	if a.Metric("nepho_plugin_up") != 2 || a.Metric("nepho_instance_up") != 2 {
		t.Errorf("%g plugins and %g instances are up", a.Metric("nepho_plugin_up"), a.Metric("nepho_instance_up"))
	}
	a.Stop()
}

// Two agents on one data directory, or on one port, do not start.
func TestSecondAgent(t *testing.T) {
	t.Parallel()
	a := StartAgent(t, healthy)
	_, stderr, code := a.Run("run")
	if code != 1 || !strings.Contains(stderr, "in use by another agent") {
		t.Errorf("code %d: %s", code, stderr)
	}
	b := NewAgent(t, healthy)
	b.write("nepho.toml", strings.Replace(b.read("nepho.toml"), b.Listen, a.Listen, 1))
	_, stderr, code = b.Run("run")
	if code != 1 || !strings.Contains(stderr, "address already in use") {
		t.Errorf("code %d: %s", code, stderr)
	}
	a.Stop()
}

// An instance without which the agent is not to run keeps it from running; without
// a status page it runs as well.
func TestRequiredAndListen(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, healthy+"[[pollster.rogue]]\nrequired = true\nmode = 'fail-start'\n[[pipeline]]\nname = 'r'\nsources = ['rogue']\npublishers = ['file']\n")
	a.installRogue("pollster")
	a.Launch()
	if code := a.Wait(patience); code != 1 || !strings.Contains(a.Log(), "a required instance cannot start") {
		t.Errorf("code %d: %s", code, a.Log())
	}
	a.write("nepho.toml", strings.Replace(a.read("nepho.toml"), a.Listen, "", 1))
	a.Configure(healthy)
	a.Start()
	awaitFlow(t, a, "healthy.json", 3)
	a.Signal(syscall.SIGTERM)
	if code := a.Wait(patience); code != 0 {
		t.Errorf("code %d", code)
	}
	if _, stderr, code := a.Run("status"); code != 1 || !strings.Contains(stderr, "serves no status page") {
		t.Errorf("status: code %d: %s", code, stderr)
	}
}
