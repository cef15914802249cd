package rateofchange

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/plugins/internal/transformtest"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func cpu(seconds, volume float64) sdk.Sample {
	return sdk.Sample{
		Name: "cpu", Type: sdk.Cumulative, Unit: "ns", Volume: volume, ResourceID: "vm-1", ProjectID: "p", UserID: "u",
		Timestamp: start.Add(time.Duration(seconds * float64(time.Second))), Metadata: sdk.Metadata{"vcpus": int64(2)},
	}
}

const cpuUtil = `target = { name = "cpu_util", unit = "%", type = "gauge", scale = "100.0 / (1e9 * (resource_metadata.vcpus ?? 1))", max = 100 }`

func volumes(samples []sdk.Sample) string {
	var texts []string
	for _, s := range samples {
		texts = append(texts, fmt.Sprint(s.Volume))
	}
	return strings.Join(texts, " ")
}

func TestRates(t *testing.T) {
	f := func(toml, want string, samples ...sdk.Sample) {
		t.Helper()
		// One batch, and a batch for each sample, come to the same.
		if got := volumes(transformtest.Start(t, Plugin(), toml, nil).Run(samples...)); got != want {
			t.Errorf("%s: rates %s, want %s", toml, got, want)
		}
		in := transformtest.Start(t, Plugin(), toml, nil)
		var one []sdk.Sample
		for _, s := range samples {
			one = append(one, in.Run(s)...)
		}
		if got := volumes(one); got != want {
			t.Errorf("%s: one by one %s, want %s", toml, got, want)
		}
	}
	as := func(typ sdk.Type, s sdk.Sample) sdk.Sample {
		s.Type = typ
		return s
	}
	f(``, "", cpu(0, 100))
	f(``, "5", cpu(0, 100), cpu(10, 150))
	f(``, "0", cpu(0, 100), cpu(10, 100))
	f(``, "5 4", cpu(0, 100), cpu(10, 150), cpu(10, 150), cpu(20, 190)) // a duplicate gives no rate of 0
	f(``, "5 4", cpu(0, 100), cpu(10, 150), cpu(5, 120), cpu(20, 190))  // nor does a late one
	f(``, "5 4 1", cpu(0, 100), cpu(10, 150), cpu(20, 40), cpu(30, 50)) // a counter that was reset
	f(``, "5 -11", as(sdk.Gauge, cpu(0, 100)), as(sdk.Gauge, cpu(10, 150)), as(sdk.Gauge, cpu(20, 40)))
	f(`target = { scale = 2 }`, "10", cpu(0, 100), cpu(10, 150)) // not 2 x 150 x 5
	f(`target = { scale = 0.5 }`, "2.5", cpu(0, 100), cpu(10, 150))
	f(`target = { scale = "2" }`, "10", cpu(0, 100), cpu(10, 150))
	f(`target = { scale = "volume" }`, "750", cpu(0, 100), cpu(10, 150))
	f(`target = { max = 4.5 }`, "4.5 4", cpu(0, 100), cpu(10, 150), cpu(20, 190))
	// 2 CPUs, busy for 10 s and 30 s of 10 s.
	f(cpuUtil, "50 100", cpu(0, 0), cpu(10, 10e9), cpu(20, 40e9))
}

func TestMetersAndResources(t *testing.T) {
	f := func(toml string, in, want sdk.Meter) {
		t.Helper()
		a, b := cpu(0, 1), cpu(1, 2)
		a.Name, a.Type, a.Unit = in.Name, in.Type, in.Unit
		b.Name, b.Type, b.Unit = in.Name, in.Type, in.Unit
		out := transformtest.Start(t, Plugin(), toml, nil).Run(a, b)
		if len(out) != 1 {
			t.Fatalf("%d samples", len(out))
		}
		s := out[0]
		if got := (sdk.Meter{Name: s.Name, Type: s.Type, Unit: s.Unit}); got != want {
			t.Errorf("%s makes %v of %v, want %v", toml, got, in, want)
		}
		if s.ResourceID != "vm-1" || s.ProjectID != "p" || s.UserID != "u" || s.Metadata["vcpus"] != int64(2) || !s.Timestamp.Equal(b.Timestamp) {
			t.Errorf("resource or time changed: %+v", s)
		}
	}
	disk := sdk.Meter{Name: "disk.device.read.bytes", Type: sdk.Cumulative, Unit: "B"}
	f(``, disk, sdk.Meter{Name: "disk.device.read.bytes.rate", Type: sdk.Gauge, Unit: "B/s"})
	f(`target = { name = "x", unit = "y", type = "delta" }`, disk, sdk.Meter{Name: "x", Type: sdk.Delta, Unit: "y"})
	f(`source = { map_from = { name = '(disk\.device|disk)\.(read|write)\.(bytes|requests)', unit = '(B|request)' } }
		target = { map_to = { name = '\1.\2.\3.per_second', unit = '\1/s' } }`,
		disk, sdk.Meter{Name: "disk.device.read.bytes.per_second", Type: sdk.Gauge, Unit: "B/s"})
	f(``, sdk.Meter{Name: "n", Type: sdk.Cumulative}, sdk.Meter{Name: "n.rate", Type: sdk.Gauge, Unit: "1/s"})
}

