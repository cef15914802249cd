package exec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

// start makes an instance of the options in the test's own process.
func start(t testing.TB, toml string) *pollster {
	t.Helper()
	table, problems := config.Parse("test.toml", []byte(toml))
	p := &pollster{}
	if problems = append(problems, table.Decode(p)...); len(problems) > 0 {
		t.Fatal(config.Join(problems))
	}
	if err := p.Start(t.Context(), sdk.Env{Log: slog.New(slog.NewTextHandler(t.Output(), nil))}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(context.Background()) })
	return p
}

// poll polls with a timeout and gives each sample as text.
func poll(t testing.TB, p *pollster, timeout time.Duration) ([]string, error) {
	t.Helper()
	got, late, err := pollWithin(t, p, timeout)
	if late {
		t.Errorf("the poll took all of its %v", timeout)
	}
	return got, err
}

// pollWithin also tells whether a poll that failed was over too late.
func pollWithin(t testing.TB, p *pollster, timeout time.Duration) (got []string, late bool, pollErr error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	batches, err := sdk.Build("exec", func(out *sdk.Builder) error {
		pollErr = p.Poll(ctx, out)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	late = pollErr != nil && ctx.Err() != nil
	host, _ := os.Hostname()
	for _, b := range batches {
		for _, s := range b.Samples() {
			got = append(got, fmt.Sprintf("%s %v %q %v of %s", s.Name, s.Type, s.Unit, s.Volume, strings.ReplaceAll(s.ResourceID, host, "HOST")))
		}
	}
	return got, late, pollErr
}

// shell is an instance whose command is a script.
func shell(t testing.TB, script, more string) *pollster {
	t.Helper()
	return start(t, fmt.Sprintf("shell = true\nrun = '''%s'''\n%s", script, more))
}

func check(t *testing.T, got []string, err error, wantErr string, want ...string) {
	t.Helper()
	if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if wantErr == "" && err != nil || wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)) {
		t.Errorf("got error %v, want %q", err, wantErr)
	}
}

// running tells whether a process is there and not merely waiting to be reaped.
func running(pid string) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after a minute", what)
		}
	}
}

