package filter

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/plugins/internal/transformtest"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

func of(name string, typ sdk.Type, resource string, volume float64, metadata sdk.Metadata) sdk.Sample {
	return sdk.Sample{
		Name: name, Type: typ, Volume: volume, ResourceID: resource, ProjectID: "p", Timestamp: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Metadata: metadata,
	}
}

func fleet() []sdk.Sample {
	one := sdk.Metadata{"status": "active", "vcpus": int64(2), "flavor": map[string]any{"name": "m1.tiny", "ram": 512.0}, "a.b": "dotted"}
	two := sdk.Metadata{"status": "paused", "vcpus": "4", "flavor": map[string]any{"name": "m1.large"}, "flag": true}
	return []sdk.Sample{
		of("cpu", sdk.Cumulative, "vm-1", 1, one), of("memory.usage", sdk.Gauge, "vm-1", 2, one),
		of("cpu", sdk.Cumulative, "vm-2", 3, two), of("memory.usage", sdk.Gauge, "vm-2", 4, two),
		of("cpu", sdk.Cumulative, "node", 5, nil),
	}
}

func volumes(samples []sdk.Sample) string {
	var text strings.Builder
	for _, s := range samples {
		text.WriteByte('0' + byte(s.Volume))
	}
	return text.String()
}

func TestConditions(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		if got := volumes(transformtest.Start(t, Plugin(), toml, nil).Run(fleet()...)); got != want {
			t.Errorf("%s: %s, want %s", toml, got, want)
		}
		rest := strings.Map(func(r rune) rune {
			if strings.ContainsRune(want, r) {
				return -1
			}
			return r
		}, "12345")
		if got := volumes(transformtest.Start(t, Plugin(), "action = \"drop\"\n"+toml, nil).Run(fleet()...)); got != rest {
			t.Errorf("drop %s: %s, want %s", toml, got, rest)
		}
	}
	f(``, "12345")
	f(`names = ["cpu"]`, "135")
	f(`names = ["!cpu"]`, "24")
	f(`names = ["*", "!memory.*"]`, "135")
	f(`resources = ["vm-*"]`, "1234")
	f(`types = ["gauge", "delta"]`, "24")
	f(`metadata = { status = ["active"] }`, "12")
	f(`metadata = { status = ["a*", "p*"] }`, "1234")
	f(`metadata = { status = ["!active"] }`, "345")
	f(`metadata = { status = ["*"] }`, "1234")
	f(`metadata = { vcpus = ["4"] }`, "34")
	f(`metadata = { vcpus = ["2"] }`, "12")
	f(`metadata = { flag = ["true"] }`, "34")
	f(`metadata = { "flavor.name" = ["m1.tiny"] }`, "12")
	f(`metadata = { "flavor.ram" = ["512"] }`, "12")
	f(`metadata = { "a.b" = ["dotted"] }`, "12")
	f(`metadata = { "flavor.name.x" = ["*"] }`, "")
	f(`metadata = { status = ["active"], vcpus = ["4"] }`, "")
	f(`where = "volume > 3"`, "45")
	f(`where = 'resource_metadata.vcpus >= 4'`, "34")
	f(`where = 'name == "cpu" and resource_id startsWith "vm"'`, "13")
	f(`where = 'timestamp.Year() == 2026'`, "12345")
	f("names = [\"cpu\"]\nresources = [\"vm-*\"]\nwhere = \"volume > 1\"", "3")
}

func TestConditionThatCannotBeComputed(t *testing.T) {
	for action, want := range map[string]string{"keep": "34", "drop": "125"} {
		var log strings.Builder
		in := transformtest.Start(t, Plugin(), "where = \"resource_metadata.vcpus > 3\"\naction = \""+action+`"`, slog.NewTextHandler(&log, nil))
		for range 3 {
			if got := volumes(in.Run(fleet()...)); got != want {
				t.Errorf("%s: %s, want %s", action, got, want)
			}
		}
		if strings.Count(log.String(), "\n") != 1 {
			t.Error(log.String())
		}
	}
}

func TestMetadata(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		out := transformtest.Start(t, Plugin(), toml, nil).Run(fleet()...)
		if volumes(out) != "12345" {
			t.Errorf("%s: samples %s", toml, volumes(out))
		}
		keys := func(s sdk.Sample) string { return strings.Join(slices.Sorted(maps.Keys(s.Metadata)), " ") }
		if got := keys(out[0]) + "; " + keys(out[2]) + ";" + keys(out[4]); got != want {
			t.Errorf("%s: %s, want %s", toml, got, want)
		}
		if status, ok := out[1].Metadata["status"]; ok && status != "active" {
			t.Errorf("%s: %v", toml, out[1].Metadata)
		}
	}
	f(``, "a.b flavor status vcpus; flag flavor status vcpus;")
	f(`metadata_drop = ["fla*"]`, "a.b status vcpus; status vcpus;")
	f(`metadata_keep = ["status", "vcpus"]`, "status vcpus; status vcpus;")
	f("metadata_keep = [\"*s*\"]\nmetadata_drop = [\"vcpus\"]", "status; status;")
	f(`metadata_drop = ["*"]`, "; ;")
	f(`metadata_drop = ["nothing"]`, "a.b flavor status vcpus; flag flavor status vcpus;")
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
	f(`action = "delete"`, "action")
	f("names = [\"[\"]\nresources = [\"\"]\nmetadata = { x = [\"[\"] }\nwhere = \"volume\"",
		"test.toml:1:1: names: pattern", "test.toml:2:1: resources: pattern", "test.toml:3:14: metadata.x: pattern",
		"test.toml:4:1: where: gives a number, must give true or false")
	f("metadata_keep = [\"[\"]", "metadata_keep: pattern")
	f("metadata_drop = [\"[\"]", `metadata_drop: pattern "["`)
	f(`types = ["rate"]`, "is none of gauge, delta, cumulative")
	f(`metadata = { status = "active" }`, `write ["active"]`)
}

func TestThroughTheProtocol(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Config: "action = \"drop\"\nwhere = \"volume < 3\"\nmetadata_drop = [\"flavor\"]", Meters: []string{"cpu"}})
	out, err := p.Transform(t.Context(), fleet()...)
	if err != nil || volumes(out) != "3524" || out[0].Metadata["flavor"] != nil || out[2].Metadata["flavor"] == nil {
		t.Fatal(volumes(out), out, err)
	}
}

func TestSampleIsValid(t *testing.T) {
	if err := transformtest.CheckSample(Plugin()); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkTransform(b *testing.B) {
	for name, toml := range map[string]string{
		"names":         `names = ["*", "!disk.device.counter.3"]`,
		"metadata":      `metadata = { status = ["active"] }`,
		"where volume":  `where = "volume >= 0"`,
		"metadata_drop": `metadata_drop = ["flavor"]`,
	} {
		b.Run(name, func(b *testing.B) { transformtest.Bench(b, Plugin(), toml) })
	}
}
