package libvirt

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/nephoscope/nepho/sdk/config"
)

// TestMetersAreCeilometers compares names, units and types with Ceilometer's.
func TestMetersAreCeilometers(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/ceilometer-meters.tsv")
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.Split(strings.TrimSpace(string(text)), "\n")
	var ours []string
	for _, m := range catalogue() {
		ours = append(ours, fmt.Sprintf("%s\t%s\t%v", m.Name, m.Unit, m.Type))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	if !slices.Equal(ours, theirs) {
		t.Errorf("got meters\n%s\nwant\n%s", strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
	}
}

// TestReadme compares the README's table of meters with the catalogue, and its
// options with the struct.
func TestReadme(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	table.WriteString("| meter | type | unit | |\n|---|---|---|---|\n")
	for _, m := range catalogue() {
		fmt.Fprintf(&table, "| `%s` | %v | %s | %s |\n", m.Name, m.Type, m.Unit, m.Doc)
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<!-- meters -->\n"
	head, rest, _ := strings.Cut(string(text), mark)
	_, tail, _ := strings.Cut(rest, "<!-- end -->\n")
	want := head + mark + table.String() + "<!-- end -->\n" + tail
	if *update {
		if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Error("README.md does not have the catalogue's meters: run go test -run TestReadme -args -update")
	}
	for _, o := range config.Options(new(pollster)) {
		for file, form := range map[string]string{"README.md": "| `" + o.Name + "` |", "sample.toml": "# " + o.Name + " = "} {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), form) {
				t.Errorf("%s does not have option %s", file, o.Name)
			}
		}
	}
}

func TestSampleShowsDefaults(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, l := range strings.Split(sample, "\n") {
		if l, ok := strings.CutPrefix(l, "# "); ok && slices.ContainsFunc(config.Options(new(pollster)), func(o config.Option) bool {
			return strings.HasPrefix(l, o.Name+" = ")
		}) {
			lines = append(lines, l)
		}
	}
	table, problems := config.Parse("sample.toml", []byte(strings.Join(lines, "\n")))
	shown, defaults := new(pollster), new(pollster)
	problems = append(problems, table.Decode(shown)...)
	problems = append(problems, config.NewTable("").Decode(defaults)...)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if shown.settings != defaults.settings {
		t.Errorf("the sample shows %+v, the defaults are %+v", shown.settings, defaults.settings)
	}
}

func TestStatisticsAskedFor(t *testing.T) {
	t.Parallel()
	f := func(want lv.DomainStatsTypes, vcpuWait bool, meters ...string) {
		t.Helper()
		wants := func(m string) bool { return slices.Contains(meters, m) }
		if got := choose(wants, true, vcpuWait).groups; got != want {
			t.Errorf("meters %v: got statistics %#x, want %#x", meters, got, want)
		}
	}
	f(lv.DomainStatsState, false)
	f(lv.DomainStatsState, false, "power.state", "disk.root.size", "no such meter")
	f(lv.DomainStatsState|lv.DomainStatsCPUTotal, false, "cpu")
	f(lv.DomainStatsState|lv.DomainStatsCPUTotal|lv.DomainStatsVCPU, true, "cpu")
	f(lv.DomainStatsState|lv.DomainStatsBalloon, true, "memory.usage", "memory")
	f(lv.DomainStatsState|lv.DomainStatsBlock, false, "disk.read.bytes")
	f(lv.DomainStatsState|lv.DomainStatsBlock|lv.DomainStatsInterface, false, "disk.device.usage", "network.incoming.bytes")
	f(lv.DomainStatsState|lv.DomainStatsPerf, false, "perf.instructions")
}
