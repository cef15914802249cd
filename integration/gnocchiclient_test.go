package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// gnocchiClient is Debian's gnocchiclient, which keeps running so that not every
// command has to load Python.
type gnocchiClient struct {
	in  io.Writer
	out *bufio.Scanner
}

func startGnocchiClient(t *testing.T, url string) *gnocchiClient {
	t.Helper()
	// Debian's own Python: another one in PATH would not find its modules.
	cmd := exec.Command("/usr/bin/python3", "testdata/gnocchi_commands.py")
	cmd.Env = append(os.Environ(), "OS_AUTH_TYPE=gnocchi-basic", "GNOCCHI_USER=admin", "GNOCCHI_ENDPOINT="+url, "COLUMNS=400", "TZ=UTC")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: install python3-gnocchiclient", err)
	}
	t.Cleanup(func() {
		in.Close()
		kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer kill.Stop()
		cmd.Wait()
	})
	c := &gnocchiClient{in, bufio.NewScanner(out)}
	c.out.Buffer(nil, 16<<20)
	return c
}

// answer is what a command printed.
type answer struct {
	Status int
	Out    string
	Err    string
}

func (c *gnocchiClient) run(t *testing.T, arguments []string) answer {
	t.Helper()
	line, err := json.Marshal(arguments)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c.in, "%s\n", line); err != nil {
		t.Fatal(err)
	}
	if !c.out.Scan() {
		t.Fatalf("gnocchiclient ended on %s: %v", line, c.out.Err())
	}
	var a answer
	if err := json.Unmarshal(c.out.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v", c.out.Text(), err)
	}
	return a
}

var quoted = regexp.MustCompile(`"[^"]*"|\S+`)

// TestGnocchiClient runs every command of gnocchiclient. The commands and what
// they must give are in testdata/gnocchi_commands.txt; with GNOCCHI_ENDPOINT in
// the environment they are asked of that server, such as a real Gnocchi with no
// resources.
func TestGnocchiClient(t *testing.T) {
	t.Parallel()
	url, dir := os.Getenv("GNOCCHI_ENDPOINT"), t.TempDir()
	if url == "" {
		listen := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
		a := StartAgent(t, fmt.Sprintf("[[pollster.internal]]\ninterval = '1h'\nmeters = ['nepho.source.polls']\n[[storage.aggregator]]\npath = '${DIR}/aggregator'\nlisten = '%s'\nauth = 'basic'\n", listen))
		url, dir = "http://"+listen, a.Dir
	}
	c := startGnocchiClient(t, url)
	script, err := os.ReadFile("testdata/gnocchi_commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	saved := map[string]string{"DIR": dir}
	expand := func(s string) string {
		return os.Expand(s, func(name string) string {
			if v, ok := saved[name]; ok {
				return v
			}
			return "$" + name
		})
	}
	var command string
	var last answer
	failing := false // the last command must fail, and the script says so
	settle := func() {
		if command != "" && !failing && last.Status != 0 {
			t.Errorf("%s: exit status %d: %s", command, last.Status, last.Err)
		}
	}
	for number, line := range strings.Split(string(script), "\n") {
		mark, rest, _ := strings.Cut(line, " ")
		fail := func(format string, values ...any) {
			t.Errorf("line %d, %s: %s", number+1, command, fmt.Sprintf(format, values...))
		}
		switch rest = strings.TrimLeft(rest, " "); mark {
		case "$":
			settle()
			if command, failing = expand(rest), false; strings.HasSuffix(command, "batch-metrics "+dir+"/metrics.json") {
				writeMeasures(t, dir, saved)
			}
			var arguments []string
			for _, a := range quoted.FindAllString(command, -1) {
				arguments = append(arguments, strings.Trim(a, `"`))
			}
			last = c.run(t, arguments)
		case "~", "-":
			if regexp.MustCompile(expand(rest)).MatchString(compact(last.Out)) != (mark == "~") {
				fail("%q %s: %s%s", mark, rest, compact(last.Out), last.Err)
			}
		case "=":
			name, key, _ := strings.Cut(rest, " ")
			var values map[string]any
			if err := json.Unmarshal([]byte(last.Out), &values); err != nil || values[key] == nil {
				t.Fatalf("line %d, %s: no %s in %s%s", number+1, command, key, last.Out, last.Err)
			}
			saved[name] = fmt.Sprint(values[key])
		case "!":
			failing = true
			if last.Status == 0 || !regexp.MustCompile("(?s)"+rest).MatchString(last.Err) {
				fail("it must fail with %q; exit status %d: %s%s", rest, last.Status, last.Out, last.Err)
			}
		}
	}
	settle()
}

// compact leaves out white space that JSON does not need.
func compact(s string) string {
	return strings.Join(strings.Fields(s), "")
}

// writeMeasures writes the files that the script's batch commands read.
func writeMeasures(t *testing.T, dir string, saved map[string]string) {
	t.Helper()
	for name, content := range map[string]string{
		"metrics.json":   fmt.Sprintf(`{%q: [{"timestamp": "2026-01-01T12:05:00", "value": 5}, {"timestamp": "2026-01-01T12:05:10", "value": 6}]}`, saved["alone"]),
		"resources.json": fmt.Sprintf(`{%q: {"batched": {"archive_policy_name": "low", "measures": [{"timestamp": "2026-01-01T12:05:00", "value": 4}]}}}`, saved["web2"]),
		"unknown.json":   fmt.Sprintf(`{%q: {"absent": [{"timestamp": "2026-01-01T12:05:00", "value": 4}]}}`, saved["web2"]),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
