package libvirt

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestWithoutLibvirt(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "libvirt-sock")
	left := filepath.Join(t.TempDir(), "libvirt-sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, socket := range []string{missing, left} {
		for _, optional := range []bool{false, true} {
			config := "socket = '" + socket + "'\n"
			if optional {
				config += "optional = true\n"
			}
			samples, err := pollFor(sdktest.StartWith(t, sdktest.Options{Config: config}), time.Minute)
			if len(samples) > 0 || (err == nil) != optional {
				t.Errorf("socket %s, optional %v: %d samples, %v", socket, optional, len(samples), err)
			}
		}
	}
}

// A libvirt that comes later is measured.
func TestOptionalLibvirtIsMeasured(t *testing.T) {
	h := parts.LibvirtTest(t, 1)
	if samples := poll(t, start(t, h, "optional = true\n")); len(samples) == 0 {
		t.Error("there are no samples")
	}
}
