package delta

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/plugins/internal/transformtest"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func of(typ sdk.Type, seconds int, volume float64) sdk.Sample {
	return sdk.Sample{
		Name: "cpu", Type: typ, Unit: "ns", Volume: volume, ResourceID: "vm-1", ProjectID: "p",
		Timestamp: start.Add(time.Duration(seconds) * time.Second), Metadata: sdk.Metadata{"vcpus": int64(2)},
	}
}

func counter(seconds int, volume float64) sdk.Sample { return of(sdk.Cumulative, seconds, volume) }
func gauge(seconds int, volume float64) sdk.Sample   { return of(sdk.Gauge, seconds, volume) }

func volumes(samples []sdk.Sample) string {
	var texts []string
	for _, s := range samples {
		texts = append(texts, fmt.Sprint(s.Volume))
	}
	return strings.Join(texts, " ")
}

func TestDeltas(t *testing.T) {
	f := func(toml, want string, samples ...sdk.Sample) {
		t.Helper()
		if got := volumes(transformtest.Start(t, Plugin(), toml, nil).Run(samples...)); got != want {
			t.Errorf("%s: %q, want %q", toml, got, want)
		}
	}
	f(``, "", counter(0, 100))
	f(``, "50 0 25", counter(0, 100), counter(10, 150), counter(20, 150), counter(30, 175))
	f(``, "50 40 10", counter(0, 100), counter(10, 150), counter(20, 40), counter(30, 50)) // reset
	f(`growth_only = true`, "50 40 10", counter(0, 100), counter(10, 150), counter(20, 40), counter(30, 50))
	f(``, "50 -110 10", gauge(0, 100), gauge(10, 150), gauge(20, 40), gauge(30, 50))
	f(`growth_only = true`, "50 10", gauge(0, 100), gauge(10, 150), gauge(20, 40), gauge(30, 50))
	f(``, "50 25", counter(0, 100), counter(10, 150), counter(10, 150), counter(20, 175)) // twice
	f(``, "50 25", counter(0, 100), counter(10, 150), counter(5, 120), counter(20, 175))  // late
}

func TestClockSteps(t *testing.T) {
	in := transformtest.Start(t, Plugin(), ``, nil)
	at := func(seconds, monotonic int, volume float64) sdk.Sample {
		s := counter(seconds, volume)
		s.Monotonic = time.Duration(monotonic) * time.Second
		return s
	}
	if got := volumes(in.Run(at(0, 100, 1), at(3600, 110, 3), at(20, 120, 6), at(-3600, 130, 10))); got != "2 3 4" {
		t.Fatal(got)
	}
}

func TestMeter(t *testing.T) {
	f := func(toml string, want sdk.Meter) {
		t.Helper()
		out := transformtest.Start(t, Plugin(), toml, nil).Run(counter(0, 1), counter(1, 2))
		if len(out) != 1 {
			t.Fatalf("%d samples", len(out))
		}
		if got := (sdk.Meter{Name: out[0].Name, Type: out[0].Type, Unit: out[0].Unit}); got != want {
			t.Errorf("%s: %v, want %v", toml, got, want)
		}
		if out[0].ProjectID != "p" || out[0].Metadata["vcpus"] != int64(2) {
			t.Errorf("%+v", out[0])
		}
	}
	f(``, sdk.Meter{Name: "cpu.delta", Type: sdk.Delta, Unit: "ns"})
	f(`target = { name = "x", unit = "y" }`, sdk.Meter{Name: "x", Type: sdk.Delta, Unit: "y"})
	f("source = { map_from = { name = '^c(.*)' } }\ntarget = { map_to = { name = 'd\\1' } }", sdk.Meter{Name: "dpu", Type: sdk.Delta, Unit: "ns"})
}

func TestOtherUnitsPassUnchanged(t *testing.T) {
	in := transformtest.Start(t, Plugin(), `source = { unit = "B" }`, nil)
	if out := in.Run(counter(0, 100), counter(10, 150)); len(out) != 2 || out[1].Name != "cpu" || out[1].Volume != 150 {
		t.Fatalf("%+v", out)
	}
}

func TestConfigProblems(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		if err := transformtest.Check(Plugin(), toml); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", toml, err, want)
		}
	}
	f(`target = { scale = 2 }`, "unknown option")
	f(`source = { map_from = { name = '(' } }`, "test.toml:1:25: source.map_from.name: has no target.map_to.name")
	f(`growth_only = 1`, "growth_only")
}

// What was seen last survives a stop and a kill, and a batch that is given again
// changes nothing.
func TestRestart(t *testing.T) {
	p := sdktest.Start(t, `growth_only = true`)
	f := func(want string, samples ...sdk.Sample) {
		t.Helper()
		out, err := p.Transform(t.Context(), samples...)
		if err != nil {
			t.Fatal(err)
		}
		if got := volumes(out); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	f("", counter(0, 10))
	f("5", counter(10, 15))
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Restart()
	f("7", counter(20, 22))
	data, err := transformtest.Batch(t, counter(30, 30), counter(40, 31)).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		out, err := p.TransformBatch(t.Context(), data)
		if err != nil || volumes(out) != "8 1" {
			t.Fatal(volumes(out), err)
		}
		p.Kill()
		p.Restart()
	}
	f("4", counter(50, 35))
}

func TestSampleIsValid(t *testing.T) {
	if err := transformtest.CheckSample(Plugin()); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkTransform(b *testing.B) { transformtest.Bench(b, Plugin(), ``) }
