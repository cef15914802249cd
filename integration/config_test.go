package integration

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/agent/host"
)

// wrong has a mistake of every kind. A comment behind a line is what must be
// said of it.
const wrong = `[agent]
intervall = "10s" # unknown option (did you mean "interval"?)
interval = 5 # expected a duration such as "10s", got integer 5 (write "5s")
stop_timeout = "soon" # expected a duration such as "10s", got string "soon"
log_level = "loud" # is not one of debug, info, warn, error
plugin_memory_limit = "9 parsecs" # expected a size

[[polster.host]] # unknown kind of table (did you mean "pollster"?)

[[pollster.host]]
interval = "10s"
jitter = "20s" # must be shorter than the interval
meters = ["host.cpu.*", "host.memry.*"] # "host.memry.*" matches no meter of pollster.host (did you mean "host.memory.*"?)
colour = "red" # unknown option
spool = "disk" # pollster has no such option

[[pollster.host]] # another instance called "host" is at

[[pollster.hots]] # there is no pollster "hots": did you mean "host"?

[[publisher.host]] # there is no publisher "host", but a pollster
name = "mixed-up"

[pollster.internal] # write [[pollster.internal]]
name = "own"

[[pollster.rogue]]
name = "rogue"
mode = "bad-option" # this plugin dislikes its options

[[pollster.rogue]]
name = "rogue2"
per_poll = "one" # expected an integer

[[pollster.rogue]] # is refused because its SHA-256 is
name = "rogue3"
checksum = "sha256:12" # 64 hexadecimal digits

[[publisher.file]]
path = "${NO_SUCH_VARIABLE}/x" # environment variable NO_SUCH_VARIABLE is not set

[[publisher.file]] # required option is missing
name = "keys"
pth = "/tmp/x" # unknown option (did you mean "path"?)

[[publisher.file]]
name = "secret"
path = "file:/no/such/secret" # cannot read the value: open /no/such/secret: no such file or directory

[[transformer.rate_of_change]]
name = "rate"
meters = ["[a"] # has a [ without a ]

[[alarm.rogue]]
name = "echo"

[[pipeline]]
name = "p"
sources = ["hsot", "host", "host"] # no instance is called "hsot" (did you mean "host"?; or is it in the file that cannot be read?) # "host" is listed twice
transformers = ["rat"] # no instance is called "rat" (did you mean "rate"?; or is it in the file that cannot be read?)
publishers = ["file", "rate", "nowhere"] # "rate" is a transformer, not a publisher # no instance is called "nowhere"

[[pipeline]]
name = "p" # another pipeline called "p" is at
sources = [] # must not be empty
publishers = ["keys"]

[[pipeline]]
name = "disks"
sources = ["host"]
meters = ["host.dsik.*"] # matches no meter of host
publishers = ["secret"]

[[pipeline]]
name = "round"
sources = ["echo"]
publishers = ["echo"] # the events of alarm "echo" come back to it
`

// newWrong makes an agent on that configuration and on files that cannot be read.
func newWrong(t *testing.T) *Agent {
	t.Helper()
	a := NewAgent(t, wrong)
	a.installRogue("pollster", "alarm")
	a.write("conf.d/syntax.toml", "[[pollster.host\n")
	if err := os.Mkdir(a.Path("conf.d", "folder.toml"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", a.Path("conf.d", "link.toml")); err != nil {
		t.Fatal(err)
	}
	return a
}

// expectSaid fails for what must be said of a line and is not, and for a line of
// which too much is.
func expectSaid(t *testing.T, a *Agent, said string) {
	t.Helper()
	expected := map[string][]string{
		a.Path("conf.d/syntax.toml") + ":1:": {"not valid TOML"},
		a.Path("conf.d/folder.toml") + ":":   {"cannot read the file: is a directory"},
		a.Path("conf.d/link.toml") + ":":     {"cannot read the file: no such file"},
	}
	for i, line := range strings.Split(wrong, "\n") {
		_, comments, has := strings.Cut(line, " # ")
		if has {
			place := a.Path("conf.d/test.toml") + ":" + strconv.Itoa(i+1) + ":"
			expected[place] = strings.Split(comments, " # ")
		}
	}
	lines := strings.Split(said, "\n")
	for place, problems := range expected {
		for _, p := range problems {
			found := false
			for _, line := range lines {
				found = found || strings.Contains(line, place) && strings.Contains(line, p)
			}
			if !found {
				t.Errorf("not said: %s ... %s", place, p)
			}
		}
	}
	for _, line := range lines {
		if place, _, is := strings.Cut(line, ": "); is && strings.HasPrefix(place, a.Dir) {
			known := false
			for e := range expected {
				known = known || strings.HasPrefix(line, e)
			}
			if !known {
				t.Errorf("said of a right line: %s", line)
			}
		}
	}
	if t.Failed() {
		t.Logf("all that is said:\n%s", said)
	}
}

// lineOf gives the number of the wrong configuration's line that begins like this.
func lineOf(begin string) string {
	before, _, _ := strings.Cut(wrong, begin)
	return strconv.Itoa(strings.Count(before, "\n") + 1)
}

// All mistakes are told at once, each with file, line and what to do, and the
// agent does not start on them.
func TestEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	a := newWrong(t)
	_, said, code := a.Run("check")
	if code != 1 || !regexpMatch(`\d+ problems in 4 files\n$`, said) {
		t.Errorf("the exit code is %d", code)
	}
	expectSaid(t, a, said)

	stdout, said, code := a.Run("run")
	if code != 1 || stdout != "" {
		t.Errorf("run gives code %d and %q", code, stdout)
	}
	// What a plugin's executable has to do with it would not keep it from running.
	expectSaid(t, a, said+a.Path("conf.d/test.toml")+":"+lineOf("[[pollster.rogue]] # is refused")+":1: is refused because its SHA-256 is")
	if _, err := os.Stat(a.Path("data")); !os.IsNotExist(err) {
		t.Errorf("run made the data directory: %v", err)
	}
	_, said, code = a.Run("test")
	if code != 1 {
		t.Errorf("test gives code %d", code)
	}
	expectSaid(t, a, said)
}