func TestOtherUnitsPassUnchanged(t *testing.T) {
	in := transformtest.Start(t, Plugin(), `source = { unit = "B" }`, nil)
	if out := in.Run(cpu(0, 100), cpu(10, 150)); len(out) != 2 || out[1].Name != "cpu" || out[1].Volume != 150 {
		t.Fatalf("%+v", out)
	}
}

// Each meter of each resource has a history of its own.
func TestSeriesAreApart(t *testing.T) {
	var samples []sdk.Sample
	for i := range 3 {
		for r := range 5 {
			for m := range 4 {
				s := cpu(float64(10*i), float64(i*(r*10+m)*10))
				s.ResourceID, s.Name = fmt.Sprint("vm-", r), fmt.Sprint("meter", m)
				samples = append(samples, s)
			}
		}
	}
	out := transformtest.Start(t, Plugin(), ``, nil).Run(samples...)
	if len(out) != 40 {
		t.Fatalf("%d rates, want 40", len(out))
	}
	for i, s := range out {
		if want := float64(i%20/4*10 + i%4); s.Volume != want || s.ResourceID != fmt.Sprint("vm-", i%20/4) || s.Name != fmt.Sprintf("meter%d.rate", i%4) {
			t.Fatalf("rate %d: %+v, want %v", i, s, want)
		}
	}
}

func TestScaleThatCannotBeComputed(t *testing.T) {
	var log strings.Builder
	in := transformtest.Start(t, Plugin(), `target = { scale = "100.0 / resource_metadata.vcpus" }`, slog.NewTextHandler(&log, nil))
	for i := range 5 {
		good, bad := cpu(float64(i), float64(i)), cpu(float64(i), float64(i))
		bad.ResourceID, bad.Metadata = "vm-2", sdk.Metadata{}
		out := in.Run(good, bad)
		if want := min(i, 1); len(out) != want {
			t.Fatalf("%d rates, want %d", len(out), want)
		}
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "vm-2") || !strings.Contains(log.String(), "?? gives a default") {
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
		if len(want) == 0 && err != nil {
			t.Errorf("%s: %v", toml, err)
		}
	}
	f(cpuUtil)
	f(`target = { scale = "1 +" }`, "test.toml:1:12: target.scale: unexpected token EOF")
	f(`target = { scale = "vcpus * 2" }`, "target.scale: unknown name vcpus")
	f(`target = { type = "rate" }`, `test.toml:1:12: target.type:`, `"rate" is none of gauge, delta, cumulative`)
	f("source = { map_from = { name = '(' } }\ntarget = { map_to = { name = 'x' }, scale = 0 }",
		"test.toml:1:25: source.map_from.name: error parsing", "test.toml:2:37: target.scale: must be a finite")
	f(`target = { nmae = "x" }`, `did you mean "name"?`)
	f(`expire = "-1s"`, "must not be negative")
}

// What a rate should be, computed in the plainest way from all samples of a
// series in the order in which they came.
func reference(samples []sdk.Sample) (rates []float64) {
	var last *sdk.Sample
	for _, s := range samples {
		if last == nil {
			last = &s
			continue
		}
		dt := s.Timestamp.Sub(last.Timestamp).Seconds()
		if dt <= 0 {
			continue
		}
		dv := s.Volume - last.Volume
		if s.Volume < last.Volume {
			dv = s.Volume
		}
		rates = append(rates, dv/dt)
		last = &s
	}
	return rates
}

