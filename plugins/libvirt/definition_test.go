package libvirt

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/nephoscope/nepho/sdk"
)

func readDefinition(t *testing.T, name string) *definition {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	def, err := parseDefinition(text)
	if err != nil {
		t.Fatal(err)
	}
	return def
}

func TestDescribeNovaInstance(t *testing.T) {
	t.Parallel()
	in := &instance{id: lv.Domain{Name: "instance-0000002a"}, uuid: "u", def: readDefinition(t, "nova.xml")}
	in.describe("compute-1", uint64(lv.DomainRunning), true)
	want := sdk.Resource{ID: "u", ProjectID: "p-uuid", UserID: "u-uuid", Metadata: sdk.Metadata{
		"display_name": "web & co", "name": "instance-0000002a", "instance_id": "u", "instance_host": "compute-1",
		"host": hostID("p-uuid", "compute-1"), "status": "active", "state": "active", "architecture": "x86_64", "os_type": "hvm",
		"vcpus": int64(4), "cpu_number": int64(2), "memory_mb": int64(8192), "disk_gb": int64(80), "root_gb": int64(80), "ephemeral_gb": int64(20),
		"project_name": "demo", "user_name": "admin", "instance_type": "m1.large",
		"flavor": map[string]any{"id": "f-uuid", "name": "m1.large", "ram": int64(8192), "disk": int64(80), "swap": int64(512), "ephemeral": int64(20), "vcpus": int64(4)},
		"image":  map[string]any{"id": "i-uuid"}, "image_ref": "i-uuid",
	}}
	if !reflect.DeepEqual(in.self, want) {
		t.Errorf("got %v\nwant %v", in.self, want)
	}
	nic := in.nic("tap1234")
	if nic.ID != "instance-0000002a-u-tap1234" || nic.ProjectID != "p-uuid" {
		t.Errorf("got resource %q of project %q", nic.ID, nic.ProjectID)
	}
	for k, v := range map[string]any{
		"name": "tap1234", "vnic_name": "tap1234", "mac": "fa:16:3e:00:00:01", "fref": "nova-base", "display_name": "web & co",
		"parameters": map[string]any{"bridge": "br-int", "interfaceid": "port-uuid", "IP": "10.0.0.3"},
	} {
		if !reflect.DeepEqual(nic.Metadata[k], v) {
			t.Errorf("metadata %s is %v, want %v", k, nic.Metadata[k], v)
		}
	}
	if disk := in.disk("vda"); disk.ID != "u-vda" || disk.Metadata["disk_name"] != "vda" || disk.Metadata["instance_id"] != "u" {
		t.Errorf("got disk %v", disk)
	}
	if in.self.Metadata["disk_name"] != nil {
		t.Error("a disk's metadata got into the instance's")
	}
}

func TestDefinitionOddities(t *testing.T) {
	t.Parallel()
	f := func(text string, check func(*definition) bool) {
		t.Helper()
		def, err := parseDefinition([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if !check(def) {
			t.Errorf("%s: got %+v", text, def)
		}
	}
	f(`<domain/>`, func(d *definition) bool { return d.nova() == nil && d.vcpus() == 0 })
	f(`<domain><vcpu> 3 </vcpu></domain>`, func(d *definition) bool { return d.vcpus() == 3 })
	f(`<domain><vcpu>many</vcpu></domain>`, func(d *definition) bool { return d.vcpus() == 0 })
	f(`<domain><metadata><instance xmlns="http://elsewhere"><name>x</name></instance></metadata></domain>`,
		func(d *definition) bool { return d.nova() == nil })
	f(`<domain><metadata><n:instance xmlns:n="http://openstack.org/xmlns/libvirt/nova/1.0"><n:flavor><n:memory>-1</n:memory><n:disk>1e3</n:disk></n:flavor></n:instance></metadata></domain>`,
		func(d *definition) bool { n := d.nova(); return n != nil && n.Flavor.Memory == 0 && n.Flavor.Disk == 0 })
	f(`<domain><devices><disk device="cdrom"><target dev="sda"/></disk></devices></domain>`,
		func(d *definition) bool { return len(d.Disks) == 1 && d.Disks[0].Source == nil })
	for _, text := range []string{"", "<domain", "not xml"} {
		if _, err := parseDefinition([]byte(text)); err == nil {
			t.Errorf("%q is taken for a definition", text)
		}
	}
}

func TestDefinitionsAreReadAgain(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := func(last byte, age time.Duration, want bool) {
		t.Helper()
		in := &instance{def: new(definition), read: now.Add(-age)}
		in.id.UUID[15] = last
		if got := in.outdated(now, 10*time.Minute); got != want {
			t.Errorf("a definition read %v ago, of a domain ending in %d, is outdated: %v", age, last, got)
		}
	}
	f(0, 9*time.Minute, false)
	f(0, 10*time.Minute, true)
	f(255, 4*time.Minute, false)
	f(255, 6*time.Minute, true)
}

func FuzzParseDefinition(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("testdata", "nova.xml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("<domain><metadata><instance/></metadata><devices><disk/><interface/></devices></domain>")
	f.Fuzz(func(t *testing.T, text string) {
		def, err := parseDefinition([]byte(text))
		if err != nil {
			return
		}
		in := &instance{uuid: "u", def: def}
		in.describe("h", 1, true)
		for _, nic := range def.NICs {
			in.nic(nic.Target.Dev)
		}
		batches, err := sdk.Build("test", func(out *sdk.Builder) error {
			out.On(in.self).Gauge("m", "", 1)
			for _, r := range in.devices {
				out.On(r).Gauge("m", "", 1)
			}
			return nil
		})
		if err != nil && !strings.Contains(err.Error(), "bytes") {
			t.Fatal(err)
		}
		_ = batches
	})
}
