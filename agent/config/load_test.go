package config

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

// files is a file system in memory; the main file is /nepho.toml.
type files map[string]string

func (f files) options() Options {
	return Options{
		File: "/nepho.toml",
		Env: func(name string) (string, bool) {
			v, set := map[string]string{"HOST": "db1", "TOKEN": "t0ken"}[name]
			return v, set
		},
		ReadFile: func(name string) ([]byte, error) {
			if text, has := f[name]; has {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("no such file or directory")}
		},
		Glob: func(pattern string) ([]string, error) {
			var found []string
			for name := range maps.Keys(f) {
				if ok, err := path.Match(pattern, name); err != nil {
					return nil, err
				} else if ok {
					found = append(found, name)
				}
			}
			return found, nil
		},
	}
}

func (f files) load(t *testing.T) *Config {
	t.Helper()
	c, problems := Load(f.options())
	if len(problems) > 0 {
		t.Fatal(sdkconfig.Join(problems))
	}
	return c
}

// expectProblems compares all problems with lines of text, without the line that
// counts them.
func expectProblems(t *testing.T, problems []Problem, want string) {
	t.Helper()
	var b strings.Builder
	if err := sdkconfig.Report(&b, problems); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(problems) > 0 {
		got = got[:len(got)-1]
	}
	wanted := strings.Split(strings.TrimSpace(want), "\n")
	for _, line := range got {
		if !slices.Contains(wanted, line) {
			t.Errorf("unexpected: %s", line)
		}
	}
	for _, line := range wanted {
		if line != "" && !slices.Contains(got, line) {
			t.Errorf("missing: %s", line)
		}
	}
	if !t.Failed() && want != "" && !slices.Equal(got, wanted) {
		t.Errorf("wrong order:\n%s", strings.Join(got, "\n"))
	}
}

const sample = `
[agent]
interval = "30s"
jitter   = "5s"
tags     = { site = "north" }

[[pollster.libvirt]]
uri      = "qemu:///system"
interval = "10s"
meters   = ["cpu", "memory.*", "!memory.swap.*"]
tags     = { role = "compute" }

[[pollster.host]]

[[transformer.rate_of_change]]
name   = "cpu_util"
meters = ["cpu"]
target = { name = "cpu_util", unit = "%" }

[[publisher.influxdb]]
url   = "http://${HOST}:8086"
token = "${TOKEN}"
spool = "memory"

[[storage.aggregator]]
path = "/var/lib/nepho/aggregator"

[[pipeline]]
name         = "cpu"
sources      = ["libvirt"]
meters       = ["cpu"]
transformers = ["cpu_util"]
publishers   = ["aggregator", "influxdb"]

[[pipeline]]
name       = "rest"
sources    = ["libvirt", "host"]
publishers = ["aggregator"]
`

func TestLoad(t *testing.T) {
	c := files{"/nepho.toml": sample}.load(t)
	if a := c.Agent; a.Interval != 30*time.Second || a.DataDir != "/var/lib/nepho" || a.Listen != "127.0.0.1:8790" ||
		a.SpoolLimit != 512<<20 || !a.MTLS || a.StopTimeout != 10*time.Second || a.Timeout != nil {
		t.Errorf("agent: %+v", a)
	}
	libvirt := c.Instance("libvirt")
	want := Instance{
		Kind: Pollster, Plugin: "libvirt", Pos: Pos{File: "/nepho.toml", Line: 7, Column: 1},
		Identity: Identity{"libvirt"}, Process: Process{LogLevel: "info", Restart: "always"},
		Deadline:  Deadline{10 * time.Second},
		Polling:   Polling{Interval: 10 * time.Second, Jitter: 5 * time.Second, Concurrency: 8, ResourceTimeout: 10 * time.Second},
		Selection: Selection{[]string{"cpu", "memory.*", "!memory.swap.*"}},
		Tagging:   Tagging{map[string]string{"site": "north", "role": "compute"}},
		Globs:     libvirt.Globs, Options: libvirt.Options, host: libvirt.host,
	}
	if !reflect.DeepEqual(*libvirt, want) {
		t.Errorf("libvirt: %+v", libvirt)
	}
	if keys := libvirt.Options.Keys(); !slices.Equal(keys, []string{"uri"}) || libvirt.Options.Path != "pollster.libvirt" {
		t.Errorf("options of the plugin: %s %v", libvirt.Options.Path, keys)
	}
	if !libvirt.Globs.Match("memory.usage") || libvirt.Globs.Match("memory.swap.in") {
		t.Error("globs")
	}
	host := c.Instance("host")
	if host.Interval != 30*time.Second || host.Timeout != 30*time.Second || host.Spool != "" || host.RetryMax != 0 {
		t.Errorf("host: %+v", host)
	}
	influx := c.Instance("influxdb")
	if influx.Spool != "memory" || influx.SpoolLimit != 512<<20 || influx.RetryMax != time.Minute || influx.Timeout != 30*time.Second ||
		influx.Interval != 0 || influx.Options.Get("url").Str != "http://db1:8086" {
		t.Errorf("influxdb: %+v", influx)
	}
	if p := c.Pipelines[0]; len(c.Pipelines) != 2 || c.Implicit || p.Name != "cpu" || !slices.Equal(p.Publishers, []string{"aggregator", "influxdb"}) ||
		p.MeterGlobs.Match("memory") || !p.EventGlobs.All() {
		t.Errorf("pipelines: %+v", p)
	}
}

