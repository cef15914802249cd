package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// catalog knows a few plugins, whose options are all the same.
type catalog struct{}

type pluginOptions struct {
	URI      string `toml:"uri"`
	URL      string `toml:"url"`
	Path     string `toml:"path"`
	Pin      string `toml:"pin" secret:"true"`
	Token    string `toml:"token"`
	Storage  string `toml:"storage"`
	Retained int    `toml:"retained" min:"1"`
	Target   any    `toml:"target"`
}

func (catalog) Describe(i *Instance) (*Plugin, error) {
	p := &Plugin{Kind: i.Kind, Name: i.Plugin, Version: "1.0.0", Options: sdkconfig.Options(pluginOptions{})}
	known := []string{"libvirt", "host", "exec", "amqp", "rate_of_change", "influxdb", "file", "aggregator", "evaluator"}
	switch i.Plugin {
	case "libvirt":
		p.Meters = []string{"cpu", "vcpus", "memory.usage", "memory.swap.in", "disk.device.allocation", "disk.device.usage"}
	case "host":
		p.Meters = []string{"host.cpu", "host.load.1min"}
	case Internal:
		p.Meters = []string{"nepho.sink.waiting"}
	case "evaluator":
		p.Own = []string{"nepho.evaluator.deliveries.pending"}
	case "away":
		p.Unknown = true
	case "writable":
		return nil, errors.New("/usr/lib/nepho/plugins/nepho-pollster-writable is writable by others, run chmod go-w on it")
	case "misnamed":
		p.Kind = Publisher
	default:
		if !strings.Contains(" "+strings.Join(known, " ")+" ", " "+i.Plugin+" ") {
			return nil, fmt.Errorf("no plugin %s/%s is installed, did you mean %q?", i.Kind, i.Plugin, sdkconfig.Suggest(i.Plugin, known))
		}
	}
	return p, nil
}

func (catalog) Check(i *Instance) []Problem {
	return i.Options.Decode(new(pluginOptions))
}