func readPID(t *testing.T, file string) string {
	t.Helper()
	var pid string
	eventually(t, "the process has told its number", func() bool {
		text, _ := os.ReadFile(file)
		pid = strings.TrimSpace(string(text))
		return strings.HasSuffix(string(text), "\n")
	})
	if _, err := strconv.Atoi(pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestThroughTheProtocol(t *testing.T) {
	p := sdktest.Start(t, `run = ["printf", 'cpu,host=n1,core=0 user=1.5,hot=true,count=7i,big=9u,name="x" 1767322800000000007\n']
strings = "metadata"`)
	samples, err := p.Poll(t.Context())
	if err != nil || len(samples) != 4 {
		t.Fatalf("got %v, error %v", samples, err)
	}
	s := samples[0]
	s.ID = ""
	if want := (sdk.Sample{Name: "cpu.user", Volume: 1.5, ResourceID: "n1", Timestamp: time.Unix(1767322800, 7).UTC(),
		Metadata: sdk.Metadata{"host": "n1", "core": "0", "name": "x"}}); !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
}

func TestOptions(t *testing.T) {
	p := sdktest.Start(t, `run = ["true"]`)
	f := func(toml, want string) {
		t.Helper()
		problems, err := p.Check(t.Context(), toml)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(problems); (want == "") != (len(problems) == 0) || !strings.Contains(got, want) {
			t.Errorf("%s: got %v, want %q", toml, got, want)
		}
	}
	f("run = 'x y'\nshell = true", "")
	f("run = ['x']\ntypes = { 'a.*' = 'delta' }\nunits = { a = 'B' }\nenvironment = { A = 'b' }", "")
	f("", "required")
	f("run = []", "empty")
	f("run = ['']", "no name")
	f("run = 'x y'", "shell = true")
	f("run = ['x']\nshell = true", "expected a string")
	f("run = ['x', 1]", "expected strings")
	f("run = 7", "expected a list")
	f("run = ['x']\nmode = 'twice'", "mode")
	f("run = ['x']\ntypes = { a = 'counter' }", "none of gauge, delta, cumulative")
	f("run = ['x']\ntypes = { 'a[' = 'delta' }", "pattern")
	f("run = ['x']\nunits = { '!a' = 'B' }", "pattern")
	f("run = ['x']\nformat = 'json'\nunits = { a = 'B' }", "influx")
	f("run = ['x']\nenvironment = { 'A=B' = 'c' }", "name of a variable")
}

// The sample's options, their comment signs removed, are the defaults.
func TestSampleShowsTheDefaults(t *testing.T) {
	var b strings.Builder
	for line := range strings.Lines(sample) {
		if text, ok := strings.CutPrefix(line, "# "); ok && strings.Contains(text, " = ") {
			line = text
		}
		b.WriteString(line)
	}
	table, problems := config.Parse("sample.toml", []byte(b.String()))
	if len(problems) > 0 {
		t.Fatal(config.Join(problems))
	}
	options := table.Get("pollster").Table.Get("exec").List[0].Table
	got, want := &pollster{}, &pollster{}
	minimal, _ := config.Parse("", []byte(`run = ["/usr/local/bin/temperatures", "--all"]`))
	if problems := append(options.Decode(got), minimal.Decode(want)...); len(problems) > 0 {
		t.Fatal(config.Join(problems))
	}
	got.command, want.command = nil, nil
	if a, b := fmt.Sprintf("%+v", *got), fmt.Sprintf("%+v", *want); a != b {
		t.Errorf("the sample says\n%s\nthe defaults are\n%s", a, b)
	}
	if n := len(config.Options(got)); options.Len() != n {
		t.Errorf("the sample has %d options of %d", options.Len(), n)
	}
}

func TestExitStatus(t *testing.T) {
	got, err := poll(t, shell(t, `echo "m v=1"; echo first >&2; echo "no such sensor" >&2; exit 3`, ""), time.Minute)
	check(t, got, err, "the command ended with exit status 3: no such sensor", `m.v gauge "" 1 of HOST`)
	got, err = poll(t, shell(t, `kill -9 $$`, ""), time.Minute)
	check(t, got, err, "signal: killed")
	got, err = poll(t, start(t, `run = ["/no/such/program"]`), time.Minute)
	check(t, got, err, "no such file")
}

// Megabytes just before the exit: the tail of them must not be lost.
func TestAllOfTheOutput(t *testing.T) {
	got, err := poll(t, shell(t, `seq -f 'm v=%.0f' 200000`, ""), time.Minute)
	if err != nil || len(got) != 200_000 || !strings.HasPrefix(got[len(got)-1], `m.v gauge "" 200000 `) {
		t.Errorf("got %d samples, error %v", len(got), err)
	}
	got, err = poll(t, shell(t, `printf 'm v=1\nm v=2'`, ""), time.Minute)
	check(t, got, err, "", `m.v gauge "" 1 of HOST`, `m.v gauge "" 2 of HOST`)
}

// Whoever reads a pipe late still gets all of it, unless it is held open.
func TestDrain(t *testing.T) {
	f := func(held bool, want error) {
		t.Helper()
		pipe, end, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer end.Close()
		if _, err := end.WriteString("tail"); err != nil {
			t.Fatal(err)
		}
		begin, read := make(chan struct{}), make(chan struct{})
		if held {
			close(begin)
		} else {
			end.Close()
			time.AfterFunc(50*time.Millisecond, func() { close(begin) })
		}
		var text []byte
		var readErr error
		go func() {
			defer close(read)
			<-begin
			text, readErr = io.ReadAll(pipe)
		}()
		drain(pipe, read, time.Millisecond)
		if !held && string(text) != "tail" || !errors.Is(readErr, want) {
			t.Errorf("held open %v: read %q, error %v", held, text, readErr)
		}
	}
	f(false, nil)
	f(true, os.ErrClosed)
}

func TestTooMuchOutput(t *testing.T) {
	got, err := poll(t, shell(t, `yes "m v=1"`, "max_output = '1KiB'"), time.Minute)
	if want := 1024 / len("m v=1\n"); len(got) != want || err == nil || !strings.Contains(err.Error(), "more than max_output = 1KiB") {
		t.Errorf("got %d samples, want %d, error %v", len(got), want, err)
	}
}

// A command that runs for too long is ended with all that it started; what it
// printed counts.
func TestTimeout(t *testing.T) {
	defer parts.NoGoroutinesLeft(t, goleak.IgnoreCurrent())
	f := func(script string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "pid")
		p := shell(t, fmt.Sprintf(script, file), "")
		// A busy machine needs longer until the script is where it has to be.
		for timeout := 2 * time.Second; ; timeout *= 4 {
			got, late, err := pollWithin(t, p, timeout)
			if _, missing := os.Stat(file); timeout < time.Minute && (late || len(got) == 0 || missing != nil) {
				continue
			}
			if late {
				t.Errorf("the poll took all of its %v", timeout)
			}
			check(t, got, err, "ran for longer than the poll's timeout", `m.v gauge "" 1 of HOST`)
			break
		}
		pid := readPID(t, file)
		eventually(t, "the grandchild is gone", func() bool { return !running(pid) })
	}
	f(`echo "m v=1"; sleep 1000 & echo $! >%s; wait`)
	f(`trap '' TERM; echo "m v=1"; sh -c 'trap "" TERM; while :; do sleep 1; done' & echo $! >%s; wait; sleep 1000`)
}

func TestCanceled(t *testing.T) {
	p := shell(t, `sleep 1000`, "")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := p.command.output(ctx); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("got error %v", err)
	}
}