func TestTimeoutOfAgent(t *testing.T) {
	c := files{"/nepho.toml": "[agent]\ntimeout = '3s'\njitter = '40s'\n[[pollster.a]]\n[[pollster.b]]\ninterval = '10s'\ntimeout = '4s'\n[[publisher.p]]"}.load(t)
	if a, b := c.Instance("a"), c.Instance("b"); a.Timeout != 3*time.Second || b.Timeout != 4*time.Second || b.Jitter != 5*time.Second {
		t.Errorf("a %s, b %s with jitter %s", a.Timeout, b.Timeout, b.Jitter)
	}
}

func TestImplicitPipelines(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		c := files{"/nepho.toml": text}.load(t)
		var got []string
		for _, p := range c.Pipelines {
			got = append(got, p.Name+": "+strings.Join(p.Sources, " ")+" -> "+strings.Join(p.Publishers, " "))
			if p.MeterGlobs.Match("x") == (p.Name == "default-events") || !p.EventGlobs.Match("y") {
				t.Errorf("%s selects", p.Name)
			}
		}
		if !c.Implicit || !slices.Equal(got, want) {
			t.Errorf("%q gives %q", text, got)
		}
	}
	f("")
	f("[[pollster.a]]\n[[notification.b]]\n[[publisher.c]]\n[[storage.d]]", "default: a b -> c d")
	f("[[pollster.a]]\n[[alarm.e]]\n[[storage.d]]", "default: a -> d", "default-events: a -> e", "default-alarms: e -> d")
	f("[[pollster.a]]\n[[alarm.e]]", "default-events: a -> e")
}

func TestIncludes(t *testing.T) {
	f := files{
		"/nepho.toml":         "[agent]\ninterval = '10s'\n[[publisher.file]]\npath = '-'",
		"/conf.d/20-b.toml":   "[[pollster.b]]",
		"/conf.d/10-a.toml":   "[[pollster.a]]\n[agent]\njitter = '1s'",
		"/conf.d/30-c.toml~":  "not toml",
		"/elsewhere/x.toml":   "[[pollster.x]]",
		"/conf.d/deep/d.toml": "[[pollster.d]]",
	}
	c := f.load(t)
	if want := []string{"/nepho.toml", "/conf.d/10-a.toml", "/conf.d/20-b.toml"}; !slices.Equal(c.Files, want) {
		t.Errorf("files: %v", c.Files)
	}
	if got := c.names(func(string) bool { return true }); !slices.Equal(got, []string{"file", "a", "b"}) || c.Agent.Jitter != time.Second {
		t.Errorf("instances: %v, agent %+v", got, c.Agent)
	}

	f["/nepho.toml"] = "[agent]\ninclude = ['elsewhere/*.toml', '/*.toml', '/elsewhere/x.toml']"
	f["/elsewhere/x.toml"] = "[[publisher.x]]"
	if c := f.load(t); !slices.Equal(c.Files, []string{"/nepho.toml", "/elsewhere/x.toml"}) {
		t.Errorf("files: %v", c.Files)
	}
	f["/nepho.toml"] = "[agent]\ninclude = []"
	if c := f.load(t); len(c.Files) != 1 {
		t.Errorf("files: %v", c.Files)
	}
}

func TestProblemsOfFiles(t *testing.T) {
	f := func(f files, want string) {
		t.Helper()
		_, problems := Load(f.options())
		expectProblems(t, problems, want)
	}
	f(files{}, "/nepho.toml: cannot read the file: no such file or directory")
	f(files{"/nepho.toml": "[agent]\ninclude = ['a.toml', '[', 5]"}, `
/nepho.toml:2:12: agent.include[0]: cannot read /a.toml
/nepho.toml:2:22: agent.include[1]: pattern "[": syntax error in pattern
/nepho.toml:2:27: agent.include[2]: expected a string, got integer 5`)
	// A name that the broken file may define is reported with that doubt.
	f(files{
		"/nepho.toml":    "[[pollster.a]]\n[[pipeline]]\nname = 'p'\nsources = ['a', 'b']\npublishers = ['c']\nx = 1",
		"/conf.d/b.toml": "[[pollster.b]]\nx =",
	}, `
/conf.d/b.toml:2:3: not valid TOML: expected value, not end of input
/nepho.toml:5:15: pipeline.publishers[0]: no instance is called "c" (or is it in the file that cannot be read?)
/nepho.toml:6:1: pipeline.x: unknown option (known options: events, meters, name, publishers, sources, transformers)`)
	f(files{
		"/nepho.toml":    "[agent]\ninterval = '10s'\n[[publisher.x]]",
		"/conf.d/a.toml": "[agent]\ninterval = '20s'\ninclude = ['x']\n[[publisher.x]]\nname = 'x'",
	}, `
/conf.d/a.toml:2:1: agent.interval: is already set at /nepho.toml:2:1
/conf.d/a.toml:3:1: agent.include: only the main file may include others
/conf.d/a.toml:5:1: publisher.x: another instance called "x" is at /nepho.toml:3:1 (give one of them another name)`)
}

// The real file system, for what the tests above replace.
func TestLoadFromDisk(t *testing.T) {
	dir := t.TempDir()
	main := filepath.Join(dir, "nepho.toml")
	write(t, main, "[[publisher.file]]\npath = 'file:"+dir+"/secret'")
	write(t, filepath.Join(dir, "secret"), "out\n")
	write(t, filepath.Join(dir, "conf.d", "a.toml"), "[[pollster.host]]")
	t.Setenv("NEPHO_TEST", "x")
	c, problems := Load(Options{File: main})
	if len(problems) > 0 || len(c.Instances) != 2 {
		t.Fatalf("%d instances, problems %v", len(c.Instances), problems)
	}
	if v := c.Instance("file").Options.Get("path"); v.Str != "out" || !v.Secret {
		t.Errorf("path: %+v", v)
	}
}
