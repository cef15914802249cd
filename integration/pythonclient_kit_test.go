package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// pythonClient is a command line client of Debian's, which keeps running so that not
// every command has to load Python.
type pythonClient struct {
	name string
	in   io.Writer
	out  *bufio.Scanner
}

// startPythonClient starts the client that testdata/SCRIPT.py runs.
func startPythonClient(t *testing.T, script string, env ...string) *pythonClient {
	t.Helper()
	// Debian's own Python: another one in PATH would not find its modules.
	cmd := exec.Command("/usr/bin/python3", "testdata/"+script+".py")
	cmd.Env = append(append(os.Environ(), "COLUMNS=400", "TZ=UTC", "LC_ALL=C.UTF-8"), env...)
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
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer kill.Stop()
		cmd.Wait()
	})
	c := &pythonClient{script, in, bufio.NewScanner(out)}
	c.out.Buffer(nil, 16<<20)
	return c
}

// answer is what a command printed.
type answer struct {
	Status int
	Out    string
	Err    string
}

func (c *pythonClient) run(t *testing.T, arguments []string) answer {
	t.Helper()
	line, err := json.Marshal(arguments)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c.in, "%s\n", line); err != nil {
		t.Fatal(err)
	}
	if !c.out.Scan() {
		t.Fatalf("%s ended on %s: %v", c.name, line, c.out.Err())
	}
	var a answer
	if err := json.Unmarshal(c.out.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v", c.out.Text(), err)
	}
	return a
}

var quoted = regexp.MustCompile(`"[^"]*"|\S+`)

// runScript runs the commands of testdata/SCRIPT.txt, which says in its head how they and
// what they must give are written. saved has what its names stand for. before is called
// with each command.
func (c *pythonClient) runScript(t *testing.T, saved map[string]string, before func(command string)) {
	t.Helper()
	script, err := os.ReadFile("testdata/" + c.name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
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
			command, failing = expand(rest), false
			before(command)
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
