package arithmetic

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/plugins/internal/transformtest"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

const util = `
	inputs = { used = "memory.usage", total = "memory" }
	expr   = "used / total * 100"
	target = { name = "memory.util", unit = "%" }
`

func of(resource, meter string, seconds float64, volume float64) sdk.Sample {
	return sdk.Sample{
		Name: meter, Type: sdk.Gauge, Unit: "MB", Volume: volume, ResourceID: resource, ProjectID: "p-" + meter, UserID: "u", Source: "s",
		Timestamp: start.Add(time.Duration(seconds * float64(time.Second))), Monotonic: time.Duration((seconds + 100) * float64(time.Second)),
		Metadata: sdk.Metadata{"of": meter, "vcpus": "2"},
	}
}

func used(seconds, volume float64) sdk.Sample  { return of("vm-1", "memory.usage", seconds, volume) }
func total(seconds, volume float64) sdk.Sample { return of("vm-1", "memory", seconds, volume) }

func text(samples []sdk.Sample) string {
	var texts []string
	for _, s := range samples {
		texts = append(texts, fmt.Sprintf("%s/%s=%v%s@%v", s.ResourceID, s.Name, s.Volume, s.Unit, s.Timestamp.Sub(start).Seconds()))
	}
	return strings.Join(texts, " ")
}

func TestResults(t *testing.T) {
	f := func(toml, want string, samples ...sdk.Sample) {
		t.Helper()
		if got := text(transformtest.Start(t, Plugin(), util+toml, nil).Run(samples...)); got != want {
			t.Errorf("%s:\n%s, want\n%s", toml, got, want)
		}
	}
	f(``, "vm-1/memory.util=25%@0", used(0, 512), total(0, 2048))
	f(``, "vm-1/memory.util=25%@0", total(0, 2048), used(0, 512))
	f(``, "vm-1/memory.util=25%@3", total(3, 2048), used(0, 512)) // the latest input's time
	f(``, "", used(0, 512))
	f(``, "", used(0, 512), of("vm-2", "memory", 0, 2048))
	f(``, "vm-1/memory.util=25%@0 vm-2/memory.util=50%@7", used(0, 512), total(0, 2048), of("vm-2", "memory", 7, 2), of("vm-2", "memory.usage", 0, 1))
	f(`keep_inputs = true`, "vm-1/memory.util=25%@0 vm-1/memory.usage=512MB@0 vm-1/memory=2048MB@0", used(0, 512), total(0, 2048))
	f(``, "vm-1/memory.util=25%@0 vm-1/cpu=7MB@0", used(0, 512), of("vm-1", "cpu", 0, 7), total(0, 2048)) // others pass

	// Several polls in one batch, whatever their order is.
	polls := "vm-1/memory.util=10%@0 vm-1/memory.util=20%@60 vm-1/memory.util=30%@120"
	f(``, polls, used(0, 10), total(0, 100), used(60, 20), total(60, 100), used(120, 30), total(120, 100))
	f(``, polls, used(0, 10), used(60, 20), used(120, 30), total(0, 100), total(60, 100), total(120, 100))
	f(``, polls, used(120, 30), used(60, 20), used(0, 10), total(60, 100), total(0, 100), total(120, 100))
	f(``, "vm-1/memory.util=10%@0.5 vm-1/memory.util=20%@60.5", used(0, 10), used(60, 20), total(0.5, 100), total(60.5, 100))
}

