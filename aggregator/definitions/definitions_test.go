package definitions

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/sdk"
)

// load reads files of the given texts; "shipped" stands for what ships.
func load(t testing.TB, texts ...string) (*Definitions, string) {
	t.Helper()
	dir := t.TempDir()
	var files []string
	for i, text := range texts {
		if text == Shipped {
			files = append(files, Shipped)
			continue
		}
		file := filepath.Join(dir, string(rune('a'+i))+".toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	d, problems := Load(files, "low")
	var lines []string
	for _, p := range problems {
		lines = append(lines, strings.ReplaceAll(p.Error(), dir+"/", ""))
	}
	return d, strings.Join(lines, "\n")
}

func mustLoad(t testing.TB, texts ...string) *Definitions {
	t.Helper()
	d, problems := load(t, texts...)
	if problems != "" {
		t.Fatal(problems)
	}
	return d
}

func TestShippedTypes(t *testing.T) {
	d := mustLoad(t, Shipped)
	for meter, want := range map[string]string{
		"cpu": "instance", "cpu_util": "instance", "cpu.delta": "instance", "memory.usage": "instance", "power.state": "instance",
		"disk.root.size": "instance", "disk.read.bytes": "instance", "disk.device.read.bytes.rate": "instance_disk",
		"network.incoming.bytes": "instance_network_interface", "network.services.lb.pool": "loadbalancer",
		"image.size": "image", "volume.size": "volume", "volume.provider.capacity.free": "volume_provider",
		"volume.provider.pool.capacity.free": "volume_provider_pool", "storage.objects.size": "swift_account",
		"radosgw.objects": "ceph_account", "hardware.ipmi.node.power": "ipmi", "hardware.ipmi.temperature": "ipmi_sensor",
		"hardware.cpu.load.1min": "host", "hardware.disk.size.total": "host_disk", "hardware.network.ip.outgoing.datagrams": "host",
		"hardware.network.incoming.bytes": "host_network_interface", "compute.node.cpu.percent": "nova_compute",
		"compute.instance.booting.time": "instance", "switch": "switch", "switch.port": "switch_port", "switch.table.active.entries": "switch_table",
		"port.receive.bytes": "port", "ip.floating": "network", "bandwidth": "network", "identity.user.created": "identity", "stack.create": "stack",
		"manila.share.size": "manila_share", "host.cpu.busy": "host", "host.cpu.core.busy": "host_cpu", "host.disk.read.bytes": "host_disk",
		"host.filesystem.used": "host_filesystem", "host.network.incoming.bytes": "host_network_interface", "nepho.sink.spool": "nepho",
	} {
		if got, known := d.TypeOf(meter); got.Name != want || !known {
			t.Errorf("%s belongs to %s (known: %v) instead of %s", meter, got.Name, known, want)
		}
	}
	if got, known := d.TypeOf("memoryless"); known || got.Name != Generic {
		t.Errorf("an unknown meter belongs to %s", got.Name)
	}
	for typ, want := range map[sdk.Type]string{sdk.Gauge: "nepho-gauge", sdk.Cumulative: "nepho-counter", sdk.Delta: "nepho-delta"} {
		if got := d.PolicyOf("x", typ); got != want {
			t.Errorf("%v samples have the policy %q instead of %q", typ, got, want)
		}
	}
	for _, p := range d.Policies {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}

func TestLaterFilesOverrule(t *testing.T) {
	d := mustLoad(t, Shipped, `
[[policy]]
name       = "nepho-gauge"
methods    = ["mean"]
back_window = 2
definition = [{ granularity = "1s", points = 60 }, { granularity = "1h" }]
[[metric]]
names  = ["disk.*", "!disk.device.*"]
policy = "low"
[[resource]]
type    = "instance"
metrics = ["network.incoming.packets", "gpu.*", "disk.device.*"]
[resource.attributes]
host = { type = "string", max_length = 9, from = ["source"] }
gpu  = { type = "number" }
`)
	for meter, want := range map[string]string{
		"network.incoming.packets": "instance", "network.incoming.bytes": "instance_network_interface", "gpu.util": "instance", "disk.device.x": "instance",
	} {
		if got, _ := d.TypeOf(meter); got.Name != want {
			t.Errorf("%s belongs to %s instead of %s", meter, got.Name, want)
		}
	}
	if p := d.PolicyOf("disk.read", sdk.Cumulative); p != "low" {
		t.Errorf("policy %q", p)
	}
	if p := d.PolicyOf("disk.device.read", sdk.Cumulative); p != "nepho-counter" {
		t.Errorf("policy %q", p)
	}
	p := d.Policies[0]
	if p.Name != "nepho-gauge" || p.BackWindow != 2 || len(p.Methods.List()) != 1 || p.Definitions[0].Points != 60 || p.Definitions[1].Points != 0 {
		t.Errorf("policy %+v", p)
	}
	described := d.Type("instance").Describe(&sdk.Resource{Source: "s", Metadata: sdk.Metadata{"gpu": "2", "display_name": "n"}}, nil)
	if want := map[string]any{"host": "s", "gpu": 2.0, "display_name": "n"}; !reflect.DeepEqual(described, want) {
		t.Errorf("described as %v", described)
	}
}

func TestProblems(t *testing.T) {
	f := func(want string, texts ...string) {
		t.Helper()
		if d, got := load(t, texts...); got != strings.TrimSpace(want) || d != nil {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	}
	f(`a.toml:3:1: resource.metricz: unknown option (did you mean "metrics"?)`, "[[resource]]\ntype = 'x'\nmetricz = []")
	f(`a.toml:1:1: resource.type: required option is missing`, "[[resource]]")
	f(`a.toml:3:12: resource.metrics[0]: pattern "a[": has a [ without a ]
a.toml:4:12: resource.metrics[1]: "!b" excludes; here is what belongs to the type only`, "[[resource]]\ntype = 'x'\nmetrics = ['a[',\n           '!b']")
	f(`a.toml:2:1: metric.policy: no archive policy is called "hihg": add a [[policy]] with that name (did you mean "high"?)`,
		"[[metric]]\npolicy =  'hihg'\n[[policy]]\nname='high'\nmethods=['mean']\ndefinition=[{granularity='1s'}]")
	f(`a.toml:5:1: resource.type: resource type "x" is defined twice in this file
a.toml:6:12: resource.metrics[0]: metric "m" is defined twice in this file`, "[[resource]]\ntype='x'\nmetrics=['m']\n[[resource]]\ntype='x'\nmetrics = ['m']")
	f(`a.toml:3:20: policy.methods[1]: unknown aggregation method "men" (such as mean, min, max, last, sum, count, std, 95pct, rate:mean)
a.toml:4:37: policy.definition[0].timespan: is shorter than the granularity 1m
a.toml:4:58: policy.definition[1].granularity: 1m is there twice`,
		"[[policy]]\nname='p'\nmethods = ['mean', 'men']\ndefinition = [{ granularity = '1m', timespan = '1s' }, { granularity = '1m' }]")
	f(`a.toml:4:1: resource.attributes.id: every resource has an attribute of that name
a.toml:5:1: resource.attributes.n: min and max are limits of numbers, and its type is string
a.toml:6:15: resource.attributes.p.from[0]: path "metadata.x" begins with none of resource_metadata, project_id, user_id, source, resource_id
a.toml:6:29: resource.attributes.p.from[1]: path "project_id.x" is not like resource_metadata.flavor.name or project_id`,
		"[[resource]]\ntype = 'x'\n[resource.attributes]\nid = {}\nn = { min = 1 }\np = { from = ['metadata.x', 'project_id.x'] }\n")
	f(`a.toml:4:7: resource.attributes.t.type: "text" is not one of string, uuid, number, bool, datetime`, "[[resource]]\ntype = 'x'\n[resource.attributes]\nt = { type = 'text' }")
	f(`a.toml:3:1: resource.events: needs an id: the names of the traits that hold a resource's id`, "[[resource]]\ntype = 'x'\n[resource.events]\ncreate = ['a']")
	f(`b.toml:6:1: resource.events.attributes.hots: the resource type has no attribute "hots" (did you mean "host"?)
b.toml:7:10: resource.events.ends.instance_dis: resource type instance_dis has no attribute "instance_id", or is not defined`, Shipped,
		"[[resource]]\ntype = 'instance'\n[resource.events]\nid = ['i']\ndelete = ['x']\nattributes.hots = ['y']\nends = { instance_dis = 'instance_id' }")
	if _, problems := Load([]string{"/nowhere.toml"}); len(problems) != 1 || !strings.Contains(problems[0].Error(), "/nowhere.toml: cannot read") {
		t.Errorf("problems: %v", problems)
	}
}

func TestDescribe(t *testing.T) {
	d := mustLoad(t, `
[[resource]]
type = "x"
[resource.attributes]
s = { from = ["resource_metadata.a.b", "resource_metadata.c"], max_length = 5 }
u = { type = "uuid" }
n = { type = "number", min = 0 }
b = { type = "bool" }
d = { type = "datetime" }
p = { from = ["project_id"] }
`)
	f := func(m sdk.Metadata, want map[string]any, problems ...string) {
		t.Helper()
		var wrong []string
		got := d.Type("x").Describe(&sdk.Resource{ID: "r", Metadata: m}, func(name string, err error) { wrong = append(wrong, name+": "+err.Error()) })
		if want == nil {
			want = map[string]any{}
		}
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(wrong, problems) {
			t.Errorf("%v: got %v, %q; want %v, %q", m, got, wrong, want, problems)
		}
	}
	f(nil, nil)
	f(sdk.Metadata{"a": map[string]any{"b": "x"}, "c": "y"}, map[string]any{"s": "x"})
	f(sdk.Metadata{"a.b": int64(7)}, map[string]any{"s": "7"})
	f(sdk.Metadata{"a": nil, "c": 1.5}, map[string]any{"s": "1.5"})
	f(sdk.Metadata{"a": map[string]any{"b": nil}, "c": true}, map[string]any{"s": "True"})
	f(sdk.Metadata{"a": "flat", "c": ""}, map[string]any{"s": ""})
	f(sdk.Metadata{"c": "äöüßéx"}, nil, `s: äöüßéx: length of value must be at most 5`)
	f(sdk.Metadata{"c": []any{}}, nil, `s: []: expected str`)
	f(sdk.Metadata{"u": "0A7A15FFAA134AC2897C9BDF30CE175B"}, map[string]any{"u": "0a7a15ff-aa13-4ac2-897c-9bdf30ce175b"})
	f(sdk.Metadata{"u": "x"}, nil, `u: x: badly formed hexadecimal UUID string`)
	f(sdk.Metadata{"n": "3"}, map[string]any{"n": 3.0})
	f(sdk.Metadata{"n": -1.0}, nil, "n: -1: value must be at least 0")
	f(sdk.Metadata{"n": "nan"}, nil, "n: nan: expected Real")
	f(sdk.Metadata{"n": "many"}, nil, "n: many: expected Real")
	f(sdk.Metadata{"b": "True"}, map[string]any{"b": true})
	f(sdk.Metadata{"b": int64(0)}, map[string]any{"b": false})
	f(sdk.Metadata{"b": "maybe"}, nil, "b: maybe: expected bool")
	f(sdk.Metadata{"d": "2014-01-01T12:00:00.000000"}, map[string]any{"d": time.Date(2014, 1, 1, 12, 0, 0, 0, time.UTC)})
	f(sdk.Metadata{"d": int64(1)}, map[string]any{"d": time.Unix(1, 0).UTC()})
}

func TestActions(t *testing.T) {
	d := mustLoad(t, Shipped, `
[[resource]]
type = "volume"
[resource.events]
create = ["volume.create.end"]
update = ["volume.*", "!volume.create.*"]
id     = ["resource_id", "volume_id"]
attributes = { display_name = ["display_name"], image_id = ["image"] }
`)
	at := time.Unix(1_700_000_000, 0).UTC()
	var wrong []string
	actions := func(eventType string, traits ...sdk.Trait) []Action {
		wrong = nil
		if !d.ActsOn(eventType) {
			return nil
		}
		return d.Actions(&sdk.Event{EventType: eventType, Generated: at, Traits: traits}, func(what string, err error) { wrong = append(wrong, what+": "+err.Error()) })
	}
	text := func(name, value string) sdk.Trait { return sdk.Trait{Name: name, Type: sdk.Text, Value: value} }

	got := actions("compute.instance.delete.start", text("instance_id", "a/b"))
	want := []Action{{Kind: End, Type: d.Type("instance"), Resource: "a_b", Time: at, Ends: map[string]string{"instance_disk": "instance_id", "instance_network_interface": "instance_id"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	got = actions("volume.create.end", text("volume_id", "v"), text("tenant_id", "p"), text("user_id", "u"), text("display_name", "n"), text("image", "none"))
	want = []Action{{Kind: Create, Type: d.Type("volume"), Resource: "v", Project: "p", User: "u", Time: at, Attributes: map[string]any{"display_name": "n"}}}
	if !reflect.DeepEqual(got, want) || len(wrong) != 1 || wrong[0] != "image_id: none: badly formed hexadecimal UUID string" {
		t.Errorf("got %+v, wrong %q", got, wrong)
	}
	if got := actions("volume.resize.end", text("resource_id", "v")); len(got) != 1 || got[0].Kind != Update {
		t.Errorf("got %+v", got)
	}
	if got := actions("volume.resize.end"); len(got) != 0 || len(wrong) != 1 || !strings.HasPrefix(wrong[0], "volume: the event has none of the traits") {
		t.Errorf("got %+v, wrong %q", got, wrong)
	}
	// The operator's events took the place of the shipped ones.
	if d.ActsOn("snapshot.delete.start") || d.ActsOn("compute.instance.update") {
		t.Error("events that nothing is defined for do something")
	}
}

// The attributes are those that Ceilometer gives its types, so that it finds them
// right when it writes into the same aggregator.
func TestShippedAttributesAreCeilometers(t *testing.T) {
	d := mustLoad(t, Shipped)
	for typ, attributes := range map[string]map[string]index.AttributeType{
		"instance": {
			"flavor_id": index.String, "flavor_name": index.String, "image_ref": index.String, "host": index.String, "display_name": index.String,
			"server_group": index.String, "launched_at": index.Datetime, "created_at": index.Datetime, "deleted_at": index.Datetime,
		},
		"instance_disk":              {"name": index.String, "instance_id": index.UUID},
		"instance_network_interface": {"name": index.String, "instance_id": index.UUID},
		"image":                      {"name": index.String, "container_format": index.String, "disk_format": index.String},
		"volume":                     {"display_name": index.String, "volume_type": index.String, "image_id": index.UUID, "instance_id": index.UUID},
		"swift_account":              {}, "ceph_account": {}, "network": {}, "identity": {}, "ipmi": {}, "stack": {}, "loadbalancer": {}, "volume_provider": {},
		"host":                   {"host_name": index.String},
		"host_disk":              {"host_name": index.String, "device_name": index.String},
		"host_network_interface": {"host_name": index.String, "device_name": index.String},
		"nova_compute":           {"host_name": index.String},
		"manila_share":           {"name": index.String, "host": index.String, "protocol": index.String, "availability_zone": index.String, "status": index.String},
		"switch":                 {"controller": index.String},
		"switch_port":            {"switch": index.String, "port_number_on_switch": index.Number, "neutron_port_id": index.String, "controller": index.String},
		"port":                   {"controller": index.String},
		"switch_table":           {"switch": index.String, "controller": index.String},
		"volume_provider_pool":   {"provider": index.String},
		"ipmi_sensor":            {"node": index.String},
	} {
		got := map[string]index.AttributeType{}
		if d.Type(typ) == nil {
			t.Errorf("no type %s", typ)
			continue
		}
		for _, a := range d.Type(typ).Attributes {
			got[a.Name] = a.Type
			if a.Required {
				t.Errorf("attribute %s of %s is required, so a sample without it would be lost", a.Name, typ)
			}
		}
		if !reflect.DeepEqual(got, attributes) {
			t.Errorf("%s has the attributes %v instead of %v", typ, got, attributes)
		}
	}
}

// A decoder of an operator's file must bear anything.
func FuzzLoad(f *testing.F) {
	f.Add("[[resource]]\ntype = 'instance'\nmetrics = ['a*', 'b']\nattributes = { a = { from = ['source'] } }\n[resource.events]\nid = ['x']\ndelete = ['d']\nends = { a = 'b' }")
	f.Add("[[policy]]\nname = 'p'\nmethods = ['rate:5pct']\ndefinition = [{ granularity = '1m', points = 3 }]\n[[metric]]\npolicy = 'p'\ntypes = ['delta']\nnames = ['!x']")
	f.Add("resource = 5\n[[policy]]\ndefinition = [[]]")
	f.Fuzz(func(t *testing.T, text string) {
		l := loader{d: &Definitions{names: map[string]*Type{}}, policies: map[string]bool{}}
		if len(l.add("f.toml", []byte(text))) > 0 || len(l.finish()) > 0 {
			return
		}
		l.d.PolicyOf("cpu", sdk.Gauge)
		for _, typ := range l.d.Types {
			typ.Describe(&sdk.Resource{ID: "r", Metadata: sdk.Metadata{"a": map[string]any{"b": int64(1)}, "x": "y"}}, func(string, error) {})
		}
		l.d.Actions(&sdk.Event{EventType: "d", Traits: []sdk.Trait{{Name: "x", Type: sdk.Text, Value: "1"}}}, func(string, error) {})
	})
}

// The example of the manual is right, on top of what ships.
func TestManualsExample(t *testing.T) {
	manual, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(manual), "```toml definitions\n")
	example, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("the manual has no example")
	}
	d := mustLoad(t, Shipped, example)
	if typ, _ := d.TypeOf("gpu.util"); typ.Name != "instance" || d.PolicyOf("host.load.1min", sdk.Gauge) != "seconds" {
		t.Errorf("gpu.util belongs to %s", typ.Name)
	}
}