func TestRandomSeriesAgainstReference(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		in := transformtest.Start(t, Plugin(), ``, nil)
		series := map[string][]sdk.Sample{}
		got := map[string][]float64{}
		seconds, counter := 0.0, map[string]float64{}
		for range 20 {
			var batch []sdk.Sample
			for range 1 + random.IntN(30) {
				s := cpu(seconds, 0)
				s.ResourceID = fmt.Sprint("vm-", random.IntN(4))
				switch random.IntN(10) {
				case 0: // reset
					counter[s.ResourceID] = 0
				case 1: // late
					s.Timestamp = s.Timestamp.Add(-time.Duration(random.IntN(30)) * time.Second)
				case 2: // same time as the one before
				default:
					seconds += random.Float64() * 10
				}
				counter[s.ResourceID] += float64(random.IntN(1000))
				s.Volume = counter[s.ResourceID]
				batch = append(batch, s)
				series[s.ResourceID] = append(series[s.ResourceID], s)
			}
			for _, s := range in.Run(batch...) {
				got[s.ResourceID] = append(got[s.ResourceID], s.Volume)
			}
		}
		for r, samples := range series {
			want := reference(samples)
			if len(got[r]) != len(want) {
				t.Fatalf("seed %d, %s: %d rates, want %d", seed, r, len(got[r]), len(want))
			}
			for i := range want {
				if math.Abs(got[r][i]-want[i]) > 1e-6*math.Max(1, math.Abs(want[i])) {
					t.Fatalf("seed %d, %s: rate %d is %v, want %v", seed, r, i, got[r][i], want[i])
				}
			}
		}
	}
}

// A plugin that is stopped, or killed, goes on with the sample it had seen last.
func TestRestart(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Config: cpuUtil, StateDir: filepath.Join(t.TempDir(), "state")})
	f := func(want string, samples ...sdk.Sample) {
		t.Helper()
		out, err := p.Transform(t.Context(), samples...)
		if err != nil {
			t.Fatal(err)
		}
		if got := volumes(out); got != want {
			t.Fatalf("rates %q, want %q", got, want)
		}
	}
	f("", cpu(0, 0))
	f("50", cpu(10, 10e9))
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Restart()
	f("25", cpu(20, 15e9))
	p.Kill()
	p.Restart()
	f("10", cpu(30, 17e9))
}

// A batch that is given again gives the same rates again.
func TestRedelivery(t *testing.T) {
	p := sdktest.Start(t, ``)
	give := func(b *sdk.Batch, want string) {
		t.Helper()
		data, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		out, err := p.TransformBatch(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		if got := volumes(out); got != want {
			t.Fatalf("rates %q, want %q", got, want)
		}
	}
	give(transformtest.Batch(t, cpu(0, 0)), "")
	again := transformtest.Batch(t, cpu(10, 50), cpu(20, 70))
	give(again, "5 2")
	p.Kill() // before its answer was taken, as far as the host knows
	p.Restart()
	again = redecode(t, again)
	give(again, "5 2")
	give(redecode(t, again), "5 2")
	give(transformtest.Batch(t, cpu(30, 100)), "3")
}

// redecode undoes what encoding a batch did to its columns.
func redecode(t *testing.T, b *sdk.Batch) *sdk.Batch {
	t.Helper()
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = sdk.DecodeBatch(data); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMetersThatAreNotSelectedPass(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Meters: []string{"cpu"}})
	memory := cpu(0, 7)
	memory.Name, memory.Type = "memory", sdk.Gauge
	out, err := p.Transform(t.Context(), cpu(0, 0), memory, cpu(10, 50))
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 2 || out[0].Name != "cpu.rate" || out[0].Volume != 5 || out[1].Name != "memory" || out[1].Volume != 7 {
		t.Fatalf("%+v", out)
	}
}

func TestSampleIsValid(t *testing.T) {
	if err := transformtest.CheckSample(Plugin()); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkTransform(b *testing.B) {
	for name, toml := range map[string]string{"plain": ``, "cpu_util": cpuUtil} {
		b.Run(name, func(b *testing.B) { transformtest.Bench(b, Plugin(), toml) })
	}
	b.Run("process", func(b *testing.B) { transformtest.BenchProcess(b, ``) })
}
