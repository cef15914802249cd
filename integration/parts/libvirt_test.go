package parts

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
)

func TestLibvirtTestServesDomains(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("run", func(t *testing.T) {
		h := LibvirtTest(t, 3)
		dir = h.Dir
		for range 2 {
			l := connect(t, h)
			domains, _, err := l.ConnectListAllDomains(1, libvirt.ConnectListDomainsActive)
			if err != nil {
				t.Fatal(err)
			}
			if len(domains) != len(h.Domains) {
				t.Fatalf("got %d domains, want %d", len(domains), len(h.Domains))
			}
			for _, d := range domains {
				xml, err := l.DomainGetXMLDesc(d, 0)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(xml, "<nova:name>vm-") {
					t.Errorf("domain %s has no nova metadata:\n%s", d.Name, xml)
				}
			}
			if err := l.Disconnect(); err != nil {
				t.Fatal(err)
			}
			h.Restart()
		}
		if out := h.Virsh("list", "--name"); strings.Count(out, "instance-") != 3 {
			t.Errorf("virsh lists %q, want 3 domains", out)
		}
		h.Kill9()
		h.Start()
	})
	expectNothingLeft(t, dir)
}

func TestLibvirtTestDomainStates(t *testing.T) {
	t.Parallel()
	domains := Domains(4)
	domains[1].State = Paused
	domains[2].State = ShutOff
	domains[3].WithoutNova = true
	h := LibvirtTestDomains(t, domains)
	for i, want := range []string{"running", "paused", "shut off", "running"} {
		if got := h.Virsh("domstate", domains[i].Name); got != want {
			t.Errorf("domain %d: got state %q, want %q", i, got, want)
		}
	}
	if xml := h.Virsh("dumpxml", domains[3].Name); strings.Contains(xml, "nova:") {
		t.Errorf("domain without nova has nova's metadata:\n%s", xml)
	}
}

func TestLibvirtQEMUGuestsWork(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("run", func(t *testing.T) {
		h := LibvirtQEMU(t, 2)
		dir = h.Dir
		first, second := h.Domains[0].Name, h.Domains[1].Name
		expectDiskWork(t, h.Hypervisor, first)

		h.Kill9()
		h.Start()
		if got := h.Virsh("domstate", second); got != "running" {
			t.Errorf("a guest is %q after libvirtd was killed, want running", got)
		}
		h.Restart()
		expectDiskWork(t, h.Hypervisor, second)

		h.Shutdown(first)
		if got := h.Virsh("domstate", "--reason", first); got != "shut off (shutdown)" {
			t.Errorf("got state %q after a shutdown", got)
		}
		h.Destroy(second)
		if got := h.Virsh("domstate", "--reason", second); got != "shut off (destroyed)" {
			t.Errorf("got state %q after a destroy", got)
		}
		h.Undefine(second)
		if out := h.Virsh("list", "--all", "--name"); out != first {
			t.Errorf("got domains %q, want %q", out, first)
		}
		h.StartDomain(first)
		added := Domains(3)[2]
		h.Define(added)
		h.StartDomain(added.Name)
		if _, err := os.Stat("/run/libvirt/qemu/" + added.Name + ".pid"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the machine's own libvirt directory is in use: %v", err)
		}
	})
	expectNothingLeft(t, dir)
}

// expectDiskWork waits until a guest's disk counters move.
func expectDiskWork(t *testing.T, h *Hypervisor, name string) {
	t.Helper()
	before := h.Virsh("domblkstat", name, "vda")
	awaitTrue(t, "the guest's disk is not in use", func() bool {
		return h.Virsh("domblkstat", name, "vda") != before
	})
}

func connect(t *testing.T, h *Hypervisor) *libvirt.Libvirt {
	t.Helper()
	l := libvirt.NewWithDialer(dialers.NewLocal(dialers.WithSocket(h.Socket)))
	if err := l.ConnectToURI(libvirt.ConnectURI(h.URI)); err != nil {
		t.Fatalf("cannot connect to %s: %v", h.Socket, err)
	}
	return l
}
