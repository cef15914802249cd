package integration

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/integration/parts"
)

// installRogue puts the plugin that misbehaves into the agent's plugin folder, in
// the given kinds, and gives the paths of the executables.
func (a *Agent) installRogue(kinds ...string) []string {
	a.tb.Helper()
	binary, err := os.ReadFile(os.Getenv("NEPHO_ROGUE"))
	if err != nil {
		a.tb.Fatalf("cannot read the plugin: %v", err)
	}
	var paths []string
	for _, kind := range kinds {
		path := a.Path("plugins", "nepho-"+kind+"-rogue")
		if err := os.WriteFile(path, binary, 0o755); err != nil {
			a.tb.Fatalf("cannot install the plugin: %v", err)
		}
		paths = append(paths, path)
	}
	return paths
}

// misbehaviour is something that a plugin does wrong, and how that must show.
type misbehaviour struct {
	name    string
	kind    string // pollster if not set
	env     string // ROGUE
	options string // of the instance, lines of TOML
	agent   string // lines of [agent]
	log     string // what the log must say, a pattern
	shows   func(s *host.Status) error
	metric  []string // a metric that must be above 0, and its labels
}

// plugin checks the status of the rogue's process.
func plugin(check func(p host.PluginStatus) error) func(*host.Status) error {
	return func(s *host.Status) error {
		i := slices.IndexFunc(s.Plugins, func(p host.PluginStatus) bool { return p.Name == "rogue" })
		if i < 0 {
			return errors.New("the status has no plugin rogue")
		}
		return check(s.Plugins[i])
	}
}

// source checks the status of the rogue as a source.
func source(check func(s host.SourceStatus) error) func(*host.Status) error {
	return func(s *host.Status) error {
		i := slices.IndexFunc(s.Sources, func(p host.SourceStatus) bool { return p.Plugin == "rogue" })
		if i < 0 {
			return errors.New("the status has no source rogue")
		}
		return check(s.Sources[i])
	}
}

// sink checks the status of the rogue as a publisher.
func sink(check func(s host.SinkStatus) error) func(*host.Status) error {
	return func(s *host.Status) error {
		i := slices.IndexFunc(s.Sinks, func(p host.SinkStatus) bool { return p.Pipeline == "rogue" })
		if i < 0 {
			return errors.New("the status has no pipeline rogue")
		}
		return check(s.Sinks[i])
	}
}

