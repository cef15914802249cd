package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/agent/host"
)

// numbered is a configuration whose pollsters give numbered samples, with parts
// that tests change.
type numbered struct {
	interval    string // of the pollster "a"
	transformer string // options
	publisher   string // options of the publisher "sink", which is the rogue
	also        string // more tables
}

func (n numbered) String() string {
	if n.interval == "" {
		n.interval = "20ms"
	}
	return fmt.Sprintf(`
[agent]
timeout = "60s"
[[pollster.rogue]]
name = "a"
interval = "%s"
[[pollster.rogue]]
name = "b"
interval = "20ms"
[[transformer.rogue]]
name = "t"
%s
[[publisher.rogue]]
name = "sink"
retry_max = "200ms"
%s
[[publisher.file]]
name = "file"
path = "${DIR}/file.json"
[[pipeline]]
name = "plain"
sources = ["a", "b"]
publishers = ["file"]
[[pipeline]]
name = "changed"
sources = ["a", "b"]
transformers = ["t"]
publishers = ["sink"]
%s
`, n.interval, n.transformer, n.publisher, n.also)
}

const sinkPath = "path = '${DIR}/sink.json'"

func startNumbered(t *testing.T, n numbered) *Agent {
	t.Helper()
	a := NewAgent(t, n.String())
	a.installRogue("pollster", "transformer", "publisher")
	a.Start()
	a.AwaitReady()
	Eventually(t, "both sources have given something", func() error {
		samples := a.Samples("file.json")
		got := min(len(numbers(samples, "a")), len(numbers(samples, "b")))
		return want(got >= 3, "one has given %d", got)
	})
	return a
}

// expectEachOnce fails unless a file has the numbers of each pollster from 0 on,
// each once, and in order.
func expectEachOnce(t *testing.T, a *Agent, file string, pollsters ...string) {
	t.Helper()
	samples := a.Samples(file)
	for _, p := range pollsters {
		got := numbers(samples, p)
		if len(got) < 3 {
			t.Errorf("%s has only %v of %s", file, got, p)
		}
		for i, n := range got {
			if n != i {
				t.Errorf("%s has of %s at %d: %v", file, p, i, got[max(0, i-3):min(len(got), i+5)])
				break
			}
		}
	}
}

// reload applies a configuration and expects what the log says of it.
func (a *Agent) reload(config fmt.Stringer, expect ...string) {
	a.tb.Helper()
	a.Configure(config.String())
	said := a.Reload()
	for _, e := range expect {
		if !strings.Contains(said, e) {
			a.tb.Fatalf("the reload does not say %q but:\n%s", e, said)
		}
	}
	if strings.Contains(said, "level=ERROR") {
		a.tb.Fatalf("the reload has errors:\n%s", said)
	}
}

var rogues = []string{"pollster/rogue", "transformer/rogue", "publisher/rogue", "publisher/file"}

// Changing a pollster's interval restarts that pollster, in the same process, and
// nothing else; no number is lost or comes twice.
func TestReloadOfAPollster(t *testing.T) {
	t.Parallel()
	a := startNumbered(t, numbered{publisher: sinkPath})
	awaitFlow(t, a, "file.json", 20)
	before := pids(a, rogues...)
	was := a.Source("b")
	for i, interval := range []string{"50ms", "10ms", "30ms", "10ms"} {
		a.reload(numbered{publisher: sinkPath, interval: interval}, "changed=[a]", "pipelines_changed=[]")
		a.AwaitReady()
		awaitFlow(t, a, "sink.json", 10)
		if now := a.Source("b"); now.Polls <= was.Polls {
			t.Errorf("reload %d: the counters of b began again", i)
		}
		if now := a.Source("a"); fmt.Sprint(now.Interval) != interval {
			t.Errorf("the status says that the interval is %v", now.Interval)
		}
	}
	if after := pids(a, rogues...); !slices.Equal(before, after) {
		t.Errorf("processes were %v and are %v", before, after)
	}
	a.Stop()
	expectEachOnce(t, a, "file.json", "a", "b")
	expectEachOnce(t, a, "sink.json", "a", "b")
}

