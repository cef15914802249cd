package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/sdk"
)

// measured is a publisher that tells figures about itself, and does what files in its
// folder say.
type measured struct {
	dir   string
	asked float64
}

func measuredPlugin() sdk.Plugin {
	return sdk.Plugin{Name: "mail", Publisher: func() sdk.Publisher { return new(measured) }, Own: []sdk.MeterInfo{
		{Meter: sdk.Meter{Name: "asked", Type: sdk.Cumulative, Unit: "question"}, Doc: "How often it was asked."},
		{Meter: sdk.Meter{Name: "waiting", Unit: "mail"}, Doc: "Mails that wait, by queue."},
	}}
}

func (*measured) Publish(context.Context, *sdk.Batch) error { return nil }

func (m *measured) Start(_ context.Context, env sdk.Env) error {
	m.dir = env.StateDir
	return nil
}

func (m *measured) has(file string) bool {
	_, err := os.Stat(filepath.Join(m.dir, file))
	return !errors.Is(err, fs.ErrNotExist)
}

// Measure ignores the end of its context when it is to hang.
func (m *measured) Measure(_ context.Context, out *sdk.Builder) error {
	m.asked++
	out.On(sdk.Resource{}).Cumulative("asked", "question", m.asked)
	out.On(sdk.Resource{Metadata: sdk.Metadata{"queue": "new", "rack": 7}}).Gauge("waiting", "mail", 3)
	for m.has("hang") && !m.has("enough") {
		time.Sleep(time.Millisecond)
	}
	if m.has("forge") {
		out.On(sdk.Resource{Metadata: sdk.Metadata{"instance": "another"}}).Gauge("waiting", "mail", 1)
		out.On(sdk.Resource{}).Cumulative("nepho.sink.dropped", "row", 1)
		return errors.New("as\nasked")
	}
	if m.has("flood") {
		out.On(sdk.Resource{Metadata: sdk.Metadata{"queue": strings.Repeat("x", 400<<10)}}).Gauge("waiting", "mail", 1)
	}
	return nil
}

// newAsked makes a host with instances of plugins, by their names, and gives their
// folders. Those with the same kind share a process.
func newAsked(t *testing.T, instances map[string]string) (*Host, map[string]string) {
	t.Helper()
	h := New(nil, "", slog.New(slog.DiscardHandler))
	text, dirs := "", map[string]string{}
	for name, kind := range instances {
		plugin := "mail"
		if kind == "forger" {
			plugin = "sink"
		}
		text += fmt.Sprintf("[[publisher.%s]]\nname = %q\n", plugin, name)
		if h.processes[kind] == nil {
			h.processes[kind] = startProcess(t, kind)
		}
		h.instances[name], dirs[name] = addInstance(t, h.processes[kind], name)
	}
	for _, i := range h.instances {
		if _, err := i.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	h.config, _ = config.Load(config.Options{File: "test.toml", Glob: func(string) ([]string, error) { return nil, nil }, ReadFile: func(string) ([]byte, error) {
		return []byte(text), nil
	}})
	return h, dirs
}

func touch(t *testing.T, dir, file string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), nil, 0o640); err != nil {
		t.Fatal(err)
	}
}

// told gives what instances tell, a line each.
func told(h *Host) map[string]string {
	lines := map[string]string{}
	for _, f := range h.Figures(context.Background()) {
		var parts []string
		for _, v := range f.Figures {
			parts = append(parts, fmt.Sprintf("%s%v=%g", v.Name, v.Labels, v.Value))
		}
		if f.Error != "" {
			parts = append(parts, "error: "+f.Error)
		}
		lines[f.Instance] = strings.Join(parts, " ")
	}
	return lines
}

// One that hangs and one that lies keep nobody else's figures from being shown, not even
// those of instances in the same process.
func TestFigures(t *testing.T) {
	h, dirs := newAsked(t, map[string]string{"right": "measured", "slow": "measured", "liar": "measured", "large": "measured", "old": "publisher", "forger": "forger"})
	touch(t, dirs["slow"], "hang")
	touch(t, dirs["liar"], "forge")
	touch(t, dirs["large"], "flood")
	const figures = `nepho\.mail\.askedmap\[\]=\d+ nepho\.mail\.waitingmap\[queue:new rack:7\]=3`
	want := map[string]*regexp.Regexp{}
	for name, line := range map[string]string{
		"right":  figures,
		"slow":   "error: (no answer within 1s|the call before has not returned for .*)", // not asked twice at once
		"liar":   figures + ` error: as; asked; 2 figures are left out, the first because meter "waiting" has the label instance, which is the host's`,
		"forger": `error: figures can't be called after plugin "sink": that is no name in lower case, or begins as the host's own figures do`,
		"large":  "error: .*larger than max.*",
	} {
		want[name] = regexp.MustCompile("^" + line + "$")
	}
	eventually(t, func() string { // a machine may be too busy for an answer within a second
		got := told(h)
		for name, line := range got {
			if want[name] == nil || !want[name].MatchString(line) {
				return fmt.Sprintf("%s tells %q", name, line)
			}
		}
		if len(got) != len(want) {
			return fmt.Sprintf("it is told %v", got)
		}
		return ""
	})
	enough(t, dirs["slow"])
	eventually(t, func() string {
		if got := told(h)["slow"]; !regexp.MustCompile("^" + figures + "$").MatchString(got) {
			return got
		}
		return ""
	})
}