// A reload with mistakes changes nothing: the same processes go on giving the same
// samples, and the log says why.
func TestReloadWithMistakes(t *testing.T) {
	t.Parallel()
	a := StartAgent(t, healthy)
	awaitFlow(t, a, "healthy.json", 2)
	before := pids(a, "pollster/host", "publisher/file")
	was := a.Status()

	a.installRogue("pollster", "alarm")
	a.Configure(wrong)
	said := a.Reload()
	if !strings.Contains(said, "the configuration was not changed") {
		t.Errorf("it says %s", said)
	}
	for i, line := range strings.Split(wrong, "\n") {
		if _, comment, has := strings.Cut(line, " # "); has && !strings.Contains(said, "conf.d/test.toml:"+strconv.Itoa(i+1)+":") {
			t.Errorf("line %d is not named: %s", i+1, comment)
		}
	}
	awaitFlow(t, a, "healthy.json", 5)
	var now *host.Status
	Eventually(t, "the counters have gone on", func() error {
		now = a.Status()
		return want(now.Sources[0].Samples > was.Sources[0].Samples && now.Sinks[0].Published > was.Sinks[0].Published,
			"%+v, %+v", was, now)
	})
	if after := pids(a, "pollster/host", "publisher/file"); after[0] != before[0] || after[1] != before[1] || len(now.Plugins) != 2 || now.Plugins[0].Restarts+now.Plugins[1].Restarts > 0 {
		t.Errorf("processes were %v and are %+v", before, now.Plugins)
	}

	// What is not even there changes nothing either.
	if err := os.Remove(a.Path("nepho.toml")); err != nil {
		t.Fatal(err)
	}
	if said := a.Reload(); !strings.Contains(said, "cannot read the file") || !strings.Contains(said, "was not changed") {
		t.Errorf("it says %s", said)
	}
	awaitFlow(t, a, "healthy.json", 3)
	a.Stop()
}

// Values of the environment and of files with secrets reach plugins, and no log,
// status, page or configuration that is shown has them.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, healthy+`
[[pollster.rogue]]
interval = "50ms"
secret = "file:${DIR}/secret"
env = { TOKEN = "${TOKEN}" }
mode = "fail"
[[pipeline]]
name = "r"
sources = ["rogue"]
publishers = ["file"]
`)
	a.write("secret", "s3cr3t-in-a-file\n")
	a.Env = []string{"TOKEN=s3cr3t-in-the-environment"}
	a.installRogue("pollster")
	a.Start()
	a.AwaitReady()
	awaitFlow(t, a, "healthy.json", 5)
	shown, said, code := a.Run("config", "--effective")
	if code != 0 {
		t.Fatalf("config gives code %d: %s", code, said)
	}
	for _, path := range []string{"/", "/status", "/metrics"} {
		_, body, err := a.Get(path)
		if err != nil {
			t.Fatal(err)
		}
		shown += body
	}
	for _, pid := range a.Processes() {
		line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		shown += string(line)
	}
	a.Stop()
	if shown += a.Log(); strings.Contains(shown, "s3cr3t") {
		t.Errorf("a secret is shown:\n%s", shown)
	}
}
