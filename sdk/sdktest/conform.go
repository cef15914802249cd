package sdktest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/figure"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// Conform tests what every plugin must do, whatever it measures: that it says
// what it is, refuses options it does not know, starts and stops cleanly any
// number of times, ends its work when it is told to, outlives a SIGTERM and a
// SIGKILL, and does not outlive its host. The options are those of an instance
// that can start in the test.
func Conform(t *testing.T, o Options) {
	p := StartWith(t, o)
	d, err := p.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("describes itself", func(t *testing.T) { describes(t, d) })
	t.Run("refuses unknown options", func(t *testing.T) { refusesUnknown(t, p, d) })
	t.Run("starts once and stops", func(t *testing.T) { startsOnce(t, p) })
	t.Run("ends a call with its context", func(t *testing.T) { endsCalls(t, p, sdk.Kind(d.Kind)) })
	if len(d.Own) > 0 {
		t.Run("tells about itself", func(t *testing.T) { tellsOfItself(t, p, d) })
	}
	if d.Kind == string(sdk.KindTransformer) {
		t.Run("bears strange samples", func(t *testing.T) { bearsStrange(t, p) })
	}
	t.Run("outlives SIGTERM", func(t *testing.T) { outlivesSIGTERM(t, p) })
	t.Run("starts again after SIGKILL", func(t *testing.T) {
		p.Kill()
		p.Restart()
		if _, err := p.Describe(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("leaves nothing behind when stopped", func(t *testing.T) { leavesNothing(t, o) })
	t.Run("ends with its host", func(t *testing.T) { endsWithHost(t, p) })
}

var pluginName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func describes(t *testing.T, d *wire.Description) {
	if !slices.Contains(sdk.Kinds(), sdk.Kind(d.Kind)) {
		t.Errorf("kind %q is none of %v", d.Kind, sdk.Kinds())
	}
	if !pluginName.MatchString(d.Name) {
		t.Errorf("name %q: operators write it in TOML; use lower-case letters, digits and _", d.Name)
	}
	if d.Version == "" || d.Summary == "" || strings.Contains(d.Summary, "\n") {
		t.Errorf("version %q, summary %q: there must be a version, and a summary of one line", d.Version, d.Summary)
	}
	for _, o := range d.Options {
		if o.Doc == "" || o.Type == "" {
			t.Errorf("option %q has no doc tag", o.Name)
		}
	}
	for _, m := range d.Meters {
		if m.Name == "" || m.Doc == "" {
			t.Errorf("meter %q has no name or no doc", m.Name)
		}
	}
	table, problems := config.Parse("sample_config", []byte(d.SampleConfig))
	for _, p := range problems {
		t.Error(p)
	}
	if len(problems) == 0 {
		if kind := table.Get(d.Kind); kind == nil || kind.Kind != config.KindTable || kind.Table.Get(d.Name) == nil {
			t.Errorf("the sample configuration has no [[%s.%s]]:\n%s", d.Kind, d.Name, d.SampleConfig)
		}
	}
}

func refusesUnknown(t *testing.T, p *Plugin, d *wire.Description) {
	if problems, err := p.Check(t.Context(), p.o.Config); err != nil || len(problems) > 0 {
		t.Errorf("the test's own options: %v, error %v", problems, err)
	}
	near := ""
	for _, o := range d.Options {
		if len(o.Name) > len(near) {
			near = o.Name
		}
	}
	wrong := near + "_x"
	problems, err := p.Check(t.Context(), wrong+" = 1\n"+p.o.Config)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(problems, func(p config.Problem) bool { return strings.Contains(p.Error(), wrong) })
	if i < 0 {
		t.Fatalf("option %q is taken: %v", wrong, problems)
	}
	if p := problems[i]; p.Pos.Line != 1 || len(near) > 3 && !strings.Contains(p.Hint, near) {
		t.Errorf("the problem %q does not tell the line or does not suggest %q", p, near)
	}
}

func startsOnce(t *testing.T, p *Plugin) {
	ctx := t.Context()
	for range 3 {
		if err := p.Stop(ctx); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if err := p.Stop(ctx); err != nil {
			t.Errorf("stopping what is not started: %v", err)
		}
		if err := p.startInstance(); err != nil {
			t.Fatalf("starting again: %v", err)
		}
	}
	if err := p.startInstance(); status.Code(err) != codes.AlreadyExists {
		t.Errorf("starting twice is not refused: error %v", err)
	}
}

// endsCalls cancels a call at once and a little later, and expects the next one to
// be let in within a second. Attempts are counted, not time: each is answered by the
// plugin, so that one on a busy machine has its turn to end the call as well.
func endsCalls(t *testing.T, p *Plugin, kind sdk.Kind) {
	var call func(ctx context.Context) error
	switch kind {
	case sdk.KindPollster:
		call = func(ctx context.Context) error { _, err := p.Poll(ctx); return err }
	case sdk.KindNotification, sdk.KindAlarm:
		call = func(ctx context.Context) error {
			l, err := p.Listen(ctx, 1)
			for err == nil {
				_, err = l.Next()
			}
			return err
		}
	default:
		return // their calls are short
	}
	for _, after := range []time.Duration{0, 50 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		call(ctx)
		cancel()
		const attempts = 100 // with a pause of 10 ms each
		for n := 1; ; n++ {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			err := call(ctx)
			cancel()
			if status.Code(err) != codes.Aborted {
				break
			}
			if n == attempts {
				t.Fatalf("the call goes on after its context has ended: %v", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// tellsOfItself asks for figures. A host waits a second for them, a test on a busy machine
// longer.
func tellsOfItself(t *testing.T, p *Plugin, d *wire.Description) {
	if err := figure.Declare(d.Name, d.Own).Err(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*figure.Timeout)
		if _, err := p.Measure(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

func bearsStrange(t *testing.T, p *Plugin) {
	var strange []sdk.Sample
	for _, v := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64} {
		for _, typ := range []sdk.Type{sdk.Gauge, sdk.Delta, sdk.Cumulative} {
			for _, at := range []time.Time{{}, time.Unix(0, 1), time.Unix(1<<33, 0)} {
				strange = append(strange, sdk.Sample{
					Name: "strange.\u2028meter", Type: typ, Volume: v, ResourceID: "\x00", Timestamp: at,
					Metadata: sdk.Metadata{"": nil, "list": []any{1, "x"}, "vcpus": "many"},
				})
			}
		}
	}
	// It may refuse them; it must not end.
	if _, err := p.Transform(t.Context(), strange...); status.Code(err) == codes.Unavailable {
		t.Errorf("the process ended:\n%s", p.Stderr())
	}
	if _, err := p.Transform(t.Context(), sdk.Sample{Name: "m", ResourceID: "r"}); status.Code(err) == codes.Unavailable {
		t.Errorf("the process ended:\n%s", p.Stderr())
	}
	if _, err := p.TransformBatch(t.Context(), []byte("garbage")); err == nil {
		t.Error("garbage is taken for a batch")
	}
}

func outlivesSIGTERM(t *testing.T, p *Plugin) {
	if err := syscall.Kill(p.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if _, err := p.Describe(t.Context()); err != nil {
		t.Errorf("a service manager's SIGTERM, which all processes get, has ended it before its host could stop it: %v", err)
	}
}

// leavesNothing compares the goroutines and files of a process that started and
// stopped its instance a few times with those of one that did so more often.
func leavesNothing(t *testing.T, o Options) {
	after := func(cycles int) (goroutines, files int) {
		t.Helper()
		p := StartWith(t, o)
		for range cycles {
			if err := p.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := p.startInstance(); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // what ends by itself may
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
		if err != nil {
			t.Fatal(err)
		}
		// A Go program answers SIGQUIT with all its stacks.
		syscall.Kill(p.PID(), syscall.SIGQUIT)
		p.waitExit()
		return strings.Count(p.Stderr(), "\ngoroutine "), len(entries)
	}
	const few, many = 2, 14
	goroutines, files := after(few)
	g, f := after(many)
	if g-goroutines >= many-few || f-files >= many-few {
		t.Errorf("%d more starts and stops left %d goroutines and %d open files", many-few, g-goroutines, f-files)
	}
}

// endsWithHost starts the plugin from a shell in the host's place, which it kills.
func endsWithHost(t *testing.T, p *Plugin) {
	executable, err := p.executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command("sh", "-c", `"$0" & wait`, executable)
	host.Env = append(p.environment(), protocol.CookieKey+"="+protocol.Handshake.MagicCookieValue)
	host.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-host.Process.Pid, syscall.SIGKILL) })
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); err != nil {
		t.Fatalf("no handshake but %q: %v", line, err)
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Its end closes the pipe.
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, lines)
		close(ended)
	}()
	select {
	case <-ended:
		host.Wait()
	case <-time.After(time.Minute):
		t.Error("the process goes on without its host")
	}
}
