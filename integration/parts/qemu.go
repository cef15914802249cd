package parts

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// QEMUHypervisor is a libvirtd with its QEMU driver, which emulates the guests'
// processors and so needs no support from the machine's.
//
// Its guests are one boot sector each that reads and writes its disk for ever,
// about four times a second, and powers off when asked to. They cost about 50 MB.
// Balloon statistics of the guest's own system are not available: it has none.
//
// Stop, Kill9 and Restart concern libvirtd; running guests live on, as they do in
// production, and are there again after Start.
type QEMUHypervisor struct {
	*Hypervisor
	emulator string
}

const qemuConf = `stdio_handler = "file"
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
seccomp_sandbox = 0
`

// The system driver's directories are compiled into libvirtd. A mount namespace
// gives each copy its own; a network namespace keeps taps apart; and a process
// namespace sees to it that no guest outlives the test, for guests are daemons.
// Bash is that namespace's first process and reaps what loses its parent.
const namespaceScript = `set -eu
mount --make-rprivate /
mount -t proc proc /proc
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir /run/libvirt
for name in etc/libvirt var/lib/libvirt var/cache/libvirt var/log/libvirt; do
  mount --bind "$1/$name" "/$name"
done
touch "$1/mounted"
sleep infinity &
wait
`

// LibvirtQEMU starts libvirtd and a number of guests that [Domains] describes.
// It takes 2 to 15 s, since libvirtd examines the emulator first. It needs root.
func LibvirtQEMU(tb TB, guests int) *QEMUHypervisor {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Fatalf("QEMU guests with their own network need root: scripts/test.sh runs the tests with sudo")
	}
	dir := newDir(tb)
	makeDirs(tb, dir, "etc/libvirt", "var/lib/libvirt/images", "var/cache/libvirt", "var/log/libvirt", "sock")
	writeFile(tb, filepath.Join(dir, "etc/libvirt/libvirtd.conf"), fmt.Sprintf(libvirtdConf, filepath.Join(dir, "sock")))
	writeFile(tb, filepath.Join(dir, "etc/libvirt/qemu.conf"), qemuConf)

	namespace := newProcess(tb, newDir(tb), spec{
		name: "namespace of libvirtd",
		argv: []string{program(tb, "bash"), "-c", namespaceScript, "bash", dir},
		attr: syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID},
		ready: func(context.Context) error {
			_, err := os.Stat(filepath.Join(dir, "mounted"))
			return err
		},
	})
	namespace.Start()

	h := &QEMUHypervisor{
		Hypervisor: &Hypervisor{
			Socket:  filepath.Join(dir, "sock", "libvirt-sock"),
			URI:     "qemu:///system",
			Domains: Domains(guests),
		},
		emulator: program(tb, "qemu-system-x86_64"),
	}
	h.Process = newProcess(tb, dir, spec{
		name: "libvirtd",
		argv: []string{program(tb, "nsenter"), "--target", strconv.Itoa(namespace.PID()), "--mount", "--net", "--pid",
			program(tb, "libvirtd", "/usr/sbin/libvirtd"), "-f", "/etc/libvirt/libvirtd.conf", "-p", filepath.Join(dir, "libvirtd.pid")},
		ready: func(ctx context.Context) error {
			// The socket is there long before the driver is.
			if err := listens(h.Socket)(ctx); err != nil {
				return err
			}
			out, err := h.virsh(ctx, "version")
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		},
	})
	h.Hypervisor.Start()
	for _, d := range h.Domains {
		h.Define(d)
		h.StartDomain(d.Name)
	}
	return h
}

// Define adds a domain, shut off, with a disk of its own.
func (h *QEMUHypervisor) Define(d Domain) {
	h.tb.Helper()
	disk := filepath.Join(h.Dir, d.Name+".img")
	if err := os.WriteFile(disk, bootDisk(), 0o600); err != nil {
		h.tb.Fatalf("cannot write disk: %v", err)
	}
	definition := filepath.Join(h.Dir, d.Name+".xml")
	number, err := strconv.ParseUint(d.Name[max(0, len(d.Name)-8):], 16, 32)
	if err != nil {
		h.tb.Fatalf("domain name %q does not end in eight hexadecimal digits", d.Name)
	}
	writeFile(h.tb, definition, d.qemuXML(h.emulator, h.Dir, int(number)))
	h.Virsh("define", definition)
}

// Undefine removes a domain that is shut off.
func (h *QEMUHypervisor) Undefine(name string) { h.tb.Helper(); h.Virsh("undefine", name) }

// StartDomain boots a domain that is shut off.
func (h *QEMUHypervisor) StartDomain(name string) { h.tb.Helper(); h.Virsh("start", name) }

// Destroy pulls a domain's plug.
func (h *QEMUHypervisor) Destroy(name string) { h.tb.Helper(); h.Virsh("destroy", name) }

// Shutdown presses a domain's power button and waits until it is off.
func (h *QEMUHypervisor) Shutdown(name string) {
	h.tb.Helper()
	deadline := time.Now().Add(readyTimeout)
	for h.Virsh("domstate", name) != "shut off" {
		if time.Now().After(deadline) {
			h.tb.Fatalf("domain %s is not off after %v", name, readyTimeout)
		}
		// Again and again: a guest that is about to boot misses the first ones.
		if out, err := h.virsh(context.Background(), "shutdown", name); err != nil && !strings.Contains(out, "not running") {
			h.tb.Fatalf("virsh shutdown %s: %v\n%s", name, err, out)
		}
		time.Sleep(4 * readyPoll)
	}
}

// bootDisk is a disk of 1 MiB whose boot sector, in 16-bit code at 7C00h, works
// the disk and honours the power button.
func bootDisk() []byte {
	code, err := hex.DecodeString(strings.Join(strings.Fields(`
		31c0 8ed8 8ec0 8ed0 bc007c fb   ` /* clear the segments, stack below the code */ +`
		ba0206 b80001 ef                ` /* let the power button set its status bit */ +`
		b80802 b90200 ba8000 bb0080 cd13` /* loop: read 8 sectors from the 2nd */ +`
		b80403 b91400 ba8000 bb0080 cd13` /* write 4 sectors from the 20th */ +`
		ba0006 ed f6c401 7407           ` /* power button pressed? */ +`
		ba0406 b80020 ef                ` /* power off */ +`
		bd0500 f4 4d 75fc               ` /* wait for 5 ticks of 55 ms */ +`
		ebcb`), "")) // again
	if err != nil {
		panic("BUG: " + err.Error())
	}
	disk := make([]byte, 1<<20)
	copy(disk, code)
	disk[510], disk[511] = 0x55, 0xaa
	return disk
}
