package libvirt

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// address is where a libvirtd listens and what it is asked for there.
type address struct {
	uri     string   // as libvirtd knows it, without transport
	sockets []string // to try in order; the first that exists is taken
}

// parseAddress reads a libvirt URI such as virsh takes, of this machine:
// qemu:///system, qemu+unix:///system?socket=/run/x. A path that is not empty
// overrules the socket.
func parseAddress(text, path string) (address, error) {
	u, err := url.Parse(text)
	if err != nil {
		return address{}, fmt.Errorf("not a libvirt URI: %w", err)
	}
	driver, transport, _ := strings.Cut(u.Scheme, "+")
	query := u.Query()
	if path == "" {
		path = query.Get("socket")
	}
	switch {
	case driver == "" || u.Path == "" || u.Opaque != "":
		return address{}, fmt.Errorf("%q is not a libvirt URI, such as qemu:///system", text)
	case u.Host != "" || transport != "" && transport != "unix":
		return address{}, errors.New("only the libvirt of this machine can be polled: run an agent on each compute node")
	case path != "" && !filepath.IsAbs(path):
		return address{}, fmt.Errorf("socket %q is not an absolute path", path)
	}
	query.Del("socket")
	a := address{uri: driver + "://" + u.Path}
	if len(query) > 0 {
		a.uri += "?" + query.Encode()
	}
	switch {
	case path != "":
		a.sockets = []string{path}
	case u.Path == "/session":
		dir := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "libvirt")
		a.sockets = []string{filepath.Join(dir, "virt"+driver+"d-sock"), filepath.Join(dir, "libvirt-sock")}
	default:
		// A daemon of the driver's own, where libvirt is split up, answers without
		// the detour over a proxy. The read-only sockets are enough.
		for _, daemon := range []string{"virt" + driver + "d", "libvirt"} {
			for _, suffix := range []string{"-sock-ro", "-sock"} {
				a.sockets = append(a.sockets, "/run/libvirt/"+daemon+suffix)
			}
		}
	}
	return a, nil
}

// socket gives the socket to connect to. Where none exists it is the last, whose
// name is the best known.
func (a address) socket() string {
	for _, path := range a.sockets {
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			return path
		}
	}
	return a.sockets[len(a.sockets)-1]
}