// A file with every mistake at once: all are reported.
func TestEveryMistakeAtOnce(t *testing.T) {
	f := files{
		"/nepho.toml": `[agent]
intervall = "10s"
interval = 10
jitter = "2m"
listen = "8790"
log_level = "warning"
spool_limit = "12 parsecs"

[[polster.host]]

[[pollster.libvirt]]
uri = 5
urii = "x"
meters = ["cpu", "memry.*", "dsik.device.usage", "!memory.swap.on"]
concurrency = 0
timeout = "${TIMEOUT}"

[[pollster.libvirt]]
pin = "file:/none"

[pollster.host]

[[pollster.writable]]

[[pollster.misnamed]]

[[notification.ampq]]
interval = "10s"
command = "/x"
checksum = "sha256:12"

[[publisher.influxdb]]
interval = "10s"
spool = "ram"
retry_min = "2s"
retry_max = "1s"
env = { "A=B" = "x" }

[[publisher.file]]
name = "a/b"

[[storage.aggregator]]

[[alarm.evaluator]]
storage = "aggregator"

[[transformer.rate_of_change]]
name = "unused"
meters = ["cpu", "[a"]
`,
		"/conf.d/pipelines.toml": `
free = 1

[[pipeline]]
name = "one"
sources = ["libvrt", "influxdb", "libvirt", "libvirt"]
transformers = ["cpu_util", "aggregator"]
publishers = ["agregator", "host", "nothing_alike"]

[[pipeline]]
name = "one"
sources = ["evaluator"]
publishers = ["evaluator"]
events = ["*", ""]

[[pipeline]]
name = "host"
sources = ["host", "libvirt"]
meters = ["host.lod.*", "host.cpu", "vcpus", "!disk.device.allocation"]
publishers = ["influxdb"]

[[pipeline]]
sources = []
`,
	}
	c, problems := Load(f.options())
	problems = append(problems, c.Check(catalog{})...)
	expectProblems(t, problems, `
/conf.d/pipelines.toml:2:1: free: unknown option (the host's options stand under [agent])
/conf.d/pipelines.toml:6:12: pipeline.sources[0]: no instance is called "libvrt" (did you mean "libvirt"?)
/conf.d/pipelines.toml:6:22: pipeline.sources[1]: "influxdb" is a publisher, not a source
/conf.d/pipelines.toml:6:45: pipeline.sources[3]: "libvirt" is listed twice
/conf.d/pipelines.toml:7:17: pipeline.transformers[0]: no instance is called "cpu_util" (there are: unused)
/conf.d/pipelines.toml:7:29: pipeline.transformers[1]: "aggregator" is a storage, not a transformer
/conf.d/pipelines.toml:8:15: pipeline.publishers[0]: no instance is called "agregator" (did you mean "aggregator"?)
/conf.d/pipelines.toml:8:28: pipeline.publishers[1]: "host" is a pollster, not a publisher
/conf.d/pipelines.toml:8:36: pipeline.publishers[2]: no instance is called "nothing_alike" (there are: influxdb, a/b, aggregator, evaluator)
/conf.d/pipelines.toml:11:1: pipeline.name: another pipeline called "one" is at /conf.d/pipelines.toml:4:1 (give one of them another name)
/conf.d/pipelines.toml:13:15: pipeline.publishers: the events of alarm "evaluator" come back to it: evaluator -> pipeline "one" -> evaluator
/conf.d/pipelines.toml:14:16: pipeline.events[1]: pattern "": is empty
/conf.d/pipelines.toml:19:11: pipeline.meters[0]: "host.lod.*" matches no meter of host, libvirt (did you mean "host.load.*"?)
/conf.d/pipelines.toml:19:37: pipeline.meters[2]: "vcpus" matches no meter that the sources are configured to give (see the meters of host, libvirt)
/conf.d/pipelines.toml:22:1: pipeline.name: required option is missing
/conf.d/pipelines.toml:22:1: pipeline.publishers: required option is missing
/conf.d/pipelines.toml:23:1: pipeline.sources: must not be empty
/nepho.toml:2:1: agent.intervall: unknown option (did you mean "interval"?)
/nepho.toml:3:1: agent.interval: expected a duration such as "10s", got integer 10 (write "10s")
/nepho.toml:5:1: agent.listen: "8790" is not an address to listen on (write it as "127.0.0.1:8790", or "" for none)
/nepho.toml:6:1: agent.log_level: "warning" is not one of debug, info, warn, error
/nepho.toml:7:1: agent.spool_limit: expected a size such as "64MiB", got string "12 parsecs"
/nepho.toml:9:1: polster: unknown kind of table (did you mean "pollster"?)
/nepho.toml:12:1: pollster.libvirt.uri: expected a string, got integer 5
/nepho.toml:13:1: pollster.libvirt.urii: unknown option (did you mean "uri"?)
/nepho.toml:14:18: pollster.libvirt.meters[1]: "memry.*" matches no meter of pollster.libvirt (did you mean "memory.*"?)
/nepho.toml:14:29: pollster.libvirt.meters[2]: "dsik.device.usage" matches no meter of pollster.libvirt (did you mean "disk.device.usage"?)
/nepho.toml:14:50: pollster.libvirt.meters[3]: "!memory.swap.on" matches no meter of pollster.libvirt (did you mean "!memory.swap.in"?)
/nepho.toml:15:1: pollster.libvirt.concurrency: 0 is out of range, allowed are 1 to 1024
/nepho.toml:16:1: pollster.libvirt.timeout: environment variable TIMEOUT is not set (${TIMEOUT:-text} gives a default)
/nepho.toml:18:1: pollster.libvirt: another instance called "libvirt" is at /nepho.toml:11:1 (give it a name = "...")
/nepho.toml:19:1: pollster.libvirt.pin: cannot read the value: open /none: no such file or directory
/nepho.toml:21:1: pollster.host: a plugin may have several instances, so its table is one of a list (write [[pollster.host]])
/nepho.toml:23:1: pollster.writable: /usr/lib/nepho/plugins/nepho-pollster-writable is writable by others, run chmod go-w on it
/nepho.toml:25:1: pollster.misnamed: misnamed is a publisher, not a pollster
/nepho.toml:27:1: notification.ampq: no plugin notification/ampq is installed, did you mean "amqp"?
/nepho.toml:28:1: notification.ampq.interval: a notification has no such option, only pollsters have it
/nepho.toml:30:1: notification.ampq.checksum: expected "sha256:" and 64 hexadecimal digits
/nepho.toml:33:1: publisher.influxdb.interval: a publisher has no such option, only pollsters have it
/nepho.toml:34:1: publisher.influxdb.spool: "ram" is not one of disk, memory
/nepho.toml:36:1: publisher.influxdb.retry_max: must not be shorter than retry_min, which is 2s
/nepho.toml:37:1: publisher.influxdb.env: "A=B" cannot be the name of an environment variable
/nepho.toml:40:1: publisher.file.name: "a/b" may only have letters, digits and, but not first, any of . _ -
/nepho.toml:49:18: transformer.rate_of_change.meters[1]: pattern "[a": has a [ without a ]
`)
}

