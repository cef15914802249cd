package unitconversion

import (
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/plugins/internal/transformtest"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

func temperature(volume float64, unit string) sdk.Sample {
	return sdk.Sample{
		Name: "hardware.temperature", Type: sdk.Gauge, Unit: unit, Volume: volume, ResourceID: "node-1", ProjectID: "p", Source: "dc",
		Timestamp: time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC), Monotonic: time.Minute, Metadata: sdk.Metadata{"offset": "1.5"},
	}
}

func TestConversions(t *testing.T) {
	f := func(toml string, in sdk.Sample, wantVolume float64, want sdk.Meter) {
		t.Helper()
		out := transformtest.Start(t, Plugin(), toml, nil).Run(in)
		if len(out) != 1 {
			t.Errorf("%s: %d samples", toml, len(out))
			return
		}
		s := out[0]
		if got := (sdk.Meter{Name: s.Name, Type: s.Type, Unit: s.Unit}); got != want || math.Abs(s.Volume-wantVolume) > 1e-12 {
			t.Errorf("%s: %v %v, want %v %v", toml, s.Volume, got, wantVolume, want)
		}
		if s.ResourceID != in.ResourceID || s.ProjectID != in.ProjectID || s.Source != in.Source || !s.Timestamp.Equal(in.Timestamp) ||
			s.Monotonic != in.Monotonic || s.Metadata["offset"] != "1.5" {
			t.Errorf("%s: what is not converted changed: %+v", toml, s)
		}
	}
	name := "hardware.temperature"
	f(``, temperature(20, "C"), 20, sdk.Meter{Name: name, Unit: "C"})
	f(`target = { scale = 2 }`, temperature(20, "C"), 40, sdk.Meter{Name: name, Unit: "C"})
	f(`target = { unit = "F", scale = "volume * 1.8 + 32" }`, temperature(20, "C"), 68, sdk.Meter{Name: name, Unit: "F"})
	f(`target = { scale = "volume + number(resource_metadata.offset)" }`, temperature(20, "C"), 21.5, sdk.Meter{Name: name, Unit: "C"})
	f(`target = { scale = "number(resource_metadata.offset)" }`, temperature(20, "C"), 1.5, sdk.Meter{Name: name, Unit: "C"})
	f(`target = { name = "t", unit = "K", type = "cumulative", scale = 0.5, max = 9 }`, temperature(20, "C"), 9, sdk.Meter{Name: "t", Type: sdk.Cumulative, Unit: "K"})
	f("source = { unit = \"C\" }\ntarget = { unit = \"K\", scale = 2 }", temperature(20, "F"), 20, sdk.Meter{Name: name, Unit: "F"})
	f("source = { unit = \"C\" }\ntarget = { unit = \"K\", scale = 2 }", temperature(20, "C"), 40, sdk.Meter{Name: name, Unit: "K"})
	f("source = { map_from = { name = '^hardware\\.(.*)', unit = '^(.)$' } }\ntarget = { map_to = { name = 'hw.\\1', unit = 'deg\\1' } }",
		temperature(20, "C"), 20, sdk.Meter{Name: "hw.temperature", Unit: "degC"})
}

func TestSamplesThatCannotBeConverted(t *testing.T) {
	var log strings.Builder
	in := transformtest.Start(t, Plugin(), `target = { scale = "10 / volume" }`, slog.NewTextHandler(&log, nil))
	out := in.Run(temperature(5, "C"), temperature(0, "C"), temperature(0, "C"), temperature(2, "C"))
	if len(out) != 2 || out[0].Volume != 2 || out[1].Volume != 5 {
		t.Fatalf("%+v", out)
	}
	in = transformtest.Start(t, Plugin(), `target = { scale = 10 }`, slog.NewTextHandler(&log, nil))
	if out := in.Run(temperature(math.MaxFloat64, "C")); len(out) != 0 {
		t.Fatalf("%+v", out)
	}
	if strings.Count(log.String(), "\n") != 2 {
		t.Fatal(log.String())
	}
}

func TestConfigProblems(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		if err := transformtest.Check(Plugin(), toml); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", toml, err, want)
		}
	}
	f(`target = { scale = "1 / 1024.0" }`, "test.toml:1:12: target.scale: gives all samples the same volume")
	f(`target = { scale = [1] }`, "must be a number or an expression")
	f(`target = { scale = "volume / name" }`, "mismatched types")
	f(`source = { units = "B" }`, `did you mean "unit"?`)
}

func TestThroughTheProtocol(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Config: `target = { unit = "K", scale = "volume + 273" }`, Meters: []string{"hardware.*"}})
	other := temperature(1, "C")
	other.Name = "cpu"
	out, err := p.Transform(t.Context(), temperature(7, "C"), other)
	if err != nil || len(out) != 2 || out[0].Volume != 280 || out[0].Unit != "K" || out[1].Volume != 1 || out[1].Unit != "C" {
		t.Fatalf("%+v, %v", out, err)
	}
}

func TestSampleIsValid(t *testing.T) {
	if err := transformtest.CheckSample(Plugin()); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkTransform(b *testing.B) {
	for name, toml := range map[string]string{"number": `target = { scale = 8 }`, "expression": `target = { scale = "volume / 1024" }`} {
		b.Run(name, func(b *testing.B) { transformtest.Bench(b, Plugin(), toml) })
	}
}
