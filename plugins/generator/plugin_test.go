package generator

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

func poll(t *testing.T, p *sdktest.Plugin) []sdk.Sample {
	t.Helper()
	samples, err := p.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return samples
}

func TestCounters(t *testing.T) {
	p := sdktest.Start(t, "resources = 7\nmeter_count = 3\nsamples = 50")
	type series struct{ resource, meter string }
	seen := map[series]sdk.Sample{}
	n := 0
	for range 4 {
		for _, s := range poll(t, p) {
			n++
			var m int
			if _, err := fmt.Sscanf(s.Name, "generator.counter.%d", &m); err != nil || m > 2 {
				t.Fatalf("meter %s", s.Name)
			}
			seconds := float64(s.Timestamp.UnixNano()) / 1e9
			if want := float64(m+1) * seconds; math.Abs(s.Volume-want) > 1e-5 {
				t.Errorf("%s has volume %f at %v, want %f", s.Name, s.Volume, s.Timestamp, want)
			}
			key := series{s.ResourceID, s.Name}
			if before, ok := seen[key]; ok && (!s.Timestamp.After(before.Timestamp) || s.Monotonic <= before.Monotonic) {
				t.Errorf("%v at %v (%v) follows %v (%v)", key, s.Timestamp, s.Monotonic, before.Timestamp, before.Monotonic)
			}
			if s.Type != sdk.Cumulative || s.Unit != "B" {
				t.Errorf("%s has type %v and unit %s", s.Name, s.Type, s.Unit)
			}
			seen[key] = s
		}
	}
	if n != 200 || len(seen) != 21 {
		t.Errorf("%d samples of %d series, want 200 of 21", n, len(seen))
	}
}

func TestPayloads(t *testing.T) {
	f := func(toml string, entries int, owned bool) {
		t.Helper()
		ids := map[string]bool{}
		for _, s := range poll(t, sdktest.Start(t, toml+"\nresources = 30\nsamples = 600")) {
			ids[s.ResourceID] = true
			if len(s.Metadata) != entries {
				t.Fatalf("%s: metadata %v, want %d entries", toml, s.Metadata, entries)
			}
			if owned != (len(s.ProjectID) == 32) || owned != (len(s.UserID) == 32) || owned != (s.Source == "openstack") || owned != (len(s.ResourceID) == 36) {
				t.Fatalf("%s: sample %+v", toml, s)
			}
		}
		if len(ids) != 30 {
			t.Errorf("%s: %d resources, want 30", toml, len(ids))
		}
	}
	f("", 6, true)
	f("payload = 'light'", 5, false)
	f("metadata_entries = 0", 0, true)
	f("payload = 'light'\nmetadata_entries = 9", 9, false)
}

func TestInstancesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range []string{"a", "b"} {
		for _, r := range resources("ceilometer", name, 100, 0) {
			seen[r.ID] = true
		}
	}
	if len(seen) != 200 {
		t.Errorf("%d different ids of 200", len(seen))
	}
}

func TestMetersOption(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Config: "samples = 100", Meters: []string{"*.0[12]"}})
	samples := poll(t, p)
	if len(samples) != 100 {
		t.Errorf("%d samples, want 100", len(samples))
	}
	for _, s := range samples {
		if s.Name != "generator.counter.01" && s.Name != "generator.counter.02" {
			t.Fatalf("meter %s", s.Name)
		}
	}
	_, err := sdktest.Launch(t, sdktest.Options{Config: "", Meters: []string{"cpu"}})
	if err == nil || !strings.Contains(err.Error(), "selects none of generator.counter.00 to generator.counter.19") {
		t.Errorf("error %v", err)
	}
}

