package libvirt

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	lv "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// TestDomainsComeAndGo polls the one test host that connections share while
// another connection keeps making and destroying domains on it.
func TestDomainsComeAndGo(t *testing.T) {
	t.Parallel()
	h := parts.LibvirtTest(t, 0)
	h.URI = "test:///default"
	other := lv.NewWithDialer(dialers.NewLocal(dialers.WithSocket(h.Socket)))
	if err := other.ConnectToURI(lv.TestDefault); err != nil {
		t.Fatal(err)
	}
	defer other.Disconnect()
	p := start(t, h, "")
	fixed := len(poll(t, p)) // of the domain that is there from the start

	ctx, cancel := context.WithCancel(t.Context())
	churned := make(chan error, 1)
	go func() { churned <- churn(ctx, other) }()
	most := 0
	for begun := time.Now(); time.Since(begun) < 3*time.Second || most <= fixed && time.Since(begun) < time.Minute; {
		most = max(most, len(poll(t, p)))
	}
	cancel()
	if err := <-churned; err != nil {
		t.Fatal(err)
	}
	if most <= fixed {
		t.Error("none of the domains was ever measured")
	}
	if got := len(poll(t, p)); got != fixed {
		t.Errorf("got %d samples after all have gone, want %d", got, fixed)
	}
	if n := strings.Count(p.Stderr(), "\n"); n > 5 {
		t.Errorf("%d lines in the log:\n%s", n, p.Stderr())
	}
}

// churn keeps a few domains on the host, none of them for long.
func churn(ctx context.Context, l *lv.Libvirt) error {
	var domains []lv.Domain
	for i := 0; ctx.Err() == nil || len(domains) > 0; i++ {
		if ctx.Err() == nil {
			d, err := l.DomainCreateXML(fmt.Sprintf(`<domain type='test'><name>churn-%d</name><memory>8192</memory><os><type>hvm</type></os>
				<devices><disk type='file' device='disk'><source file='/d'/><target dev='vda' bus='virtio'/></disk></devices></domain>`, i), 0)
			if err != nil {
				return err
			}
			domains = append(domains, d)
		}
		if len(domains) > 8 || ctx.Err() != nil {
			if err := l.DomainDestroy(domains[0]); err != nil {
				return err
			}
			domains = domains[1:]
		}
	}
	return nil
}

// TestEventsRefreshDefinitions changes a domain of a driver without bulk
// statistics: its new disk is known at once, not only after metadata_refresh.
func TestEventsRefreshDefinitions(t *testing.T) {
	t.Parallel()
	h := parts.LibvirtTest(t, 0)
	h.URI = "test:///default"
	p := start(t, h, "", "disk.device.read.bytes")
	const uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f"
	if got := poll(t, p); len(got) != 1 || got[0].ResourceID != uuid+"-vda" {
		t.Fatalf("got samples %v", got)
	}
	l := lv.NewWithDialer(dialers.NewLocal(dialers.WithSocket(h.Socket)))
	if err := l.ConnectToURI(lv.TestDefault); err != nil {
		t.Fatal(err)
	}
	defer l.Disconnect()
	d, err := l.DomainLookupByName("test")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.DomainDestroy(d); err != nil {
		t.Fatal(err)
	}
	if _, err := l.DomainDefineXML(`<domain type='test'><name>test</name><uuid>` + uuid + `</uuid><memory>8192</memory><os><type>hvm</type></os>
		<devices><disk type='file' device='disk'><source file='/d'/><target dev='vdb' bus='virtio'/></disk>
		<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk></devices></domain>`); err != nil {
		t.Fatal(err)
	}
	if err := l.DomainCreate(d); err != nil {
		t.Fatal(err)
	}
	await(t, "the new disk", func() bool {
		samples := poll(t, p)
		return len(samples) == 1 && samples[0].ResourceID == uuid+"-vdb"
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	f := func(toml string, want ...string) {
		t.Helper()
		_, err := sdktest.Launch(t, sdktest.Options{Config: toml})
		if len(want) == 0 {
			if err != nil {
				t.Errorf("%s: %v", toml, err)
			}
			return
		}
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got error %v, want one with %q", toml, err, part)
			}
		}
	}
	f("")
	f(`uri = "qemu+ssh://elsewhere/system"`, "uri", "only the libvirt of this machine")
	f(`uri = "/run/libvirt/libvirt-sock"`, "uri", "qemu:///system")
	f(`socket = "libvirt-sock"`, "absolute")
	f("cpu_time = \"vcpu\"\nmetadata = \"xml\"", "cpu_time", "vcpu+wait", "metadata")
	f(`metadata_refresh = "1ms"`, "metadata_refresh")
	f(`url = "qemu:///system"`, "uri")
}

// TestNoLibvirt polls where no libvirtd is: an error each time, and no more.
func TestNoLibvirt(t *testing.T) {
	t.Parallel()
	p := sdktest.Start(t, `socket = "/nonexistent/libvirt-sock"`)
	for range 2 {
		if _, err := pollFor(p, time.Minute); err == nil || !strings.Contains(err.Error(), "/nonexistent/libvirt-sock") {
			t.Errorf("got error %v", err)
		}
	}
}