// A publisher that is changed finds in its spool what waited before.
func TestReloadOfAPublisher(t *testing.T) {
	t.Parallel()
	a := startNumbered(t, numbered{publisher: "mode = 'fail'"})
	var s host.SinkStatus
	Eventually(t, "samples wait", func() error {
		s = a.Sink("changed", "sink")
		return want(s.Waiting >= 20, "the sink has %+v", s)
	})
	if s.Published > 0 {
		t.Fatalf("the sink has %+v", s)
	}
	before := pids(a, rogues...)
	a.reload(numbered{publisher: sinkPath}, "changed=[sink]")
	Eventually(t, "what waited arrives", func() error {
		now := a.Sink("changed", "sink")
		return want(now.Recovered >= s.Waiting && now.Published >= s.Waiting, "recovered %d and published %d of %d", now.Recovered, now.Published, s.Waiting)
	})
	awaitFlow(t, a, "sink.json", 10)
	if after := pids(a, rogues...); !slices.Equal(before, after) {
		t.Errorf("processes were %v and are %v", before, after)
	}
	a.Stop()
	expectEachOnce(t, a, "file.json", "a", "b")
	expectEachOnce(t, a, "sink.json", "a", "b")
}

// A transformer that is changed loses nothing of what is on its way.
func TestReloadOfATransformer(t *testing.T) {
	t.Parallel()
	a := startNumbered(t, numbered{publisher: sinkPath})
	awaitFlow(t, a, "sink.json", 20)
	before := pids(a, rogues...)
	for i := range 5 {
		a.reload(numbered{publisher: sinkPath, transformer: fmt.Sprintf("on = %d", 1_000_000+i)}, "changed=[t]")
		awaitFlow(t, a, "sink.json", 10)
	}
	if after := pids(a, rogues...); !slices.Equal(before, after) {
		t.Errorf("processes were %v and are %v", before, after)
	}
	a.Stop()
	expectEachOnce(t, a, "file.json", "a", "b")
	expectEachOnce(t, a, "sink.json", "a", "b")
}

// Pipelines and instances come and go while the others go on, and what waits for
// one that is taken out is there when it comes again.
func TestReloadAddsAndRemoves(t *testing.T) {
	t.Parallel()
	const more = `
[[pollster.rogue]]
name = "c"
interval = "20ms"
env = { A = "process of its own" }
[[publisher.file]]
name = "more"
path = "${DIR}/more.json"
[[pipeline]]
name = "more"
sources = ["a", "c"]
publishers = ["more"]
`
	a := startNumbered(t, numbered{publisher: "mode = 'fail'"})
	awaitFlow(t, a, "file.json", 20)
	before := pids(a, rogues...)
	a.reload(numbered{publisher: "mode = 'fail'", also: more}, "added=\"[c more]\"", "pipelines_added=[more]")
	awaitFlow(t, a, "more.json", 20)
	if n := len(a.Status().Plugins); n != len(rogues)+1 {
		t.Errorf("there are %d plugins", n)
	}
	Eventually(t, "both sources are in the new pipeline", func() error {
		samples := a.Samples("more.json")
		n := min(len(numbers(samples, "a")), len(numbers(samples, "c")))
		return want(n >= 3, "one has given %d", n)
	})
	if got := numbers(a.Samples("more.json"), "a"); got[0] == 0 {
		t.Errorf("the source that went on gives the new pipeline %v", got)
	}
	waited := a.Sink("changed", "sink").Waiting

	// Take out what was added, and the pipeline whose publisher fails.
	whole := numbered{}.String()
	a.reload(text(whole[:strings.Index(whole, "[[transformer")]+`
[[publisher.file]]
name = "file"
path = "${DIR}/file.json"
[[pipeline]]
name = "plain"
sources = ["a", "b"]
publishers = ["file"]
`), "removed=", "pipelines_removed=")
	awaitFlow(t, a, "file.json", 10)
	s := a.Status()
	if len(s.Plugins) != 2 || len(s.Sinks) != 1 || len(s.Sources) != 2 || len(s.Pipelines) != 1 {
		t.Errorf("the status has %+v", s)
	}
	Eventually(t, "the processes are gone", func() error {
		n := len(a.Processes())
		return want(n == 3, "%d run", n)
	})

	// And back.
	a.reload(numbered{publisher: sinkPath}, "added=")
	Eventually(t, "what waited arrives", func() error {
		now := a.Sink("changed", "sink")
		return want(now.Recovered >= waited && now.Published >= waited, "recovered %d and published %d of %d", now.Recovered, now.Published, waited)
	})
	if after := pids(a, "pollster/rogue", "publisher/file"); after[0] != before[0] || after[1] != before[3] {
		t.Errorf("processes were %v and are %v", before, after)
	}
	a.Stop()
	expectEachOnce(t, a, "file.json", "a", "b")
	expectEachOnce(t, a, "more.json", "c")
	if got := numbers(a.Samples("sink.json"), "a"); !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) || got[0] != 0 {
		t.Errorf("sink.json has %v", got)
	}
}

