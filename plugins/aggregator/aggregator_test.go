package aggregator

import (
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/plugins/internal/derive"
	"github.com/nephoscope/nepho/plugins/internal/transformtest"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func of(typ sdk.Type, seconds int, volume float64) sdk.Sample {
	return sdk.Sample{
		Name: "m", Type: typ, Unit: "B", Volume: volume, ResourceID: "vm-1", ProjectID: "p", UserID: "u", Source: "s",
		Timestamp: start.Add(time.Duration(seconds) * time.Second), Metadata: sdk.Metadata{"at": int64(seconds)},
	}
}

func with(s sdk.Sample, change func(*sdk.Sample)) sdk.Sample {
	change(&s)
	return s
}

// text shows what the tests look at: volume, time and who.
func text(samples []sdk.Sample) string {
	var texts []string
	for _, s := range samples {
		texts = append(texts, fmt.Sprintf("%s=%v%s@%v/%s/%s/%v", s.Name, s.Volume, s.Unit, s.Timestamp.Sub(start).Seconds(), s.ProjectID, s.UserID, s.Metadata["at"]))
	}
	return strings.Join(texts, " ")
}

func TestAggregates(t *testing.T) {
	f := func(toml, want string, samples ...sdk.Sample) {
		t.Helper()
		if got := text(transformtest.Start(t, Plugin(), toml, nil).Run(samples...)); got != want {
			t.Errorf("%s:\n%s, want\n%s", toml, got, want)
		}
	}
	gauges := []sdk.Sample{of(sdk.Gauge, 0, 1), of(sdk.Gauge, 10, 2), of(sdk.Gauge, 20, 6)}
	deltas := []sdk.Sample{of(sdk.Delta, 0, 1), of(sdk.Delta, 10, 2), of(sdk.Delta, 20, 6)}
	counters := []sdk.Sample{of(sdk.Cumulative, 0, 1), of(sdk.Cumulative, 10, 2), of(sdk.Cumulative, 20, 6)}
	f(``, "m=3B@0/p/u/20", gauges...)
	f(``, "m=9B@0/p/u/20", deltas...)
	f(``, "m=6B@0/p/u/20", counters...)
	f(`timestamp = "last"`, "m=3B@20/p/u/20", gauges...)
	f(`resource_metadata = "first"`, "m=3B@0/p/u/0", gauges...)
	f(`resource_metadata = "drop"`, "m=3B@0/p/u/<nil>", gauges...)
	f(`size = 3`, "m=3B@0/p/u/20", gauges...)
	f(`size = 4`, "", gauges...)

	// A new name must not keep gauges from being divided.
	f(`target = { name = "mean", unit = "KB", scale = 0.5 }`, "mean=1.5KB@0/p/u/20", gauges...)
	f(`target = { scale = "volume * 2", max = 5 }`, "m=5B@0/p/u/20", gauges...)

	// First and last go by time, not by arrival.
	late := []sdk.Sample{of(sdk.Cumulative, 10, 2), of(sdk.Cumulative, 20, 6), of(sdk.Cumulative, 0, 1)}
	f(``, "m=6B@0/p/u/20", late...)
	f("timestamp = \"last\"\nresource_metadata = \"first\"", "m=6B@20/p/u/0", late...)
	f(`source = { unit = "MB" }`, "m=2B@10/p/u/10 m=6B@20/p/u/20 m=1B@0/p/u/0", late...)
}

func TestWhatIsKeptApart(t *testing.T) {
	f := func(toml, want string, change func(*sdk.Sample)) {
		t.Helper()
		in := transformtest.Start(t, Plugin(), toml, nil)
		if got := text(in.Run(of(sdk.Gauge, 0, 1), with(of(sdk.Gauge, 10, 3), change))); got != want {
			t.Errorf("%s:\n%s, want\n%s", toml, got, want)
		}
	}
	f(``, "m=1B@0/p/u/0 m=3B@10/p/u/10", func(s *sdk.Sample) { s.ResourceID = "vm-2" })
	f(``, "m=1B@0/p/u/0 n=3B@10/p/u/10", func(s *sdk.Sample) { s.Name = "n" })
	f(``, "m=1B@0/p/u/0 m=3KB@10/p/u/10", func(s *sdk.Sample) { s.Unit = "KB" })
	f(``, "m=3B@10/p/u/10 m=1B@0/p/u/0", func(s *sdk.Sample) { s.Type = sdk.Delta })
	f(``, "m=1B@0/p/u/0 m=3B@10/q/u/10", func(s *sdk.Sample) { s.ProjectID = "q" })
	f(``, "m=1B@0/p/u/0 m=3B@10/p/v/10", func(s *sdk.Sample) { s.UserID = "v" })
	other := func(s *sdk.Sample) { s.ProjectID, s.UserID = "q", "v" }
	f(`project_id = "first"`, "m=1B@0/p/u/0 m=3B@10/q/v/10", other)
	f("project_id = \"first\"\nuser_id = \"last\"", "m=2B@0/p/v/10", other)
	f("project_id = \"last\"\nuser_id = \"first\"", "m=2B@0/q/u/10", other)
}

func TestSizeCountsAllMetersAndResources(t *testing.T) {
	in := transformtest.Start(t, Plugin(), `size = 4`, nil)
	if out := in.Run(of(sdk.Gauge, 0, 1), with(of(sdk.Gauge, 0, 5), func(s *sdk.Sample) { s.ResourceID = "vm-2" })); len(out) != 0 {
		t.Fatal(text(out))
	}
	if out := in.Run(of(sdk.Gauge, 10, 3)); len(out) != 0 {
		t.Fatal(text(out))
	}
	if got := text(in.Run(of(sdk.Gauge, 20, 8))); got != "m=4B@0/p/u/20 m=5B@0/p/u/0" {
		t.Fatal(got)
	}
	if out := in.Run(of(sdk.Gauge, 30, 3)); len(out) != 0 {
		t.Fatal(text(out))
	}
}

func TestRetention(t *testing.T) {
	p := Plugin()
	impl := new(transformer)
	p.Transformer = func() sdk.Transformer { return impl }
	in := transformtest.Start(t, p, "size = 0\nretention = \"60s\"", nil)
	if impl.FlushInterval() != 6*time.Second {
		t.Fatal(impl.FlushInterval())
	}
	now := start
	impl.now = func() time.Time { return now }
	in.Run(of(sdk.Gauge, -10_000, 2)) // however old it is
	now = start.Add(50 * time.Second)
	in.Run(of(sdk.Gauge, 10, 4))
	if out := in.Flush(start.Add(59 * time.Second)); len(out) != 0 {
		t.Fatal(text(out))
	}
	if got := text(in.Flush(start.Add(60 * time.Second))); got != "m=3B@-10000/p/u/10" {
		t.Fatal(got)
	}
	if out := in.Flush(start.Add(time.Hour)); len(out) != 0 {
		t.Fatal(text(out))
	}
	// A clock that was set back.
	in.Run(of(sdk.Gauge, 20, 4))
	if out := in.Flush(start); len(out) != 1 {
		t.Fatal(text(out))
	}
}

func TestVolumesThatAreNoNumbers(t *testing.T) {
	var log strings.Builder
	in := transformtest.Start(t, Plugin(), ``, slog.NewTextHandler(&log, nil))
	out := in.Run(of(sdk.Delta, 0, math.NaN()), of(sdk.Delta, 0, 1), with(of(sdk.Delta, 0, math.MaxFloat64), func(s *sdk.Sample) { s.Name = "n" }),
		with(of(sdk.Delta, 0, math.MaxFloat64), func(s *sdk.Sample) { s.Name = "n" }))
	if got := text(out); got != "m=1B@0/p/u/0" || strings.Count(log.String(), "\n") != 1 {
		t.Fatal(got, log.String())
	}
}

func TestConfigProblems(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		if err := transformtest.Check(Plugin(), toml); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", toml, err, want)
		}
	}
	f(`size = 0`, "test.toml:1:1: size: is 0 and there is no retention")
	f(`size = -1`, "out of range")
	f(`project_id = "drop"`, "project_id")
	f(`target = { scale = "1.0" }`, "gives all samples the same volume")
	f(`retention_time = "1m"`, "unknown option")
}