func TestAsManyAsFit(t *testing.T) {
	for _, toml := range []string{"samples = 0", "samples = 0\nnumbered = true"} {
		p := sdktest.StartWith(t, sdktest.Options{Config: toml, Interval: 300 * time.Millisecond})
		// On a busy machine few may fit into one interval, but not into each.
		for begun := time.Now(); ; {
			start := time.Now()
			samples := poll(t, p)
			if took := time.Since(start); took < 270*time.Millisecond {
				t.Errorf("%s: the poll took %v", toml, took)
			}
			if len(samples) >= 1000 {
				break
			}
			if time.Since(begun) > time.Minute {
				t.Fatalf("%s: %d samples", toml, len(samples))
			}
		}
	}
	// The poll's deadline is before the end of the interval.
	g := &generator{interval: time.Hour}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if until, bounded := g.until(ctx); !bounded || time.Until(until) > 900*time.Millisecond {
		t.Errorf("until %v", until)
	}
	if _, err := sdktest.Start(t, "samples = 0").Poll(t.Context()); err == nil {
		t.Error("polled without an interval to fill")
	}
}

func TestNumbers(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Config: "numbered = true\nsamples = 2500", Instance: "loss"})
	next := 1.0
	last := time.Time{}
	expect := func() {
		t.Helper()
		samples := poll(t, p)
		if len(samples) != 2500 {
			t.Errorf("%d samples, want 2500", len(samples))
		}
		for _, s := range samples {
			if s.Volume != next || s.ResourceID != "loss" || s.Name != "generator.number" || s.Type != sdk.Gauge {
				t.Fatalf("sample %+v, want number %v", s, next)
			}
			if !s.Timestamp.After(last) {
				t.Fatalf("number %v at %v, the one before at %v", next, s.Timestamp, last)
			}
			next, last = s.Volume+1, s.Timestamp
		}
	}
	expect()
	expect()
	p.Kill()
	p.Restart()
	expect()
}

func TestNumbersFileIsBroken(t *testing.T) {
	dir := t.TempDir()
	if err := (&numbers{file: dir + "/last-number", last: 7}).save(); err != nil {
		t.Fatal(err)
	}
	n := &numbers{}
	if err := n.open(sdk.Env{StateDir: dir}); err != nil || n.last != 7 {
		t.Errorf("last %d, error %v", n.last, err)
	}
	if err := n.open(sdk.Env{StateDir: dir + "/last-number"}); err == nil {
		t.Error("opened a file as a folder")
	}
	_, err := parseNumber("x", "f")
	if err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("error %v", err)
	}
}

func TestOptionProblems(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		table, _ := config.Parse("t", []byte(toml))
		if err := config.Join(table.Decode(&generator{})); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", toml, err, want)
		}
	}
	text := strings.Replace(sample, "[[pollster.generator]]", "", 1)
	for _, o := range config.Options(&generator{}) {
		if !strings.Contains(text, "\n# "+o.Name+" ") {
			t.Errorf("the sample does not show option %s", o.Name)
		}
		text = strings.Replace(text, "\n# "+o.Name+" ", "\n"+o.Name+" ", 1)
	}
	f(text, "")
	f("numbered = true\nmetadata_entries = 3", "metadata_entries: numbered samples have no metadata")
	f("payload = 'heavy'", "not one of ceilometer, light")
	f("samples = -1", "out of range")
}

// BenchmarkPoll includes what the SDK does with the samples: building and encoding
// batches (and decoding them, which is sdk.Build's way to hand them over).
func BenchmarkPoll(b *testing.B) {
	for _, toml := range []string{"payload = 'ceilometer'", "payload = 'light'", "numbered = true"} {
		b.Run(toml, func(b *testing.B) {
			table, _ := config.Parse("b", []byte("samples = 20000\nresources = 1000\n"+toml))
			g := &generator{}
			if problems := table.Decode(g); len(problems) > 0 {
				b.Fatal(problems)
			}
			if err := g.Start(b.Context(), sdk.Env{Instance: "b"}); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := sdk.Build("b", func(out *sdk.Builder) error { return g.Poll(b.Context(), out) }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20000, "ns/sample")
		})
	}
}