func TestProblemsOfShape(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, problems := Load(files{"/nepho.toml": text}.options())
		expectProblems(t, problems, want)
	}
	f("agent = 1\npollster = 5\npipeline = 'x'\npublisher.file = 1\nstorage.a = [1]\nnotification = []\ninterval = '1s'", `
/nepho.toml:1:1: agent: expected one table, got an integer (write [agent])
/nepho.toml:2:1: pollster: the name of the plugin is missing (write [[pollster.<plugin>]])
/nepho.toml:3:1: pipeline: expected a list of tables, got a string (write [[pipeline]])
/nepho.toml:4:1: publisher.file: expected a list of tables, got an integer (write [[publisher.file]])
/nepho.toml:5:14: storage.a: expected a table, got an integer (write [[storage.a]])
/nepho.toml:6:1: notification: the name of the plugin is missing (write [[notification.<plugin>]])
/nepho.toml:7:1: interval: unknown option (the host's options stand under [agent])`)
	f("[[agent]]\n[pipeline]\nname = 'x'\nsources = ['a']\npublishers = ['b']\n[[pollster.a]]\n[[publisher.b]]\n[[alarm.\"x y\"]]", `
/nepho.toml:1:1: agent: expected one table, got a list (write [agent])
/nepho.toml:2:1: pipeline: there may be several pipelines, so their table is one of a list (write [[pipeline]])
/nepho.toml:8:1: alarm.x y: name of the plugin: "x y" may only have letters, digits and, but not first, any of . _ -`)
	f("[[pollster.a]]\njitter = '60s'\n[[pollster.b]]\nname = ''\n[[publisher.p]]\ntags = { a = 'b' }\nmeters = ['x']\ncommand = 5", `
/nepho.toml:2:1: pollster.a.jitter: must be shorter than the interval, which is 1m
/nepho.toml:4:1: pollster.b.name: must have 1 to 64 characters
/nepho.toml:6:1: publisher.p.tags: a publisher has no such option, only pollsters, notifications and alarms have it
/nepho.toml:7:1: publisher.p.meters: a publisher has no such option, only pollsters, notifications and transformers have it
/nepho.toml:8:1: publisher.p.command: expected a string, got integer 5`)
	f("[agent]\njitter = '60s'\nlisten = 'host:http'", `
/nepho.toml:2:1: agent.jitter: must be shorter than the interval, which is 1m
/nepho.toml:3:1: agent.listen: "host:http" has no port between 0 and 65535 (write it as "127.0.0.1:8790", or "" for none)`)
}

func TestUnused(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, problems := Load(files{"/nepho.toml": text}.options())
		expectProblems(t, problems, want)
	}
	const pipeline = "\n[[pipeline]]\nname = 'p'\nsources = ['a']\npublishers = ['b']"
	f("[[pollster.a]]\n[[publisher.b]]\n[[notification.c]]\n[[storage.d]]\n[[alarm.e]]\n[[transformer.f]]"+pipeline, `
/nepho.toml:3:1: notification.c: "c" is not used by any pipeline (add it to the sources of a [[pipeline]])
/nepho.toml:4:1: storage.d: "d" is not used by any pipeline (add it to the publishers of a [[pipeline]])
/nepho.toml:6:1: transformer.f: "f" is not used by any pipeline (add it to the transformers of a [[pipeline]])`)
	f("[[pollster.a]]\n[[transformer.f]]", `
/nepho.toml:1:1: pollster.a: "a" is not used by any pipeline (there is no publisher, storage or alarm)
/nepho.toml:2:1: transformer.f: "f" is not used by any pipeline (add it to the transformers of a [[pipeline]])`)
	// What a pipeline that could not be read names is not known.
	f("[[pollster.a]]\n[[publisher.b]]"+strings.Replace(pipeline, "['a']", "'a'", 1), `
/nepho.toml:5:1: pipeline.sources: expected a list, got string "a" (write ["a"])`)
	// The name of a plugin for that of its instance.
	f("[[pollster.a]]\nname = 'other'\n[[publisher.b]]"+pipeline, `
/nepho.toml:1:1: pollster.a: "other" is not used by any pipeline (add it to the sources of a [[pipeline]])
/nepho.toml:6:12: pipeline.sources[0]: no instance is called "a" (the instance of pollster.a is called "other")`)
}