func want(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// down wants a process that cannot be started, for a reason.
func down(why string) func(*host.Status) error {
	return plugin(func(p host.PluginStatus) error {
		return want(p.State != supervisor.Ready && regexp.MustCompile(why).MatchString(p.Error), "it is %s: %q", p.State, p.Error)
	})
}

// restarted wants a process that was ended or ended, for a reason, and was
// started again.
func restarted(why string) func(*host.Status) error {
	return plugin(func(p host.PluginStatus) error {
		return want(p.Restarts > 0 && regexp.MustCompile(why).MatchString(p.Error), "%d restarts, error %q", p.Restarts, p.Error)
	})
}

var (
	hasRestart = []string{"nepho_plugin_restarts_total", "process", "pollster/rogue"}
)

func misbehaviours() []misbehaviour {
	return []misbehaviour{
		// At the start of the process.
		{name: "dies at start", env: "die-at-start", log: "this plugin dies at its start", shows: down("exit status 3")},
		{name: "panics at start", env: "panic-at-start", log: `level=ERROR.*this plugin panics at its start`, shows: down("exit status 2")},
		{name: "crash loop", env: "die-at-start", log: "state=failed", shows: plugin(func(p host.PluginStatus) error {
			return want(p.State == supervisor.Failed, "it is %s", p.State)
		}), metric: []string{"nepho_plugin_failed"}},
		{name: "no handshake", env: "no-handshake", log: "gives no answer within", shows: down("timeout|handshake")},
		{name: "is another program", env: "bad-handshake", shows: down("is it a Nepho plugin"), log: "prints to the standard output"},
		{name: "old protocol", env: "old-protocol", shows: down("version"), log: "version"},
		{name: "unknown protocol", env: "new-protocol", shows: down("version"), log: "version"},
		{name: "unknown core protocol", env: "other-core", shows: down("version"), log: "version"},
		{name: "other transport", env: "netrpc", shows: down("netrpc"), log: "netrpc"},
		{name: "prints before the handshake", env: "noise-before", shows: down("is it a Nepho plugin"), log: "libnoise"},
		// In its life.
		{name: "prints after the handshake", env: "noise-after", log: "rogue", shows: source(func(s host.SourceStatus) error {
			return want(s.Samples > 3, "%d samples", s.Samples)
		})},
		{name: "never answers a poll", options: "mode = 'hang'\ntimeout = '500ms'", log: "hangs", shows: restarted("hangs"), metric: hasRestart},
		{name: "is slow but does as it is told", options: "mode = 'slow'\ntimeout = '1s'", log: "deadline exceeded", shows: func(s *host.Status) error {
			if err := source(func(s host.SourceStatus) error { return want(s.Failures > 3, "%d failures", s.Failures) })(s); err != nil {
				return err
			}
			return plugin(func(p host.PluginStatus) error { return want(p.Restarts == 0 && p.State == supervisor.Ready, "%+v", p) })(s)
		}},
		{name: "dies in a poll", options: "mode = 'die-mid-poll'\nper_poll = 3000", log: "exit status 3", shows: restarted("exit status 3"), metric: hasRestart},
		{name: "panics in a poll", options: "mode = 'panic'", log: "level=ERROR.*panic", shows: source(func(s host.SourceStatus) error {
			return want(strings.Contains(s.Error, "this plugin panics in a call") && s.Failures > 2, "error %q", s.Error)
		}), metric: []string{"nepho_source_failures_total", "source", "rogue"}},
		{name: "panics beside a poll", options: "mode = 'panic-aside'", log: "level=ERROR.*this plugin panics in a goroutine", shows: restarted("exit status 2"), metric: hasRestart},
		{name: "leaks memory", options: "mode = 'leak'", agent: "plugin_memory_limit = '150MiB'", log: "MiB of memory", shows: restarted("MiB of memory"), metric: hasRestart},
		{name: "floods the log", options: "mode = 'spew'", log: "the plugin logs too much", shows: source(func(s host.SourceStatus) error {
			return want(s.Samples > 3, "%d samples", s.Samples)
		})},
		{name: "fails each poll", options: "mode = 'fail'", log: "this poll fails", shows: source(func(s host.SourceStatus) error {
			return want(s.Failures > 2 && s.Error == "this poll fails", "%d failures, error %q", s.Failures, s.Error)
		})},
		{name: "hangs in Start", options: "mode = 'hang-start'", log: "instance cannot start", shows: func(s *host.Status) error {
			i := slices.IndexFunc(s.Instances, func(i host.InstanceStatus) bool { return i.Name == "rogue" })
			return want(s.Instances[i].State != supervisor.Ready && s.Instances[i].Error != "", "%+v", s.Instances[i])
		}, metric: nil},
		{name: "fails to start", options: "mode = 'fail-start'", log: "this plugin cannot start", shows: func(s *host.Status) error {
			i := slices.IndexFunc(s.Instances, func(i host.InstanceStatus) bool { return i.Name == "rogue" })
			return want(s.Instances[i].State == supervisor.Backoff && s.Instances[i].Error == "this plugin cannot start", "%+v", s.Instances[i])
		}},
		{name: "dies in Start", options: "mode = 'die-in-start'", log: "exit status 3", shows: restarted("exit status 3")},
		{name: "hangs in Stop", options: "mode = 'hang-stop'", shows: source(func(s host.SourceStatus) error {
			return want(s.Polls > 2, "%d polls", s.Polls)
		})},
		{name: "hangs when options are checked", options: "mode = 'hang-check'", log: "gives no answer within", shows: func(s *host.Status) error { return nil }},
		{name: "leaves a process behind", env: "grandchild", shows: source(func(s host.SourceStatus) error {
			return want(s.Polls > 2, "%d polls", s.Polls)
		})},
		{name: "leaves a process behind and dies", env: "grandchild", options: "mode = 'die'\nafter = 2", log: "exit status 3", shows: restarted("exit status 3")},
		// Around the SDK.
		{name: "gives a batch of 100 MB", env: "raw:huge", log: "too large", shows: source(func(s host.SourceStatus) error {
			return want(s.Failures > 1 && strings.Contains(s.Error, "too large"), "error %q", s.Error)
		}), metric: []string{"nepho_source_failures_total", "source", "rogue"}},
		{name: "gives a batch beyond the limit", env: "raw:large", log: "no batch that may be taken", shows: source(func(s host.SourceStatus) error {
			return want(s.Garbage > 1 && s.Samples == 0, "%d garbage", s.Garbage)
		}), metric: []string{"nepho_source_garbage_total", "source", "rogue"}},
		{name: "gives garbage", env: "raw:garbage", log: "no batch", shows: source(func(s host.SourceStatus) error {
			return want(s.Garbage > 1 && s.Samples == 0, "%d garbage", s.Garbage)
		}), metric: []string{"nepho_source_garbage_total", "source", "rogue"}},
		{name: "gives no summary", env: "raw:no-summary", log: "without a summary", shows: source(func(s host.SourceStatus) error {
			return want(s.Failures > 1, "%d failures", s.Failures)
		})},
		{name: "gives batches without end", env: "raw:flood", options: "timeout = '500ms'", log: "took more than", shows: source(func(s host.SourceStatus) error {
			return want(s.Timeouts > 1, "%d timeouts", s.Timeouts)
		}), metric: []string{"nepho_source_timeouts_total", "source", "rogue"}},
		{name: "gives a reason of 20 MB", env: "raw:long-error", log: "poll failed", shows: source(func(s host.SourceStatus) error {
			return want(s.Failures > 1 && len(s.Error) < 10_000, "%d failures, reason of %d bytes", s.Failures, len(s.Error))
		})},
		{name: "is of another kind", env: "raw:other-kind", log: "rogue is a storage, not a pollster", shows: nil},
		{name: "describes itself in 100 MB", env: "raw:huge-description", log: "larger than max|too large", shows: func(*host.Status) error { return nil }},
		{name: "transformer hangs", kind: "transformer", options: "mode = 'hang'\ntimeout = '500ms'", log: "transformer does not answer", shows: restarted("hangs")},
		{name: "transformer dies", kind: "transformer", options: "mode = 'die'", log: "transformer does not answer", shows: restarted("exit status 3")},
		{name: "transformer answers garbage", kind: "transformer", env: "raw:garbage", log: "answered with what is no batch", shows: func(s *host.Status) error {
			p := s.Pipelines[slices.IndexFunc(s.Pipelines, func(p host.PipelineStatus) bool { return p.Name == "rogue" })]
			return want(p.Refused > 0 && p.In == p.Filtered+p.Dropped+p.Refused+p.Waiting+0, "%+v", p)
		}, metric: []string{"nepho_pipeline_refused_total", "pipeline", "rogue"}},
		{name: "transformer answers 100 MB", kind: "transformer", env: "raw:huge", log: "too large", shows: func(s *host.Status) error {
			p := s.Pipelines[slices.IndexFunc(s.Pipelines, func(p host.PipelineStatus) bool { return p.Name == "rogue" })]
			return want(p.Refused > 0, "%+v", p)
		}},
		{name: "transformer hangs in Start", kind: "transformer", options: "mode = 'hang-start'", log: "instance cannot start", shows: func(*host.Status) error { return nil }},
		{name: "publisher hangs", kind: "publisher", options: "mode = 'hang'\ntimeout = '500ms'", log: "publisher does not take samples", shows: restarted("hangs")},
		{name: "publisher dies", kind: "publisher", options: "mode = 'die'", log: "publisher does not take samples", shows: restarted("exit status 3")},
		{name: "publisher panics", kind: "publisher", options: "mode = 'panic'", log: "this plugin panics in a call", shows: sink(func(s host.SinkStatus) error {
			return want(s.Retries > 1 && strings.Contains(s.Error, "panics"), "%+v", s)
		}), metric: []string{"nepho_sink_retries_total", "pipeline", "rogue"}},
		{name: "publisher hangs in Stop", kind: "publisher", options: "mode = 'hang-stop'", shows: sink(func(s host.SinkStatus) error {
			return want(s.Published > 1, "%+v", s)
		})},
		{name: "publisher refuses what is not there", kind: "publisher", env: "raw:refuses-lies", log: "put aside as dead letters", shows: sink(func(s host.SinkStatus) error {
			return want(s.Refused > 0 && s.Refused+s.Published+s.Waiting == s.Appended, "%+v", s)
		}), metric: []string{"nepho_sink_refused_total", "pipeline", "rogue"}},
		{name: "publisher answers what nobody knows", kind: "publisher", env: "raw:unknown-outcome", log: "publisher does not take samples", shows: sink(func(s host.SinkStatus) error {
			return want(s.Retries > 0 && s.Published == 0, "%+v", s)
		})},
		{name: "publisher asks to come back in weeks", kind: "publisher", env: "raw:retry-never", log: "come back later", shows: sink(func(s host.SinkStatus) error {
			return want(s.Retries > 0, "%+v", s)
		})},
		{name: "publisher gives a reason of 40 MB", kind: "publisher", env: "raw:huge-reason", log: "publisher", shows: sink(func(s host.SinkStatus) error {
			return want(s.Refused+s.Retries > 0 && len(s.Error) < 10_000, "refused %d, retries %d", s.Refused, s.Retries)
		})},
		{name: "notification returns at once", kind: "notification", options: "mode = 'return'", log: "listening ended and begins again", shows: source(func(s host.SourceStatus) error {
			return want(s.Samples > 1, "%d samples", s.Samples)
		})},
		{name: "notification dies", kind: "notification", options: "mode = 'die'", log: "exit status 3", shows: restarted("exit status 3")},
	}
}

// config puts the misbehaviour beside a healthy flow.
func (m misbehaviour) config() string {
	kind := m.kind
	if kind == "" {
		kind = "pollster"
	}
	env := ""
	if m.env != "" {
		env = fmt.Sprintf("env = { ROGUE = %q }\n", m.env)
	}
	if kind == "pollster" {
		env += "interval = '100ms'\n"
		if !strings.Contains(m.options, "timeout") {
			env += "timeout = '30s'\n"
		}
	}
	if kind == "publisher" {
		env += "retry_max = '1s'\n"
	}
	instance := fmt.Sprintf("[[%s.rogue]]\n%s%s\n", kind, env, m.options)
	sources, transformers, publishers := "'feed'", "", "'taken'"
	switch kind {
	case "pollster", "notification":
		sources = "'rogue'"
	case "transformer":
		transformers = "'rogue'"
	case "publisher":
		publishers = "'rogue'"
	}
	if sources == "'feed'" {
		instance += "[[pollster.host]]\nname = 'feed'\ninterval = '100ms'\nmeters = ['host.load.*']\n"
	}
	if publishers == "'taken'" {
		instance += "[[publisher.file]]\nname = 'taken'\npath = '${DIR}/taken.json'\n"
	}
	return "[agent]\nstop_timeout = '3s'\n" + m.agent + "\n" + healthy + instance +
		fmt.Sprintf("[[pipeline]]\nname = 'rogue'\nsources = [%s]\ntransformers = [%s]\npublishers = [%s]\n", sources, transformers, publishers)
}

// Whatever a plugin does, the log and the status name it, the others go on, and
// the agent stops in time and leaves nothing behind.
func TestMisbehaviourIsContained(t *testing.T) {
	for _, m := range misbehaviours() {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			m.test(t)
		})
	}
}

