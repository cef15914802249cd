package libvirt

import (
	"net"
	"path/filepath"
	"slices"
	"testing"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	f := func(uri, socket, wantURI string, wantSockets ...string) {
		t.Helper()
		a, err := parseAddress(uri, socket)
		if err != nil || a.uri != wantURI || !slices.Equal(a.sockets, wantSockets) {
			t.Errorf("%q with socket %q: got %+v and error %v", uri, socket, a, err)
		}
	}
	f("qemu:///system", "", "qemu:///system", "/run/libvirt/virtqemud-sock-ro", "/run/libvirt/virtqemud-sock",
		"/run/libvirt/libvirt-sock-ro", "/run/libvirt/libvirt-sock")
	f("qemu:///system", "/run/x", "qemu:///system", "/run/x")
	f("qemu+unix:///system?socket=/run/y", "", "qemu:///system", "/run/y")
	f("test+unix:///a/b.xml?socket=/run/y&no_tty=1", "/run/x", "test:///a/b.xml?no_tty=1", "/run/x")
	for _, bad := range []string{"", "qemu", "qemu:", "://x", "qemu://host/system", "qemu+ssh:///system", "/run/libvirt/libvirt-sock", "%"} {
		if a, err := parseAddress(bad, ""); err == nil {
			t.Errorf("%q is taken for %+v", bad, a)
		}
	}
	if _, err := parseAddress("qemu:///system", "relative"); err == nil {
		t.Error("a relative socket is taken")
	}
}

func TestFirstSocketThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := address{sockets: []string{filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")}}
	if got := a.socket(); got != a.sockets[2] {
		t.Errorf("got %s where none is there", got)
	}
	l, err := net.Listen("unix", a.sockets[1])
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := a.socket(); got != a.sockets[1] {
		t.Errorf("got %s, want the one that is there", got)
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("qemu+unix:///system?socket=/run/y", "")
	f.Fuzz(func(t *testing.T, uri, socket string) {
		if a, err := parseAddress(uri, socket); err == nil && len(a.sockets) == 0 {
			t.Errorf("%q has no socket", uri)
		}
	})
}