func TestCycles(t *testing.T) {
	alarms := "[[alarm.x]]\nname = 'a'\n[[alarm.x]]\nname = 'b'\n[[alarm.x]]\nname = 'c'\n[[publisher.out]]\n"
	pipeline := func(name, from, to string) string {
		return fmt.Sprintf("[[pipeline]]\nname = '%s'\nsources = ['%s']\npublishers = ['out', '%s']\n", name, from, to)
	}
	f := func(text, want string) {
		t.Helper()
		_, problems := Load(files{"/nepho.toml": alarms + text}.options())
		expectProblems(t, problems, want)
	}
	f(pipeline("p", "a", "b")+pipeline("q", "b", "c"), "")
	f(pipeline("p", "a", "b")+pipeline("q", "b", "c")+pipeline("r", "c", "a"), `
/nepho.toml:19:22: pipeline.publishers: the events of alarm "a" come back to it: a -> pipeline "p" -> b -> pipeline "q" -> c -> pipeline "r" -> a`)
	f(pipeline("p", "a", "a"), `
/nepho.toml:11:22: pipeline.publishers: the events of alarm "a" come back to it: a -> pipeline "p" -> a`)
}

func TestMetersAreCheckedOnlyIfKnown(t *testing.T) {
	text := `
[[pollster.libvirt]]
[[pollster.exec]]
meters = ["anything"]
[[publisher.file]]
[[pipeline]]
name = "p"
sources = ["libvirt", "exec"]
meters = ["whatever.*"]
publishers = ["file"]
`
	c := files{"/nepho.toml": text}.load(t)
	expectProblems(t, c.Check(catalog{}), "")
	c = files{"/nepho.toml": strings.Replace(text, `["whatever.*"]`, `["!nothing"]`, 1)}.load(t)
	expectProblems(t, c.Check(catalog{}), "")
	c = files{"/nepho.toml": strings.Replace(strings.Replace(text, `"libvirt", "exec"`, `"libvirt"`, 1), "[[pollster.exec]]\nmeters = [\"anything\"]", "", 1)}.load(t)
	expectProblems(t, c.Check(catalog{}), `
/nepho.toml:8:11: pipeline.meters[0]: "whatever.*" matches no meter of libvirt`)
}

// The internal pollster gives what the plugins of the configuration tell about themselves.
func TestInternalGivesFiguresOfOthers(t *testing.T) {
	f := func(want, others string) {
		t.Helper()
		c := files{"/nepho.toml": "[[pollster.internal]]\nmeters = ['nepho.sink.*', 'nepho.evaluator.*']\n[[publisher.file]]\n" + others}.load(t)
		expectProblems(t, c.Check(catalog{}), want)
	}
	f(`
/nepho.toml:2:27: pollster.internal.meters[1]: "nepho.evaluator.*" matches no meter of pollster.internal`, "")
	f("", "[[alarm.evaluator]]\n")
	f("", "[[publisher.away]]\n") // which may be anything
	f(`
/nepho.toml:8:43: pipeline.meters[1]: "nepho.evaluator.alarms" matches no meter of internal`,
		"[[alarm.evaluator]]\n[[pipeline]]\nname = 'p'\nsources = ['internal']\nmeters = ['nepho.evaluator.deliveries.*', 'nepho.evaluator.alarms']\npublishers = ['file']\n")
}