// What is held survives a kill, and a batch that is given again counts once.
func TestRestart(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Config: "size = 4\ntarget = { name = \"sum\" }", Meters: []string{"m"}})
	give := func(b *sdk.Batch, want string) {
		t.Helper()
		data, err := b.Encode()
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
	give(transformtest.Batch(t, of(sdk.Delta, 0, 1), of(sdk.Delta, 1, 2)), "")
	give(transformtest.Batch(t, of(sdk.Delta, 2, 3)), "")
	give(transformtest.Batch(t, of(sdk.Delta, 3, 4)), "sum=10B@0/p/u/3")
	give(transformtest.Batch(t, of(sdk.Delta, 4, 5)), "")
}

func TestEncoding(t *testing.T) {
	a := aggregate{Held: derive.Held{Sample: of(sdk.Delta, 3, 0.1)}, count: 7, first: 1, last: 2, since: math.MaxInt64}
	data, err := a.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var got aggregate
	if err := got.UnmarshalBinary(data); err != nil || !reflect.DeepEqual(got, a) {
		t.Fatalf("%+v, %v", got, err)
	}
}

func FuzzAggregate(f *testing.F) {
	data, _ := aggregate{Held: derive.Held{Sample: of(sdk.Gauge, 0, 1)}, count: 1}.AppendBinary(nil)
	f.Add(data)
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a aggregate
		if a.UnmarshalBinary(data) == nil && a.count == 0 {
			t.Fatal("an aggregate of nothing")
		}
	})
}

func TestSampleIsValid(t *testing.T) {
	if err := transformtest.CheckSample(Plugin()); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkTransform(b *testing.B) {
	for name, toml := range map[string]string{"each batch": ``, "ten batches": `size = 10000`} {
		b.Run(name, func(b *testing.B) { transformtest.BenchProcess(b, toml) })
	}
}