func TestInputsOfSeveralBatches(t *testing.T) {
	in := transformtest.Start(t, Plugin(), util, nil)
	f := func(want string, samples ...sdk.Sample) {
		t.Helper()
		if got := text(in.Run(samples...)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f("", used(0, 10))
	f("", used(60, 20))
	f("", used(30, 99)) // late
	f("vm-1/memory.util=20%@61", total(61, 100))
	f("", total(121, 100)) // all inputs are needed anew
	f("vm-1/memory.util=30%@121", used(120, 30))
}

func TestWindow(t *testing.T) {
	in := transformtest.Start(t, Plugin(), util+`window = "10s"`, nil)
	f := func(want string, samples ...sdk.Sample) {
		t.Helper()
		if got := text(in.Run(samples...)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f("", used(0, 10))
	f("", total(60, 100)) // too late for it
	f("", used(120, 20))
	f("vm-1/memory.util=20%@130", total(130, 100))
}

func TestWhoseFieldsTheResultHas(t *testing.T) {
	f := func(expr, first string) {
		t.Helper()
		in := transformtest.Start(t, Plugin(), `
			inputs = { a = "memory.usage", b = "memory" }
			target = { name = "x", type = "delta" }
			expr = "`+expr+`"`, nil)
		out := in.Run(used(5, 1), total(7, 2))
		if len(out) != 1 {
			t.Fatalf("%s: %d samples", expr, len(out))
		}
		s := out[0]
		if s.Metadata["of"] != first || s.ProjectID != "p-"+first || s.UserID != "u" || s.Source != "s" || s.Type != sdk.Delta || s.Monotonic != 107*time.Second {
			t.Errorf("%s: %+v", expr, s)
		}
	}
	f("a + b", "memory.usage")
	f("b + a", "memory")
	f("inputs.b.volume + a", "memory")
}

func TestExpressions(t *testing.T) {
	f := func(expr string, want float64) {
		t.Helper()
		in := transformtest.Start(t, Plugin(), "inputs = { a = \"memory.usage\", b = \"memory\" }\ntarget = { name = \"x\" }\nexpr = '"+expr+"'", nil)
		if out := in.Run(used(0, 6), total(0, 3)); len(out) != 1 || out[0].Volume != want {
			t.Errorf("%s: %s, want %v", expr, text(out), want)
		}
	}
	f("a - b", 3)
	f("a * b * resource_metadata.vcpus", 36)
	f("a * b * inputs.b.resource_metadata.vcpus", 36)
	f("a > b ? a : b", 6)
	f("max(a, b)", 6)
	f(`inputs.a.unit == inputs.b.unit ? 1 + 0 * a * b : 0`, 1)
}

func TestNoNumber(t *testing.T) {
	var log strings.Builder
	in := transformtest.Start(t, Plugin(), util, slog.NewTextHandler(&log, nil))
	for i := range 5 {
		at := float64(i * 60)
		if got := text(in.Run(used(at, 1), total(at, 0), of("vm-2", "memory", at, 2), of("vm-2", "memory.usage", at, 1))); got != fmt.Sprintf("vm-2/memory.util=50%%@%v", at) {
			t.Fatal(got)
		}
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "+Inf") {
		t.Fatal(log.String())
	}
}

func TestConfigProblems(t *testing.T) {
	f := func(toml string, want ...string) {
		t.Helper()
		err := transformtest.Check(Plugin(), toml)
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", toml, err, w)
			}
		}
	}
	f(``, "inputs: required", "expr: required", "target.name: required")
	rest := "\ntarget = { name = \"x\" }"
	f(`inputs = { a = "m", b = "n" }`+"\n"+`expr = "a / c"`+rest, "test.toml:2:1: expr: unknown name c")
	f(`inputs = { a = "m", b = "n" }`+"\n"+`expr = "a * 2"`+rest, "test.toml:1:21: inputs.b: is not used in expr")
	f(`inputs = { a = "m", b = "m" }`+"\n"+`expr = "a * b"`+rest, "inputs.b: is the same meter as a")
	f(`inputs = { a = "" }`+"\n"+`expr = "a * 2"`+rest, "inputs.a: must not be empty")
	f(`inputs = { "memory.usage" = "m" }`+"\n"+`expr = "a * 2"`+rest, `"memory.usage" cannot be a variable`)
	f(`inputs = { a = "m" }`+"\n"+`expr = "$(memory) * 2"`+rest, "expr: ")
	f(`inputs = { a = "m" }`+"\n"+`expr = "2"`+rest, "inputs.a: is not used in expr")
	f(`inputs = { a = "m" }`+"\n"+`expr = "a > 2"`+rest, "expr: gives true or false, must give a number")
	f(`inputs = { a = "m" }`+"\n"+`expr = "a"`+"\n"+`target = { name = "x", type = "rate" }`, "target.type")
}

// What waits survives a kill, and a batch that is given again counts once.
func TestRestart(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Config: util, Meters: []string{"memory", "memory.usage"}})
	give := func(want string, samples ...sdk.Sample) {
		t.Helper()
		data, err := transformtest.Batch(t, samples...).Encode()
		if err != nil {
			t.Fatal(err)
		}
		for again := range 2 {
			out, err := p.TransformBatch(t.Context(), data)
			if err != nil || text(out) != want {
				t.Fatal(text(out), err)
			}
			if again == 0 {
				p.Kill()
				p.Restart()
			}
		}
	}
	give("", used(0, 10))
	give("vm-1/memory.util=10%@1", total(1, 100))
	give("", total(60, 100))
	give("vm-1/memory.util=20%@60", used(60, 20))
}

func TestSampleIsValid(t *testing.T) {
	if err := transformtest.CheckSample(Plugin()); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkTransform(b *testing.B) {
	transformtest.Bench(b, Plugin(), `
		inputs = { a = "disk.device.counter.0", b = "disk.device.counter.1" }
		expr   = "a / (b + 1) * 100"
		target = { name = "x", unit = "%" }
	`)
}
