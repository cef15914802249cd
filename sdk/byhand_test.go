package sdk

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// thermometer has an option of each type.
type thermometer struct {
	URL      string            `toml:"url" required:"true" doc:"where it is"`
	Key      string            `toml:"key" secret:"true" doc:"to be let in"`
	Every    time.Duration     `toml:"every" default:"5s" doc:"how often"`
	Buffer   config.Size       `toml:"buffer" default:"1MiB" doc:"how much is kept"`
	Sensors  []string          `toml:"sensors" default:"cpu,board" doc:"which ones"`
	Ports    []int             `toml:"ports" doc:"where else"`
	Factor   float64           `toml:"factor" default:"1.5" doc:"of what is read"`
	Retries  int               `toml:"retries" doc:"after a failure"`
	Strict   bool              `toml:"strict" doc:"no mercy"`
	Names    map[string]string `toml:"names" doc:"of sensors"`
	failWith error
}

func (m *thermometer) Start(context.Context, Env) error {
	if m.URL == "down" {
		return errors.New("no connection")
	}
	return nil
}

func (m *thermometer) Poll(_ context.Context, out *Builder) error {
	if m.URL == "panic" {
		panic("mistake")
	}
	for i, s := range m.Sensors {
		out.On(Resource{ID: s}).Gauge("hardware.temperature", "Cel", m.Factor*float64(20+i))
	}
	return m.failWith
}

func thermometerPlugin() Plugin {
	return Plugin{
		Name: "thermometer", Version: "1.2.3", Summary: "Reads thermometers.",
		Meters:   []MeterInfo{{Meter{"hardware.temperature", Gauge, "Cel"}, "of a sensor"}},
		Pollster: func() Pollster { return &thermometer{} },
	}
}

type measuredHolder struct{ holder }

func (*measuredHolder) Measure(context.Context, *Builder) error { return nil }

var took = regexp.MustCompile(`started in \S+, polled in \S+`)

func TestByHand(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	f := func(golden string, status int, p Plugin, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := byHand(p, args, &out, &errs); got != status {
			t.Errorf("%s: status %d instead of %d", golden, got, status)
		}
		got := took.ReplaceAllString(out.String(), "started in TIME, polled in TIME")
		if errs.Len() > 0 {
			got += "--- standard error\n" + strings.ReplaceAll(regexp.MustCompile(`(?m)^time=.*\n`).ReplaceAllString(errs.String(), ""), dir, "DIR")
		}
		path := filepath.Join("testdata", "byhand", golden)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", golden, got, want)
		}
	}
	p := thermometerPlugin()
	options := write("options.toml", "url = \"here\"\nsensors = [\"a\", \"b\"]\n")
	whole := write("nepho.toml", `
[agent]
interval = "10s"

[[pollster.thermometer]]
name             = "rack"
interval         = "5s"
meters           = ["*"]
tags             = { room = "1" }
resource_timeout = "1s"
url              = "here"
factor           = 2

[[publisher.file]]
path = "-"
`)
	f("describe.txt", 1, p) // its url is required
	f("options.txt", 0, p, "--config", options)
	f("whole.txt", 0, p, "--config", whole)
	f("sample.toml", 0, p, "--sample-config")
	f("help.txt", 0, p, "--help")
	f("mistakes.txt", 1, p, "--config", write("mistakes.toml", "url = 3\nsensor = []\n"))
	f("syntax.txt", 1, p, "--config", write("syntax.toml", "url = \n"))
	f("nofile.txt", 1, p, "--config", filepath.Join(dir, "none.toml"))
	f("start.txt", 1, p, "--config", write("start.toml", `url = "down"`))
	f("panic.txt", 1, p, "--config", write("panic.toml", `url = "panic"`))
	failing := p
	failing.Pollster = func() Pollster { return &thermometer{failWith: errors.New("no answer")} }
	f("failing.txt", 1, failing, "--config", options)
	f("publisher.txt", 0, Plugin{Name: "drop", Version: "1", Summary: "Drops all.", Publisher: func() Publisher { return &holder{} }})
	own := Plugin{Name: "test", Version: "1", Summary: "Tests.", Publisher: func() Publisher { return &measuredHolder{} }, Own: measurer(nil, nil).Own}
	f("own.txt", 0, own)
	f("wrong.txt", 2, Plugin{Name: "wrong"})
}

// The sample that an operator starts from is one that works.
func TestSampleConfig(t *testing.T) {
	text := thermometerPlugin().SampleConfig()
	enabled := regexp.MustCompile(`(?m)^# (\w+ = )`).ReplaceAllString(text, "$1")
	if enabled == text {
		t.Fatal("no option is commented out")
	}
	for _, text := range []string{text, enabled} {
		table, problems := config.Parse("sample.toml", []byte(text))
		if len(problems) > 0 {
			t.Fatalf("%v in\n%s", problems, text)
		}
		options := table.Get("pollster").Table.Get("thermometer").List[0].Table
		for _, p := range thermometerPlugin().Check(options) {
			if p.Key != "pollster.thermometer.url" { // which only the operator knows
				t.Errorf("%v in\n%s", p, text)
			}
		}
	}
	if p := (Plugin{Name: "x", Sample: "# mine\n"}); p.SampleConfig() != "# mine\n" {
		t.Error("the author's own sample is not used")
	}
	if got := (Plugin{Name: "x"}).SampleConfig(); got != "" {
		t.Errorf("got %q", got)
	}
}
