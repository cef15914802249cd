package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/host"
)

func TestUsageErrors(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		var out, problems bytes.Buffer
		a := &App{Version: "1", Stdout: &out, Stderr: &problems}
		if code := a.Main(args); code != exitUsage || problems.String() != want+"\n" || out.Len() > 0 {
			t.Errorf("%q: code %d, %q, want %q", args, code, problems.String(), want)
		}
	}
	f(`nepho: there is no command "frob". See nepho help.`, "frob")
	f(`nepho: there is no command "chekc"; did you mean "check"? See nepho help.`, "chekc")
	f(`nepho check: what is "my.toml" for? did you mean --config my.toml? See nepho help check.`, "check", "my.toml")
	f(`nepho check: what is "extra" for? See nepho help check.`, "check", "extra")
	f(`nepho version: what is "my.toml" for? See nepho help version.`, "version", "my.toml")
}

// All that went into a pipeline can be found in its line; what does not poll has
// no polls.
func TestPrintStatus(t *testing.T) {
	var out bytes.Buffer
	printStatus(&out, &host.Status{
		Sources: []host.SourceStatus{
			{Name: "host", Kind: config.Pollster, Samples: 1, Polls: 3, Duration: 20 * time.Millisecond},
			{Name: "amqp", Kind: config.Notification, Events: 2},
		},
		Pipelines: []host.PipelineStatus{{Name: "cloud", In: 15, Filtered: 1, Dropped: 2, Refused: 3, Waiting: 4, Transformed: 5, Out: 6}},
	})
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		"host 1 0 3 0 0 0 20ms", "amqp 0 2 - 0 0 0 -",
		"PIPELINE IN FILTERED DROPPED REFUSED WAITING TRANSFORMED OUT\ncloud 15 1 2 3 4 5 6",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
