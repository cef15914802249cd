package parts

import (
	"fmt"
	"strings"
)

// Domain describes one libvirt domain as OpenStack's compute service defines it.
type Domain struct {
	// Name, UUID, MAC, and Tap are unique on a hypervisor.
	Name, UUID, MAC, Tap string
	// NovaName, User, Project, Flavor and Image go to the metadata.
	NovaName, User, Project, Flavor, Image string
	// MemoryMiB and VCPUs size the domain and its flavor.
	MemoryMiB, VCPUs int
	// WithoutNova leaves the metadata out, as in domains that nova did not make.
	WithoutNova bool
	// State is the state in which the test driver has the domain; 0 means running.
	State RunState
}

// RunState is a domain's state in libvirt's numbers.
type RunState int

// States for the test driver.
const (
	Running RunState = 1
	Paused  RunState = 3
	ShutOff RunState = 5
	Crashed RunState = 6
)

// Domains returns n different domains, instance-00000001 and so on.
func Domains(n int) []Domain {
	domains := make([]Domain, n)
	for i := range domains {
		id := i + 1
		domains[i] = Domain{
			Name:      fmt.Sprintf("instance-%08x", id),
			UUID:      fmt.Sprintf("6695eb01-f6a4-4304-89aa-%012x", id),
			MAC:       fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", id>>16&0xff, id>>8&0xff, id&0xff),
			Tap:       fmt.Sprintf("tap%08x-%02x", id, id&0xff),
			NovaName:  fmt.Sprintf("vm-%d", id),
			User:      fmt.Sprintf("a0a0a0a0-0000-4000-8000-%012x", id%7),
			Project:   fmt.Sprintf("b0b0b0b0-0000-4000-8000-%012x", id%5),
			Flavor:    "m1.tiny",
			Image:     "c0c0c0c0-0000-4000-8000-000000000001",
			MemoryMiB: 64,
			VCPUs:     1,
		}
	}
	return domains
}

func (d Domain) metadata() string {
	if d.WithoutNova {
		return ""
	}
	return fmt.Sprintf(`<metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
    <nova:package version="26.2.0"/>
    <nova:name>%s</nova:name>
    <nova:creationTime>2026-11-21 10:00:00</nova:creationTime>
    <nova:flavor name="%s">
      <nova:memory>%d</nova:memory><nova:disk>1</nova:disk><nova:swap>0</nova:swap>
      <nova:ephemeral>0</nova:ephemeral><nova:vcpus>%d</nova:vcpus>
    </nova:flavor>
    <nova:owner>
      <nova:user uuid="%s">admin</nova:user>
      <nova:project uuid="%s">demo</nova:project>
    </nova:owner>
    <nova:root type="image" uuid="%s"/>
  </nova:instance></metadata>
`, d.NovaName, d.Flavor, d.MemoryMiB, d.VCPUs, d.User, d.Project, d.Image)
}

// testXML is the domain for libvirt's test driver.
func (d Domain) testXML() string {
	state := d.State
	if state == 0 {
		state = Running
	}
	return fmt.Sprintf(`<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
  <name>%s</name><uuid>%s</uuid>
  %s<memory unit='MiB'>%d</memory><vcpu>%d</vcpu>
  <os><type arch='i686'>hvm</type></os><test:runstate>%d</test:runstate>
  <devices>
    <disk type='file' device='disk'><source file='/guest/%s.img'/><target dev='vda' bus='virtio'/></disk>
    <interface type='network'><mac address='%s'/><source network='default'/><target dev='%s'/></interface>
    <memballoon model='virtio'/>
  </devices>
</domain>
`, d.Name, d.UUID, d.metadata(), d.MemoryMiB, d.VCPUs, state, d.Name, d.MAC, d.Tap)
}

// qemuXML is the domain for an emulated guest whose files are in dir, number id
// on its hypervisor.
func (d Domain) qemuXML(emulator, dir string, id int) string {
	return fmt.Sprintf(`<domain type='qemu'>
  <name>%[1]s</name><uuid>%[2]s</uuid>
  %[3]s<memory unit='MiB'>%[4]d</memory><vcpu>%[5]d</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <devices>
    <emulator>%[6]s</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='%[7]s/%[1]s.img'/><target dev='vda' bus='virtio'/>
    </disk>
    <interface type='ethernet'>
      <mac address='%[8]s'/>
      <source><ip address='198.18.%[9]d.1' family='ipv4' prefix='30'/></source>
      <target dev='%[10]s'/><model type='virtio'/>
    </interface>
    <memballoon model='virtio'><stats period='1'/></memballoon>
    <serial type='file'><source path='%[7]s/%[1]s.console'/></serial>
  </devices>
</domain>
`, d.Name, d.UUID, d.metadata(), d.MemoryMiB, d.VCPUs, emulator, dir, d.MAC, id&0xff, d.Tap)
}

// nodeXML is a host of libvirt's test driver with its domains.
func nodeXML(domains []Domain) string {
	var b strings.Builder
	b.WriteString(`<node>
<cpu><mhz>2400</mhz><model>x86</model><active>8</active><nodes>1</nodes><sockets>1</sockets><cores>8</cores><threads>1</threads></cpu>
<memory>67108864</memory>
<network><name>default</name><bridge name='virbr0'/><forward/><ip address='192.168.122.1' netmask='255.255.255.0'/></network>
`)
	for _, d := range domains {
		b.WriteString(d.testXML())
	}
	b.WriteString("</node>\n")
	return b.String()
}