// What a command leaves behind holds its output open: that delays the poll a
// little, and is killed if it is in the command's group.
func TestLeftBehind(t *testing.T) {
	defer parts.NoGoroutinesLeft(t, goleak.IgnoreCurrent())
	file := filepath.Join(t.TempDir(), "pid")
	got, err := poll(t, shell(t, fmt.Sprintf(`echo "m v=1"; sleep 1000 & echo $! >%s`, file), ""), time.Minute)
	check(t, got, err, "", `m.v gauge "" 1 of HOST`)
	pid := readPID(t, file)
	eventually(t, "the background process is gone", func() bool { return !running(pid) })

	got, err = poll(t, shell(t, `echo "m v=1"; setsid sleep 10 & sleep 0.3`, ""), time.Minute)
	check(t, got, err, "", `m.v gauge "" 1 of HOST`)
}

func TestEnvironment(t *testing.T) {
	p := sdktest.Start(t, `shell = true
run = 'echo "m leaks=$(env | grep -c -E "NEPHO|PLUGIN|CERT")i,path=${#PATH}i,given=${GIVEN}i,here=$(test "$PWD" = / && echo t || echo f)"'
environment = { GIVEN = "42" }
directory = "/"`)
	samples, err := p.Poll(t.Context())
	if err != nil || len(samples) != 4 {
		t.Fatalf("got %v, error %v", samples, err)
	}
	if samples[0].Volume != 0 || samples[1].Volume == 0 || samples[2].Volume != 42 || samples[3].Volume != 1 {
		t.Errorf("got %v", samples)
	}
}

// Killed together with the plugin's process, no command goes on by itself.
func TestPluginKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	p := sdktest.Start(t, fmt.Sprintf("mode = 'stream'\nshell = true\nrun = 'echo $$ >%s; exec sleep 1000'", file))
	pid := readPID(t, file)
	p.Kill()
	eventually(t, "the command is gone", func() bool { return !running(pid) })
}

func TestStandardErrorIsLogged(t *testing.T) {
	var log strings.Builder
	c := &complaints{log: slog.New(slog.NewTextHandler(&log, nil))}
	now := time.Now()
	for i := range 100 {
		c.tell(fmt.Sprintf("line %d", i), now)
	}
	c.tell("next", now.Add(complaintWhile))
	if n := strings.Count(log.String(), "\n"); n != complaintLines+2 || !strings.Contains(log.String(), "lines=80") || !strings.Contains(log.String(), "text=next") {
		t.Errorf("logged %d lines:\n%s", n, log.String())
	}
}
