package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
)

// block is a fenced part of a manual.
type block struct{ language, text string }

// blocks gives those of a manual's chapter, the headings below it included.
func blocks(t *testing.T, manual, chapter string) []block {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", manual))
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(content), chapter+"\n")
	if !found {
		t.Fatalf("%s has no chapter %q", manual, chapter)
	}
	level := chapter[:strings.Index(chapter, " ")+1]
	if end := regexp.MustCompile("(?m)^" + level).FindStringIndex(text); end != nil {
		text = text[:end[0]]
	}
	var list []block
	for _, m := range regexp.MustCompile("(?ms)^```(\\w*)\\n(.*?)^```").FindAllStringSubmatch(text, -1) {
		list = append(list, block{m[1], m[2]})
	}
	if len(list) == 0 {
		t.Fatalf("%s, %s: nothing to run", manual, chapter)
	}
	return list
}

// commands gives a block's lines without comments.
func (b block) commands() []string {
	var list []string
	for line := range strings.Lines(b.text) {
		line, _, _ = strings.Cut(line, " #")
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// shell runs a line as a person in the agent's folder would.
func shell(t *testing.T, a *Agent, dir, line string) string {
	t.Helper()
	cmd := a.command()
	sh := exec.Command("/bin/sh", "-c", line)
	sh.Dir, sh.Env = dir, append(cmd.Env, "PATH="+a.Path("bin")+":"+os.Getenv("PATH"))
	out, err := sh.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// onPath puts nepho where a shell finds it.
func onPath(t *testing.T, a *Agent) {
	t.Helper()
	err := os.Mkdir(a.Path("bin"), 0o750)
	if err == nil {
		err = os.Symlink(a.bin, a.Path("bin", "nepho"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The introduction is followed to the letter. Its agent gets a port of its own.
func TestFiveMinutes(t *testing.T) {
	a := NewAgent(t, "")
	onPath(t, a)
	a.Env = []string{"NEPHO_CONFIG=my.toml"}
	for _, b := range blocks(t, "README.md", "## Five minutes") {
		if b.language == "toml" {
			a.write("my.toml", strings.Replace(b.text, "[agent]\n", "[agent]\nlisten = '"+a.Listen+"'\n", 1))
			continue
		}
		for _, line := range b.commands() {
			switch {
			case line == "make build" || strings.HasPrefix(line, "export "): // done
			case line == "nepho run --config my.toml":
				a.Start()
				a.AwaitReady()
			default:
				out := shell(t, a, a.Dir, line)
				if !strings.Contains(line, ">") && out == "" {
					t.Errorf("%s: prints nothing", line)
				}
				if strings.HasPrefix(line, "nepho test") && !strings.Contains(out, "host.cpu.util") {
					t.Errorf("%s: there is no rate:\n%s", line, out)
				}
			}
		}
	}
	Eventually(t, "the terminal shows rates", func() error {
		if !regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d  host\.cpu\.util +\d`).MatchString(a.Stdout()) {
			return errors.New("it does not")
		}
		return nil
	})
	// "A wrong file changes nothing and says why."
	right, err := os.ReadFile(a.Path("my.toml"))
	if err != nil {
		t.Fatal(err)
	}
	a.write("my.toml", strings.Replace(string(right), "host.load.", "host.lod.", 1))
	if log := a.Reload(); !strings.Contains(log, "did you mean") || !strings.Contains(log, "was not changed") {
		t.Errorf("a wrong file is taken: %s", log)
	}
	// "Only what changed restarts."
	before := a.Plugin("pollster/host").PID
	a.write("my.toml", strings.Replace(string(right), `unit = "%"`, `unit = "percent"`, 1))
	if log := a.Reload(); !strings.Contains(log, "was changed") {
		t.Errorf("a right file is not taken: %s", log)
	}
	if now := a.Plugin("pollster/host").PID; now != before {
		t.Errorf("the pollster has process %d instead of %d", now, before)
	}
	a.Stop()
}

// The plugin in the introduction is built as its author would, outside of this
// tree, is started by hand, and then measures.
func TestPluginOfREADME(t *testing.T) {
	a := build(t, "README.md", "## A plugin in 30 lines", func(author *Agent, line, out string) {
		if strings.HasPrefix(line, "./") && !strings.Contains(out, "hello.length  5 ") {
			t.Errorf("%s: there is no sample:\n%s", line, out)
		}
	})
	measures(t, a, "hello", func(s sdk.Sample) bool {
		return s.Name == "hello.length" && s.Volume == float64(len("good morning")) && s.Metadata["greeting"] == "good morning"
	})
}

// So is the one in the guide for authors.
func TestPluginOfGuide(t *testing.T) {
	a := build(t, "docs/PLUGINS.md", "## A pollster in 30 lines", func(*Agent, string, string) {})
	spool := a.Path("mail")
	if err := os.Mkdir(spool, 0o750); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two", "three"} {
		a.write("mail/"+name, "")
	}
	text, err := os.ReadFile(a.Path("conf.d/test.toml"))
	if err != nil {
		t.Fatal(err)
	}
	a.Configure(strings.Replace(string(text), "/var/spool/mail", spool, 1))
	measures(t, a, "mail", func(s sdk.Sample) bool {
		return s.Name == "mail.files" && s.Volume == 3 && s.ResourceID == spool
	})
}

// build follows a chapter: it writes down the program and runs the commands, which
// told gets the output of. The agent has the plugin, and the chapter's
// configuration with a publisher to data.json.
func build(t *testing.T, manual, chapter string, told func(a *Agent, line, out string)) *Agent {
	t.Helper()
	a := NewAgent(t, "")
	onPath(t, a)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	a.Env = []string{"NEPHO=" + root, "GOWORK=off"}
	dir := a.Path("author")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks(t, manual, chapter) {
		switch b.language {
		case "go":
			if n := strings.Count(b.text, "\n"); n > 30 {
				t.Errorf("the program has %d lines", n)
			}
			a.write("author/main.go", b.text)
		case "toml":
			a.Configure(b.text + "\n[[publisher.file]]\npath = '${DIR}/data.json'\n")
		default:
			for _, line := range b.commands() {
				if strings.HasPrefix(line, "sudo ") {
					continue // done below
				}
				// The module is this tree's, not one that was released.
				if !strings.Contains(b.text, "-replace") {
					line = strings.Replace(line, "go mod tidy", "go mod edit -replace github.com/nephoscope/nepho/sdk=$NEPHO/sdk && go mod tidy", 1)
				}
				told(a, line, shell(t, a, dir, line))
			}
		}
	}
	built, err := filepath.Glob(filepath.Join(dir, "nepho-*"))
	if err != nil || len(built) != 1 {
		t.Fatalf("built is %v, %v", built, err)
	}
	if err := os.Rename(built[0], a.Path("plugins", filepath.Base(built[0]))); err != nil {
		t.Fatal(err)
	}
	return a
}

// measures tries the pollster in every way.
func measures(t *testing.T, a *Agent, name string, right func(sdk.Sample) bool) {
	t.Helper()
	for _, command := range [][]string{{"check"}, {"config", name}, {"test", name}} {
		if out, log, code := a.Run(command...); code != 0 || !strings.Contains(out, name) && command[0] != "check" {
			t.Errorf("nepho %v: code %d\n%s%s", command, code, out, log)
		}
	}
	if out, _, code := a.Run("plugins"); code != 0 || !regexp.MustCompile(`(?m)^pollster +`+name+` .*sha256:`).MatchString(out) {
		t.Errorf("nepho plugins: code %d\n%s", code, out)
	}
	a.Start()
	Eventually(t, "the plugin's sample is published", func() error {
		if s := a.Samples("data.json"); len(s) == 0 || !right(s[0]) {
			return fmt.Errorf("there is %v", s)
		}
		return nil
	})
	a.Stop()
}

// What `make run` starts shows this machine and, where libvirt runs, its guests.
func TestQuickstart(t *testing.T) {
	text, err := os.ReadFile("../conf/quickstart.toml")
	if err != nil {
		t.Fatal(err)
	}
	for name, socket := range map[string]string{"alone": "/nonexistent/libvirt-sock", "with guests": parts.LibvirtTest(t, 2).Socket} {
		t.Run(name, func(t *testing.T) {
			a := NewAgent(t, "")
			guests := name != "alone"
			file := strings.NewReplacer(
				"127.0.0.1:8790", a.Listen, `interval = "5s"`, "interval = '500ms'\ntimeout = '60s'",
				"optional = true", "optional = true\nuri = 'test:///default'\nsocket = '"+socket+"'\n",
			).Replace(string(text))
			a.write("quickstart.toml", file)
			a.Env = []string{"NEPHO_CONFIG=quickstart.toml"}
			a.Start()
			a.AwaitReady()
			Eventually(t, "the terminal shows samples", func() error {
				for _, meter := range []string{"host.cpu.util", "host.memory.used", "host.load.1min"} {
					if !regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d  ` + regexp.QuoteMeta(meter) + ` +\d`).MatchString(a.Stdout()) {
						return fmt.Errorf("%s is not there:\n%s", meter, a.Stdout())
					}
				}
				if guests && !strings.Contains(a.Stdout(), "  cpu_util ") {
					return errors.New("the guests are not there")
				}
				if a.Metric("nepho_source_polls_total", "source", "internal") == 0 || len(a.Samples("var/samples.json")) == 0 {
					return errors.New("not everything is in the file")
				}
				return nil
			})
			if log := a.Log(); strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
				t.Errorf("it is not silent:\n%s", log)
			}
			a.Stop()
		})
	}
}

// What the operator's manual says on dead letters works.
func TestDeadLettersAreFedAgain(t *testing.T) {
	a := StartAgent(t, `
[[pollster.generator]]
interval = "24h"
samples  = 60
[[publisher.discard]]
name = "influxdb"
fail = "refuse"
[[pipeline]]
name       = "rates"
sources    = ["generator"]
publishers = ["influxdb"]
`)
	Eventually(t, "the samples are refused", func() error {
		if n := a.Sink("rates", "influxdb").Refused; n != 60 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	a.Signal(syscall.SIGTERM)
	a.Wait(patience)
	refused := map[string]sdk.Sample{}
	letters, err := os.ReadFile(a.Path("data/dead/rates/influxdb.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(letters)) {
		var l struct {
			Reason string
			Sample sdk.Sample
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Reason == "" {
			t.Fatalf("%v: %s", err, line)
		}
		refused[l.Sample.ID] = l.Sample
	}

	local := strings.NewReplacer("/var/lib/nepho", a.Path("data"), "/tmp/again", a.Path("again"), "127.0.0.1:8799", a.Listen)
	for _, b := range blocks(t, "docs/OPERATING.md", "### Dead letters") {
		text := local.Replace(b.text)
		if b.language == "sh" {
			shell(t, a, a.Dir, strings.TrimSpace(text))
			continue
		}
		sink := regexp.MustCompile(`(?s)\[\[publisher.*`)
		if !sink.MatchString(text) {
			t.Fatalf("there is no publisher in %s", text)
		}
		// Beside nepho.toml it would include conf.d as well.
		if err := os.Mkdir(a.Path("feeder"), 0o750); err != nil {
			t.Fatal(err)
		}
		a.write("feeder/again.toml", sink.ReplaceAllLiteralString(text, "[[publisher.file]]\npath = '${DIR}/published.json'\n"))
	}
	a.Env = []string{"NEPHO_CONFIG=feeder/again.toml"}
	a.Start()
	Eventually(t, "they are published", func() error {
		if n := len(a.Samples("published.json")); n != len(refused) {
			return fmt.Errorf("%d of %d are", n, len(refused))
		}
		return nil
	})
	for _, s := range a.Samples("published.json") {
		was, ok := refused[s.ID]
		if !ok || !was.Timestamp.Equal(s.Timestamp) || was.Volume != s.Volume || was.ResourceID != s.ResourceID || was.Name != s.Name {
			t.Errorf("published is %+v, refused was %+v", s, was)
		}
	}
	a.Stop()
}