func (m misbehaviour) test(t *testing.T) {
	a := NewAgent(t, m.config())
	a.installRogue("pollster", "notification", "transformer", "publisher")
	if m.shows == nil { // the configuration is to blame
		_, stderr, code := a.Run("check")
		if code != 1 || !regexp.MustCompile(m.log).MatchString(stderr) {
			t.Fatalf("check gives code %d and says:\n%s", code, stderr)
		}
		return
	}
	started := time.Now()
	a.Start()
	awaitFlow(t, a, "healthy.json", 1)
	before := pids(a, "pollster/host", "publisher/file")
	Eventually(t, "the status shows it", func() error { return m.shows(a.Status()) })
	if m.log != "" {
		a.AwaitLog(m.log)
	}
	if len(m.metric) > 0 && a.Metric(m.metric[0], m.metric[1:]...) == 0 {
		t.Errorf("%v is 0", m.metric)
	}
	awaitFlow(t, a, "healthy.json", 10)
	if after := pids(a, "pollster/host", "publisher/file"); !slices.Equal(before, after) {
		t.Errorf("the others' processes were %v and are %v", before, after)
	}
	if s := a.Source("host"); s.Failures > 0 {
		t.Errorf("the other source suffers: %+v", s)
	}
	if s := a.Sink("healthy", "file"); s.Retries+s.Refused+s.DroppedFull > 0 {
		t.Errorf("the other publisher suffers: %+v", s)
	}
	begun := time.Now()
	a.Stop()
	if took := time.Since(begun); took > inTime {
		t.Errorf("stopping took %v with a stop_timeout of 3s", took)
	}
	lines := strings.Split(a.Log(), "\n")
	if took := time.Since(started); len(lines) > 3000+50*int(took.Seconds()) {
		t.Errorf("the log has %d lines after %v", len(lines), took)
	}
	for _, line := range lines {
		if len(line) > 100<<10 || !utf8.ValidString(line) || strings.ContainsAny(line, "\x00\x1b\r") {
			t.Errorf("a line of the log has %d bytes: %.200q", len(line), line)
		}
	}
}

func pids(a *Agent, plugins ...string) []int {
	var pids []int
	for _, p := range plugins {
		pids = append(pids, a.Plugin(p).PID)
	}
	return pids
}

// awaitFlow waits until a file has that many more samples than now.
func awaitFlow(tb parts.TB, a *Agent, file string, more int) {
	tb.Helper()
	before := len(a.Samples(file))
	Eventually(tb, fmt.Sprintf("%d more samples are in %s", more, file), func() error {
		now := len(a.Samples(file))
		return want(now >= before+more, "%d more are", now-before)
	})
}

func regexpMatch(pattern, s string) bool { return regexp.MustCompile(pattern).MatchString(s) }

func regexpReplace(pattern, s, by string) string {
	return regexp.MustCompile(pattern).ReplaceAllString(s, by)
}