type text string

func (s text) String() string { return string(s) }

// Many reloads in a row, some while another is at work, lose nothing.
func TestReloadsWithoutPause(t *testing.T) {
	t.Parallel()
	a := startNumbered(t, numbered{publisher: sinkPath})
	awaitFlow(t, a, "sink.json", 10)
	for i := range 15 {
		n := numbered{publisher: sinkPath, interval: fmt.Sprintf("%dms", 10+i)}
		if i%3 == 1 {
			n.transformer = fmt.Sprintf("on = %d", 1_000_000+i)
		}
		if i%5 == 2 {
			n.publisher += "\npause = '1ms'"
		}
		a.Configure(n.String())
		a.Signal(1) // SIGHUP
		time.Sleep(time.Duration(i) * 5 * time.Millisecond)
	}
	a.reload(numbered{publisher: sinkPath, interval: "77ms"})
	awaitFlow(t, a, "sink.json", 10)
	a.Stop()
	expectEachOnce(t, a, "file.json", "a", "b")
	expectEachOnce(t, a, "sink.json", "a", "b")
}

// A reload with nothing new does nothing; options that only count at the start say
// so; a change of a plugin's environment takes another process.
func TestReloadOfOtherThings(t *testing.T) {
	t.Parallel()
	a := startNumbered(t, numbered{publisher: sinkPath})
	awaitFlow(t, a, "sink.json", 5)
	before := pids(a, rogues...)
	a.reload(numbered{publisher: sinkPath}, "the same as before")
	a.reload(text("[agent]\nlog_format = 'json'\nplugin_memory_limit = '1GiB'\n"+strings.Replace(numbered{publisher: sinkPath}.String(), "[agent]", "", 1)),
		"takes effect with the next start\" option=log_format", "option=plugin_memory_limit")
	if after := pids(a, rogues...); !slices.Equal(before, after) {
		t.Errorf("processes were %v and are %v", before, after)
	}
	a.reload(numbered{publisher: sinkPath, transformer: "env = { NEW = 'x' }"}, "changed=[t]")
	awaitFlow(t, a, "sink.json", 5)
	after := pids(a, rogues...)
	if after[1] == before[1] || after[0] != before[0] || after[2] != before[2] {
		t.Errorf("processes were %v and are %v", before, after)
	}
	a.Stop()
	expectEachOnce(t, a, "sink.json", "a", "b")
}

// A stop and a start lose nothing either, and neither does a kill, but for what
// the last poll gave.
func TestRestartOfTheHost(t *testing.T) {
	t.Parallel()
	a := startNumbered(t, numbered{publisher: sinkPath})
	for range 3 {
		awaitFlow(t, a, "sink.json", 10)
		a.Stop()
		a.Start()
	}
	awaitFlow(t, a, "sink.json", 10)
	a.Stop()
	expectEachOnce(t, a, "file.json", "a", "b")
	expectEachOnce(t, a, "sink.json", "a", "b")
	if _, err := os.Stat(a.Path("data", "dead")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there are dead letters: %v", err)
	}
}
