package exec

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nephoscope/nepho/integration/parts"
)

// collect polls until n samples are there.
func collect(t *testing.T, p *pollster, n int) (got []string, errs string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d samples have come", n), func() bool {
		some, err := poll(t, p, time.Minute)
		got = append(got, some...)
		if err != nil {
			errs += err.Error() + "\n"
		}
		return len(got) >= n
	})
	return got, errs
}

func TestStream(t *testing.T) {
	defer parts.NoGoroutinesLeft(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	p := shell(t, fmt.Sprintf(`echo $$ >%[1]s/pid; echo "m v=1"; echo "bad"; while ! test -e %[1]s/go; do sleep 0.05; done; echo "m v=2"; sleep 1000`, dir), "mode = 'stream'")
	pid := readPID(t, filepath.Join(dir, "pid"))
	got, errs := collect(t, p, 1)
	if got[0] != `m.v gauge "" 1 of HOST` || len(got) != 1 {
		t.Errorf("got %v", got)
	}
	eventually(t, "the bad line is told", func() bool {
		_, err := poll(t, p, time.Minute)
		if err != nil {
			errs += err.Error()
		}
		return strings.Contains(errs, `1 of `) && strings.Contains(errs, `in "bad"`)
	})
	if err := writeFile(filepath.Join(dir, "go")); err != nil {
		t.Fatal(err)
	}
	if got, _ := collect(t, p, 1); got[0] != `m.v gauge "" 2 of HOST` {
		t.Errorf("got %v", got)
	}
	if !running(pid) {
		t.Error("the command does not run on")
	}
	p.Stop(t.Context())
	eventually(t, "the command is gone", func() bool { return !running(pid) })
}

// Nothing that a command printed before its end is lost, however often it ends.
func TestStreamRestarts(t *testing.T) {
	defer parts.NoGoroutinesLeft(t, goleak.IgnoreCurrent())
	p := shell(t, `seq -f 'm v=%.0f' 1000; printf 'm v=0'; echo broken >&2; exit 4`, "mode = 'stream'\nrestart_delay = '10ms'")
	got, errs := collect(t, p, 3*1001)
	for i, line := range got[:3*1001] {
		if want := fmt.Sprintf(`m.v gauge "" %d of HOST`, (i+1)%1001); line != want {
			t.Fatalf("sample %d is %s, want %s", i, line, want)
		}
	}
	eventually(t, "the exit status is told", func() bool {
		_, err := poll(t, p, time.Minute)
		errs += fmt.Sprint(err)
		return strings.Contains(errs, "the command ended with exit status 4: broken")
	})
	p.Stop(t.Context())
}

func TestStreamThatCannotStart(t *testing.T) {
	p := start(t, "run = ['/no/such/program']\nmode = 'stream'\nrestart_delay = '10ms'")
	var errs string
	eventually(t, "the error is told", func() bool {
		_, err := poll(t, p, time.Minute)
		errs += fmt.Sprint(err)
		return strings.Contains(errs, "no such file")
	})
}

func TestStreamDropsTheOldest(t *testing.T) {
	p := shell(t, `seq -f 'm v=%.0f' 1000; sleep 1000`, "mode = 'stream'\nmax_output = '1KiB'")
	eventually(t, "the last line was read", func() bool {
		p.stream.mu.Lock()
		defer p.stream.mu.Unlock()
		n := len(p.stream.lines)
		return n > 0 && string(p.stream.lines[n-1].text) == "m v=1000"
	})
	got, err := poll(t, p, time.Minute)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d lines were dropped", 1000-len(got))) {
		t.Errorf("got %d samples and error %v", len(got), err)
	}
	if len(got) == 0 || got[len(got)-1] != `m.v gauge "" 1000 of HOST` {
		t.Errorf("got %v", got)
	}
	if _, err := poll(t, p, time.Minute); err != nil {
		t.Errorf("told twice: %v", err)
	}
}

// A stream that shuts its output, a line without an end, and stopping while all
// that happens.
func TestStreamOddities(t *testing.T) {
	defer parts.NoGoroutinesLeft(t, goleak.IgnoreCurrent())
	p := shell(t, `head -c 3000000 /dev/zero | tr '\0' x; echo; echo "m v=1"; exec >&-; exec sleep 1000`, "mode = 'stream'")
	got, errs := collect(t, p, 1)
	if got[0] != `m.v gauge "" 1 of HOST` {
		t.Errorf("got %v", got)
	}
	if !strings.Contains(errs, "a line has more than 1048576 bytes") || len(errs) > 1000 {
		t.Errorf("got error %s", errs)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p.Stop(ctx)
	if ctx.Err() != nil {
		t.Error("stopping takes long")
	}
}