// Those who ask while a round goes on share it; who does not wait is told nothing.
func TestFiguresAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(nil, "", slog.New(slog.DiscardHandler)) // a round of its own tells nothing
		answer := make(chan []Figures)
		h.asking.DoChan("", func() (any, error) { return <-answer, nil })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := h.Figures(ctx); got != nil {
			t.Errorf("who does not wait is told %v", got)
		}
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				if got := h.Figures(context.Background()); len(got) != 1 || got[0].Instance != "shared" {
					t.Errorf("one who asks meanwhile is told %v", got)
				}
			})
		}
		synctest.Wait()
		answer <- []Figures{{Instance: "shared"}}
		wait.Wait()
		if got := h.Figures(t.Context()); got == nil || len(got) != 0 {
			t.Errorf("one who asks later is told %v", got)
		}
	})
}

// A round asks an instance once, however many wait for it.
func TestFiguresAreAskedOnce(t *testing.T) {
	h, _ := newAsked(t, map[string]string{"right": "measured"})
	rounds := 0 // that were asked for; a busy machine's answer may come too late
	asked := func() (n int) {
		t.Helper()
		eventually(t, func() string {
			rounds++
			line := told(h)["right"]
			if _, err := fmt.Sscanf(line, "nepho.mail.askedmap[]=%d", &n); err != nil {
				return line
			}
			return ""
		})
		return n
	}
	before := asked()
	rounds = 0
	h.mu.Lock() // which a round takes first: all that follow are one
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	const askers = 20
	for range askers {
		h.Figures(ctx)
	}
	h.mu.Unlock()
	if n := asked() - before; n > rounds+1 {
		t.Errorf("it was asked %d times for %d who asked at once, and %d later", n, askers, rounds)
	}
}

// One that ended tells nothing, and delays nobody.
func TestFiguresOfTheDead(t *testing.T) {
	h, _ := newAsked(t, map[string]string{"right": "measured", "gone": "forger"})
	h.processes["forger"].Stop()
	eventually(t, func() string {
		if got := told(h); len(got) != 1 || !strings.HasPrefix(got["right"], "nepho.mail.asked") {
			return fmt.Sprint(got)
		}
		return ""
	})
}

// What plugins tell is measured by the internal pollster as well.
func TestFiguresAsSamples(t *testing.T) {
	h, _ := newAsked(t, map[string]string{"out": "measured", "old": "publisher"})
	c, problems := config.Load(config.Options{File: "test.toml", Glob: func(string) ([]string, error) { return nil, nil }, ReadFile: func(string) ([]byte, error) {
		return []byte("[[pollster.internal]]\nmeters = ['nepho.mail.*', '!*.asked']\ntags = { room = '1' }\n"), nil
	}})
	i := c.Instance("internal")
	if i == nil {
		t.Fatal(problems)
	}
	var s sdk.Sample
	eventually(t, func() string { // a machine may be too busy for an answer within a second
		batches, err := h.internal(i)(t.Context())
		if err != nil || len(batches) > 1 {
			t.Fatalf("%d batches, error %v", len(batches), err)
		}
		if len(batches) == 0 {
			return "there is no batch"
		}
		b, err := sdk.DecodeBatch(batches[0])
		if err != nil || b.Len() > 1 {
			t.Fatalf("%v, error %v", b, err)
		}
		if b.Len() == 0 {
			return "there is no sample"
		}
		s = b.Sample(0)
		return ""
	})
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	if s.Name != "nepho.mail.waiting" || s.Unit != "mail" || s.Type != sdk.Gauge || s.Volume != 3 || s.ResourceID != hostname+".instance.out/queue=new/rack=7" {
		t.Errorf("%+v", s)
	}
	for key, want := range map[string]string{"host": hostname, "instance": "out", "queue": "new", "rack": "7", "room": "1"} {
		if s.Metadata[key] != want {
			t.Errorf("%s is %v, want %s", key, s.Metadata[key], want)
		}
	}
}
