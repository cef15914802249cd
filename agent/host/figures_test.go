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

// newAsked makes a host with instances of plugins, each with what its folder has, which
// are ready. Their names are those of the folders.
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
		h.instances[name], dirs[name] = startInstance(t, kind, name)
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

// One that hangs, one that ended and one that lies keep nobody else's figures from being
// shown; those who ask at the same time share one round.
func TestFigures(t *testing.T) {
	h, dirs := newAsked(t, map[string]string{"right": "measured", "slow": "measured", "gone": "measured", "old": "publisher", "liar": "measured", "forger": "forger", "large": "measured"})
	touch(t, dirs["slow"], "hang")
	touch(t, dirs["liar"], "forge")
	touch(t, dirs["large"], "flood")
	h.instances["gone"].Current().Kill(errors.New("as the test wants"))
	eventually(t, func() string {
		if l := h.instances["gone"].Current(); l != nil {
			select {
			case <-l.Done():
			default:
				return "it runs"
			}
		}
		return ""
	})

	const askers = 8
	rounds := make([]map[string]string, askers)
	var wait sync.WaitGroup
	for i := range askers {
		wait.Go(func() { rounds[i] = told(h) })
	}
	wait.Wait()
	const figures = `nepho\.mail\.askedmap\[\]=\d+ nepho\.mail\.waitingmap\[queue:new rack:7\]=3`
	want := map[string]string{
		"right":  figures,
		"slow":   "error: no answer within 1s",
		"liar":   figures + ` error: as; asked; 2 figures are left out, the first because meter "waiting" has the label instance, which is the host's`,
		"forger": `error: figures can't be called after plugin "sink": that is no name in lower case, or begins as the host's own figures do`,
		"large":  "error: .*larger than max.*",
	}
	for _, got := range rounds {
		for name, line := range got {
			if name == "gone" { // started again by now
				continue
			}
			if w, ok := want[name]; !ok || !regexp.MustCompile("^"+w+"$").MatchString(line) {
				t.Errorf("%s tells %q", name, line)
			}
		}
		if len(got) < len(want) {
			t.Errorf("%d instances tell: %v", len(got), got)
		}
	}

	// It hangs on, is not asked twice at once, and answers again when it can.
	next := told(h)
	if !strings.Contains(next["slow"], "has not returned") {
		t.Errorf("it tells %q", next["slow"])
	}
	if n := 0; !strings.Contains(next["right"], "asked") {
		t.Errorf("it tells %q", next["right"])
	} else if _, err := fmt.Sscanf(next["right"], "nepho.mail.askedmap[]=%d", &n); err != nil || n > askers/2 {
		t.Errorf("%d rounds for %d who asked at once: %v", n, askers+1, err)
	}
	enough(t, dirs["slow"])
	eventually(t, func() string {
		if got := told(h)["slow"]; !strings.HasPrefix(got, "nepho.mail.askedmap[]=2 ") {
			return got
		}
		return ""
	})

	// Who does not wait is told nothing.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := h.Figures(ctx); got != nil && len(got) < len(want) {
		t.Errorf("%v", got)
	}
	told(h) // the round has ended
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
	batches, err := h.internal(i)(t.Context())
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches, error %v", len(batches), err)
	}
	b, err := sdk.DecodeBatch(batches[0])
	if err != nil || b.Len() != 1 {
		t.Fatalf("%d samples, error %v", b.Len(), err)
	}
	s := b.Sample(0)
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
