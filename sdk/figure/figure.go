// Package figure reads and names the figures that plugins tell about themselves (see
// [sdk.Measurer]), for the host and for tests of plugins. What a plugin says is bounded
// here, and can't pass for a figure of the host's own or of another instance.
package figure

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/wire"
)

// Limits of what a plugin tells. What is beyond them is left out.
const (
	MaxMeters  = 128       // that a plugin declares
	MaxFigures = 1_000     // of an instance
	MaxLabels  = 8         // of a figure
	MaxBytes   = 256 << 10 // of an instance's answer, encoded
	maxName    = 64        // of a meter and of a label's name, in bytes
	maxText    = 256       // of a label's value and of a meter's description, in bytes
)

// Timeout is how long a host waits for figures. A plugin that takes longer shows none.
const Timeout = time.Second

// Meter is one that a plugin declares.
type Meter struct {
	// Name is that of samples: nepho.PLUGIN.NAME.
	Name string `json:"name"`
	// Metric is its name in Prometheus: the same with underscores, then _bytes for the
	// unit B and _seconds for s, then _total if it is cumulative.
	Metric string   `json:"metric"`
	Type   sdk.Type `json:"type"`
	Unit   string   `json:"unit,omitempty"`
	Doc    string   `json:"-"`
}

// Figure is what an instance tells.
type Figure struct {
	Meter
	Labels map[string]string `json:"labels,omitempty"`
	Value  float64           `json:"value"`
}

// Declared is what a plugin may tell.
type Declared struct {
	meters map[string]Meter // by the names that the plugin gives them
	wrong  error
}

// hosts are the words that the host's own metrics begin with, after nepho_.
var hosts = []string{"info", "instance", "pipeline", "plugin", "sink", "source", "start", "transformer"}

var (
	pluginName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	meterName  = regexp.MustCompile(`^[a-z][a-z0-9]*([._][a-z0-9]+)*$`)
	labelName  = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

// Declare reads the own meters of a plugin's description. The plugin's name is the one
// that operators know it by.
func Declare(plugin string, own []*wire.MeterDescription) *Declared {
	d := &Declared{meters: map[string]Meter{}}
	if len(own) == 0 {
		return d
	}
	if subject, _, _ := strings.Cut(plugin, "_"); !pluginName.MatchString(plugin) || len(plugin) > maxName || slices.Contains(hosts, subject) {
		d.wrong = fmt.Errorf("figures can't be called after plugin %.64q: that is no name in lower case, or begins as the host's own figures do", plugin)
		return d
	}
	metrics := map[string]bool{}
	for n, m := range own {
		declared := Meter{Name: "nepho." + plugin + "." + m.Name, Metric: metric(plugin, m), Type: sdk.Type(m.Type), Unit: m.Unit, Doc: m.Doc}
		var wrong string
		switch {
		case n >= MaxMeters:
			d.wrong = errors.Join(d.wrong, fmt.Errorf("%d meters are declared, %d may be", len(own), MaxMeters))
			return d
		case !meterName.MatchString(m.Name) || len(m.Name) > maxName:
			wrong = "its name has other than lower-case words with dots between them, or is too long"
		case declared.Type != sdk.Gauge && declared.Type != sdk.Cumulative:
			wrong = "it is neither a gauge nor cumulative"
		case len(m.Unit) > maxName || m.Doc == "" || len(m.Doc) > maxText || strings.Contains(m.Doc, "\n"):
			wrong = "its unit is too long, or its description is not one line"
		case metrics[declared.Metric]:
			wrong = "another has the same name in Prometheus, " + declared.Metric
		}
		if wrong != "" {
			d.wrong = errors.Join(d.wrong, fmt.Errorf("meter %.64q can't be shown: %s", m.Name, wrong))
			continue
		}
		metrics[declared.Metric] = true
		d.meters[m.Name] = declared
	}
	return d
}

// endings are what units add to names in Prometheus, which has base units only.
var endings = map[string]string{"B": "_bytes", "s": "_seconds"}

func metric(plugin string, m *wire.MeterDescription) string {
	name := "nepho_" + plugin + "_" + strings.ReplaceAll(m.Name, ".", "_")
	if ending := endings[m.Unit]; !strings.HasSuffix(name, ending) {
		name += ending
	}
	if m.Type == wire.MeterType_CUMULATIVE && !strings.HasSuffix(name, "_total") {
		name += "_total"
	}
	return name
}

// Empty tells whether there is nothing to ask the plugin.
func (d *Declared) Empty() bool { return len(d.meters) == 0 && d.wrong == nil }

// Err says what of the declaration is wrong.
func (d *Declared) Err() error { return d.wrong }

// Meters gives the declared ones, by their names.
func (d *Declared) Meters() []Meter {
	return slices.SortedFunc(maps.Values(d.meters), func(a, b Meter) int { return strings.Compare(a.Name, b.Name) })
}
