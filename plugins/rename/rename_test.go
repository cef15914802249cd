package rename

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/plugins/internal/transformtest"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

func of(name, unit, resource string, metadata sdk.Metadata) sdk.Sample {
	return sdk.Sample{
		Name: name, Type: sdk.Gauge, Unit: unit, Volume: 7, ResourceID: resource, ProjectID: "p", UserID: "u", Source: "s",
		Timestamp: time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC), Monotonic: time.Hour, Metadata: metadata,
	}
}

func TestMeters(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		var got []string
		out := transformtest.Start(t, Plugin(), toml, nil).Run(of("cpu_util", "%", "vm", nil), of("disk.device.read", "B", "vm", nil), of("disk.read", "B", "vm", nil))
		for _, s := range out {
			got = append(got, s.Name+" "+s.Unit)
			if s.Volume != 7 || s.Monotonic != time.Hour || s.Timestamp.Nanosecond() != 8 || s.ResourceID != "vm" {
				t.Errorf("%s: %+v", toml, s)
			}
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s: %s, want %s", toml, text, want)
		}
	}
	f(``, "cpu_util %, disk.device.read B, disk.read B")
	f(`names = { cpu_util = "cpu.percent", "disk.read" = "read" }`, "cpu.percent %, disk.device.read B, read B")
	f(`units = { B = "byte" }`, "cpu_util %, disk.device.read byte, disk.read byte")
	f(`units = { B = "" }`, "cpu_util %, disk.device.read , disk.read ")
	mapping := "source = { map_from = { name = '^disk\\.(device)?\\.?' } }\ntarget = { map_to = { name = 'vm.disk.' } }\n"
	f(mapping, "cpu_util %, vm.disk.read B, vm.disk.read B")
	f(mapping+`names = { "disk.read" = "read" }`, "cpu_util %, vm.disk.read B, read B")
	f(`names = { cpu_util = "disk.read", "disk.read" = "cpu_util" }`, "disk.read %, disk.device.read B, cpu_util B") // once
	f("source = { unit = \"B\" }\ntarget = { name = \"bytes\" }", "cpu_util %, bytes B, bytes B")
}

func TestResources(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		metadata := sdk.Metadata{"tenant_id": "t-9", "n": int64(3), "display_name": "web", "flavor": map[string]any{"name": "m1"}}
		out := transformtest.Start(t, Plugin(), toml, nil).Run(of("cpu", "%", "vm", metadata), of("mem", "MB", "vm", metadata), of("cpu", "%", "node", nil))
		if len(out) != 3 || out[0].ResourceID != out[1].ResourceID || out[0].ProjectID != out[1].ProjectID {
			t.Errorf("%s: %+v", toml, out)
			return
		}
		var got []string
		for _, s := range []sdk.Sample{out[0], out[2]} {
			text, err := json.Marshal(s.Metadata)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, s.ResourceID+" "+s.ProjectID+" "+s.UserID+" "+s.Source+" "+string(text))
		}
		if text := strings.Join(got, "\n"); text != want {
			t.Errorf("%s:\n%s, want\n%s", toml, text, want)
		}
	}
	same := `{"display_name":"web","flavor":{"name":"m1"},"n":3,"tenant_id":"t-9"}`
	f(``, "vm p u s "+same+"\nnode p u s null")
	f(`set = { project_id = "resource_metadata.tenant_id" }`, "vm t-9 u s "+same+"\nnode p u s null")
	f(`set = { project_id = "resource_metadata.n", user_id = "project_id", source = "'dc1'" }`, "vm 3 p dc1 "+same+"\nnode p p dc1 null")
	f(`set = { resource_id = "project_id + '/' + resource_id" }`, "p/vm p u s "+same+"\np/node p u s null")
	f(`metadata = { display_name = "vm_name" }`, `vm p u s {"flavor":{"name":"m1"},"n":3,"tenant_id":"t-9","vm_name":"web"}`+"\nnode p u s null")
	f(`metadata = { display_name = "n", n = "display_name" }`, `vm p u s {"display_name":3,"flavor":{"name":"m1"},"n":"web","tenant_id":"t-9"}`+"\nnode p u s null")
	f(`set_metadata = { site = "'b'", flavor = "resource_metadata.flavor?.name", x = "resource_metadata.missing" }`,
		`vm p u s {"display_name":"web","flavor":"m1","n":3,"site":"b","tenant_id":"t-9"}`+"\nnode p u s "+`{"site":"b"}`)
	f("metadata = { n = \"m\" }\nset_metadata = { n = \"resource_metadata.n * 2\" }",
		`vm p u s {"display_name":"web","flavor":{"name":"m1"},"m":3,"n":6,"tenant_id":"t-9"}`+"\nnode p u s null")
}

func TestExpressionThatCannotBeComputed(t *testing.T) {
	var log strings.Builder
	in := transformtest.Start(t, Plugin(), `set = { project_id = "resource_metadata.flavor", user_id = "resource_metadata.flavor.name" }`, slog.NewTextHandler(&log, nil))
	for range 3 {
		out := in.Run(of("cpu", "%", "vm", sdk.Metadata{"flavor": map[string]any{"name": "m1"}}), of("cpu", "%", "node", nil))
		if len(out) != 2 || out[0].ProjectID != "p" || out[0].UserID != "m1" || out[1].UserID != "u" {
			t.Fatalf("%+v", out)
		}
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "an object or a list") {
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
	f(`names = { a = "" }`, "test.toml:1:11: names.a: must not be empty")
	f("metadata = { a = \"\" }\nset = { project_id = \"volume\" }\nset_metadata = { x = \"1 +\" }",
		"test.toml:1:14: metadata.a: must not be empty", "test.toml:2:9: set.project_id: may use fields of the resource only",
		"test.toml:3:18: set_metadata.x: unexpected token")
	f(`set = { projct_id = "'x'" }`, `did you mean "project_id"?`)
	f(`source = { map_from = { name = 'x' } }`, "has no target.map_to.name")
}

func TestThroughTheProtocol(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Config: "names = { cpu = \"vm.cpu\" }\nset = { source = \"'dc'\" }", Meters: []string{"cpu"}})
	out, err := p.Transform(t.Context(), of("cpu", "%", "vm", sdk.Metadata{"a": "b"}), of("mem", "MB", "vm", sdk.Metadata{"a": "b"}))
	if err != nil || len(out) != 2 || out[0].Name != "vm.cpu" || out[0].Source != "dc" || out[0].Metadata["a"] != "b" || out[1].Source != "s" {
		t.Fatalf("%+v, %v", out, err)
	}
}

func TestSampleIsValid(t *testing.T) {
	if err := transformtest.CheckSample(Plugin()); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkTransform(b *testing.B) {
	for name, toml := range map[string]string{
		"names": `names = { "disk.device.counter.3" = "x" }`,
		"set":   `set = { project_id = "resource_metadata.host" }`,
	} {
		b.Run(name, func(b *testing.B) { transformtest.Bench(b, Plugin(), toml) })
	}
}
