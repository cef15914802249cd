package bundled_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/nephoscope/nepho/agent/bundled"
	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/agent/status"
	"github.com/nephoscope/nepho/sdk"
	sdkconfig "github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/figure"
	"github.com/nephoscope/nepho/sdk/wire"
)

var update = flag.Bool("update", false, "write the tables of docs/OPERATING.md anew")

// The tables of the operator's manual say what the program does.
func TestManualIsTrue(t *testing.T) {
	path := filepath.Join(root, "docs/OPERATING.md")
	text := read(t, path)
	made := text
	for name, table := range map[string]string{
		"agent":     optionTable(config.Agent{}),
		"instances": instanceTable(),
		"pipelines": optionTable(config.Pipeline{}),
		"metrics":   metricTable(t),
		"internal":  internalTable(t),
		"figures":   figureTable(t),
	} {
		begin, end := "<!-- made: "+name+" -->\n", "<!-- end -->"
		before, rest, found := strings.Cut(made, begin)
		_, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			t.Fatalf("%s has no place for the table %q", path, name)
		}
		made = before + begin + table + end + after
	}
	if made == text {
		return
	}
	if *update {
		if err := os.WriteFile(path, []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	was, is := strings.Split(text, "\n"), strings.Split(made, "\n")
	for n := range is {
		if n >= len(was) || was[n] != is[n] {
			t.Fatalf("%s:%d is not true any more: run go test ./agent/bundled -update. It should be:\n%s", path, n+1, is[n])
		}
	}
}

// Configurations in the manual are right.
func TestManualsExamplesAreRight(t *testing.T) {
	list := examples(read(t, filepath.Join(root, "docs/OPERATING.md")))
	if len(list) == 0 {
		t.Fatal("the manual has no example")
	}
	for n, example := range list {
		checkText(t, fmt.Sprintf("example %d", n+1), example)
	}
}

func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// value writes a default, or what is allowed where there is none.
func value(o sdkconfig.Option) string {
	switch {
	case o.Default != "":
		return "`" + o.Default + "`"
	case o.Required:
		return "required"
	default:
		return ""
	}
}

func meaning(o sdkconfig.Option) string {
	if len(o.Enum) > 0 {
		return o.Doc + " One of `" + strings.Join(o.Enum, "`, `") + "`."
	}
	return o.Doc
}

func optionTable(of any) string {
	table := row("option", "type", "default", "") + row("---", "---", "---", "---")
	for _, o := range sdkconfig.Options(of) {
		table += row("`"+o.Name+"`", o.Type, value(o), meaning(o))
	}
	return table
}

func instanceTable() string {
	table := row("option", "kinds", "type", "default", "") + row("---", "---", "---", "---", "---")
	var order []sdkconfig.Option
	kinds := map[string][]string{}
	for _, kind := range config.Kinds() {
		for _, o := range config.HostOptions(kind) {
			if kinds[o.Name] == nil {
				order = append(order, o)
			}
			kinds[o.Name] = append(kinds[o.Name], kind)
		}
	}
	for _, o := range order {
		of := strings.Join(kinds[o.Name], ", ")
		if len(kinds[o.Name]) == len(config.Kinds()) {
			of = "all"
		}
		table += row("`"+o.Name+"`", of, o.Type, value(o), meaning(o))
	}
	return table
}

// one is a status with one of everything.
type one struct{}

func (one) Status() *host.Status {
	return &host.Status{
		Version: "1", Started: time.Unix(1, 0), Time: time.Unix(2, 0),
		Plugins: []host.PluginStatus{{Process: "p"}}, Instances: []host.InstanceStatus{{Name: "i"}}, Sources: []host.SourceStatus{{Name: "s"}},
		Pipelines: []host.PipelineStatus{{Name: "l", Stages: []host.StageStatus{{Name: "t"}}}},
		Sinks:     []host.SinkStatus{{Pipeline: "l", Publisher: "p"}},
	}
}

func (one) Latest() map[string]*sdk.Batch { return nil }

func (one) Figures(context.Context) []host.Figures { return []host.Figures{{Instance: "i"}} }

// metricTable lists what /metrics gives.
func metricTable(t *testing.T) string {
	t.Helper()
	answer := httptest.NewRecorder()
	status.Handler(one{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range families {
		if strings.HasPrefix(name, "nepho_") {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		subject := func(s string) string { return strings.SplitN(s, "_", 3)[1] }
		return cmp.Or(strings.Compare(subject(a), subject(b)), strings.Compare(a, b))
	})
	table := row("metric", "type", "labels", "") + row("---", "---", "---", "---")
	for _, name := range names {
		f := families[name]
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		table += row("`"+name+"`", strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
	}
	return table
}

// figureTable lists what bundled plugins tell about themselves.
func figureTable(t *testing.T) string {
	t.Helper()
	table := row("sample", "metric", "type", "unit", "") + row("---", "---", "---", "---", "---")
	each(t, func(t *testing.T, _ string, p sdk.Plugin) {
		var own []*wire.MeterDescription
		for _, m := range p.Own {
			own = append(own, &wire.MeterDescription{Name: m.Name, Type: wire.MeterType(m.Type), Unit: m.Unit, Doc: m.Doc})
		}
		d := figure.Declare(p.Name, own)
		if err := d.Err(); err != nil {
			t.Error(err)
		}
		for _, m := range d.Meters() {
			table += row("`"+m.Name+"`", "`"+m.Metric+"`", m.Type.String(), m.Unit, m.Doc)
		}
	})
	return table
}

func internalTable(t *testing.T) string {
	t.Helper()
	table := row("meter", "type", "unit", "") + row("---", "---", "---", "---")
	for _, p := range bundled.Plugins() {
		if kind, err := p.Kind(); err != nil || !isHosts(string(kind), p.Name) {
			continue
		}
		for _, m := range p.Meters {
			table += row("`"+m.Name+"`", m.Type.String(), m.Unit, m.Doc)
		}
		return table
	}
	t.Fatal("the host's own pollster is not bundled")
	return ""
}
