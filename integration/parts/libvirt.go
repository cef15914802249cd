package parts

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
)

// Hypervisor is a libvirtd that serves one libvirt driver on a private socket.
type Hypervisor struct {
	*Process
	// Socket is the Unix socket of the libvirt protocol.
	Socket string
	// URI is what a client asks for on that socket: test:///... or qemu:///system.
	URI string
	// Domains are those that were defined at the start.
	Domains []Domain
}

const libvirtdConf = `unix_sock_dir = "%s"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:stderr"
`

// LibvirtTest starts libvirtd with its test driver and a number of running
// domains, in about 0.1 s. What the driver reports are functions of the clock.
//
// Each connection to [Hypervisor.URI] has a state of its own: what one client
// changes, another does not see. Clients that open test:///default share one
// state, with a single domain "test", until the last of them leaves.
func LibvirtTest(tb TB, domains int) *Hypervisor {
	tb.Helper()
	return LibvirtTestDomains(tb, Domains(domains))
}

// LibvirtTestDomains is [LibvirtTest] with domains of the caller's making.
func LibvirtTestDomains(tb TB, domains []Domain) *Hypervisor {
	tb.Helper()
	dir := newDir(tb)
	makeDirs(tb, dir, "drivers")
	node := filepath.Join(dir, "node.xml")
	writeFile(tb, node, nodeXML(domains))
	config := filepath.Join(dir, "libvirtd.conf")
	writeFile(tb, config, fmt.Sprintf(libvirtdConf, dir))
	h := &Hypervisor{
		Socket:  filepath.Join(dir, "libvirt-sock"),
		URI:     "test://" + node,
		Domains: domains,
	}
	h.Process = newProcess(tb, dir, spec{
		name: "libvirtd",
		argv: []string{program(tb, "libvirtd", "/usr/sbin/libvirtd"), "-f", config, "-p", filepath.Join(dir, "libvirtd.pid")},
		env: []string{
			// The other drivers take locks that all libvirtd of a machine share; an
			// empty directory to load them from keeps them out.
			"LIBVIRT_DRIVER_DIR=" + filepath.Join(dir, "drivers"),
		},
		ready: listens(filepath.Join(dir, "libvirt-sock")),
	})
	h.Start()
	return h
}

// VirshURI is the address under which virsh and libvirt's C library find this
// hypervisor.
func (h *Hypervisor) VirshURI() string {
	scheme, rest, _ := strings.Cut(h.URI, ":")
	return scheme + "+unix:" + rest + "?socket=" + h.Socket
}

// Virsh runs one virsh command and returns what it prints.
func (h *Hypervisor) Virsh(args ...string) string {
	h.tb.Helper()
	out, err := h.virsh(context.Background(), args...)
	if err != nil {
		h.tb.Fatalf("virsh %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func (h *Hypervisor) virsh(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	args = append([]string{"--quiet", "--connect", h.VirshURI()}, args...)
	out, err := exec.CommandContext(ctx, program(h.tb, "virsh"), args...).CombinedOutput()
	return string(out), err
}

// listens checks that something listens on a Unix socket.
func listens(path string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}
