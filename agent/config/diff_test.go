package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	old := files{"/nepho.toml": sample}.load(t)
	f := func(want Changes, edit ...string) {
		t.Helper()
		c := files{"/nepho.toml": strings.NewReplacer(edit...).Replace(sample)}.load(t)
		if got := c.Diff(old); !reflect.DeepEqual(got, want) || got.None() != reflect.DeepEqual(want, Changes{}) {
			t.Errorf("%q: %+v", edit, got)
		}
	}
	f(Changes{})
	f(Changes{}, "\n[[pollster.host]]", "# a comment\n\n[[pollster.host]]", `["cpu", "memory.*"`, "[\n  'cpu', \"memory.*\"")
	f(Changes{Changed: []string{"libvirt"}}, "qemu:///system", "test:///default")
	f(Changes{Changed: []string{"libvirt"}}, `interval = "10s"`, `interval = "11s"`)
	f(Changes{Changed: []string{"libvirt"}}, `"compute"`, `"control"`)
	f(Changes{Changed: []string{"influxdb"}}, `"${TOKEN}"`, `"other"`)
	f(Changes{Changed: []string{"influxdb"}}, `spool = "memory"`, ``)
	f(Changes{Agent: true, Changed: []string{"host"}}, `interval = "30s"`, `interval = "31s"`)
	f(Changes{Agent: true}, "[agent]", "[agent]\nlisten = ''")
	f(Changes{Agent: true, Changed: []string{"host", "libvirt"}}, `"north"`, `"south"`)
	f(Changes{ChangedPipelines: []string{"cpu"}}, `["aggregator", "influxdb"]`, `["influxdb", "aggregator"]`)
	f(Changes{Added: []string{"other"}, Removed: []string{"host"}, ChangedPipelines: []string{"rest"}},
		"[[pollster.host]]", "[[pollster.other]]", `"host"]`, `"other"]`)
	f(Changes{Changed: []string{"cpu_util"}}, "transformer.rate_of_change", "transformer.delta")
	f(Changes{AddedPipelines: []string{"new"}, RemovedPipelines: []string{"rest"}}, `"rest"`, `"new"`)
}

func TestProcessKey(t *testing.T) {
	c := files{"/nepho.toml": `
[[pollster.x]]
name = "a"
[[pollster.x]]
name = "b"
interval = "5s"
[[pollster.x]]
name = "c"
isolate = true
[[pollster.x]]
name = "d"
env = { A = "1", B = "2" }
[[pollster.x]]
name = "e"
env = { B = "2", A = "1" }
[[pollster.x]]
name = "f"
env = { A = "1", B = "3" }
[[pollster.x]]
name = "g"
command = "/x"
[[publisher.x]]
name = "h"
[[pollster.x]]
name = "i"
restart = "never"
[[pollster.x]]
name = "j"
restart = "never"
[[pollster.x]]
name = "k"
restart = "always"
[[pollster.x]]
name = "l"
restart = "never"
env = { A = "1", B = "2" }
`}.load(t)
	equal := func(a, b string, want bool) {
		t.Helper()
		if got := c.Instance(a).ProcessKey() == c.Instance(b).ProcessKey(); got != want {
			t.Errorf("%s and %s share a process: %v", a, b, got)
		}
	}
	equal("a", "b", true)
	equal("d", "e", true)
	equal("i", "j", true)
	equal("a", "k", true)
	for _, pair := range []string{"ac", "ad", "df", "ag", "ah", "cd", "ai", "dl", "il"} {
		equal(pair[:1], pair[1:], false)
	}
}

func TestRedacted(t *testing.T) {
	f := files{"/nepho.toml": `
[agent]
listen = ""
[[pollster.exec]]
pin = "1234"
path = "file:/secret"
env = { KEY = "${TOKEN}" }
[[publisher.influxdb]]
url = "http://u:p@${HOST}"
token = "${TOKEN}"
target = { password = "x", n = 1 }
`, "/secret": "from a file"}
	c := f.load(t)
	expectProblems(t, c.Check(catalog{}), "")
	want := `[agent]
interval = "1m"
jitter = "0s"
data_dir = "/var/lib/nepho"
plugin_dir = "/usr/lib/nepho/plugins"
listen = ""
log_level = "info"
log_format = "text"
spool = "disk"
spool_limit = "512MiB"
queue_limit = "16MiB"
stop_timeout = "10s"
plugin_memory_limit = "512MiB"
mtls = true
include = ["conf.d/*.toml"]

[[pollster.exec]]
name = "exec"
env = "***"
log_level = "info"
isolate = false
restart = "always"
required = false
timeout = "1m"
interval = "1m"
jitter = "0s"
concurrency = 8
resource_timeout = "10s"
pin = "***"
path = "***"

[[publisher.influxdb]]
name = "influxdb"
log_level = "info"
isolate = false
restart = "always"
required = false
timeout = "30s"
spool = "disk"
spool_limit = "512MiB"
queue_limit = "16MiB"
retry_min = "100ms"
retry_max = "1m"
url = "http://u:***@db1"
token = "***"

[publisher.influxdb.target]
password = "***"
n = 1

[[pipeline]]
name = "default"
sources = ["exec"]
meters = ["*"]
events = ["*"]
publishers = ["influxdb"]
`
	if got := c.Redacted(); got != want {
		t.Errorf("got:\n%s", got)
	}
	if strings.Contains(c.Redacted(), "t0ken") {
		t.Error("a secret is printed")
	}
}
