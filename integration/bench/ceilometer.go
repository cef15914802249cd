package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/nephoscope/nepho/integration/parts"
)

const ceilometerName = "Ceilometer 19 compute agent"

//go:embed testdata/ceilometer/cycles.py
var ceilometerCycles []byte

const ceilometerConfig = `[DEFAULT]
transport_url = fake://
libvirt_uri = %s
log_file = %s
[compute]
instance_discovery_method = libvirt_metadata
[polling]
cfg_file = %s
`

// ceilometerPolls has Ceilometer's compute agent poll the same libvirtd for the
// same meters, and gives its CPU and wall seconds a cycle.
func (b *bench) ceilometerPolls(tb parts.TB, h *parts.Hypervisor, meters []string) (cpu, wall []float64, err error) {
	tb.Helper()
	// Debian's ceilometer-agent-compute only recommends the second.
	for _, part := range [][2]string{
		{"ceilometer-agent-compute", "/usr/bin/ceilometer-polling"},
		{"python3-libvirt", "/usr/lib/python3/dist-packages/libvirt.py"},
	} {
		if err := b.install(part[0], part[1]); err != nil {
			return nil, nil, err
		}
	}
	dir := b.scratch(tb)
	path := func(name string) string { return filepath.Join(dir, name) }
	config := fmt.Sprintf(ceilometerConfig, h.VirshURI(), path("log"), path("polling.yaml"))
	polling := "sources:\n- name: bench\n  interval: 10\n  meters:\n  - " + strings.Join(meters, "\n  - ") + "\n"
	for name, text := range map[string]string{"ceilometer.conf": config, "polling.yaml": polling, "cycles.py": string(ceilometerCycles)} {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			return nil, nil, err
		}
	}
	// Debian's own Python has Debian's packages.
	cmd := exec.CommandContext(b.ctx, "/usr/bin/python3", path("cycles.py"), path("ceilometer.conf"), fmt.Sprint(2*b.runs+2))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %.2000s", err, stderr.String())
	}
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		var w, c float64
		var samples int
		if _, err := fmt.Sscan(line, &w, &c, &samples); err != nil {
			return nil, nil, fmt.Errorf("cannot read %q: %w", line, err)
		}
		if want := len(h.Domains) * len(meters); samples != want {
			return nil, nil, fmt.Errorf("%d samples in a cycle, want %d", samples, want)
		}
		if i > 0 { // the first one connects
			cpu, wall = append(cpu, c), append(wall, w)
		}
	}
	return cpu, wall, nil
}

// install installs a Debian package unless its program is there. It starts no
// service.
func (b *bench) install(name, program string) error {
	if _, err := os.Stat(program); err == nil {
		return nil
	}
	b.say("  installing %s", name)
	cmd := exec.CommandContext(b.ctx, filepath.Join(b.root, "scripts", "install-parts.sh"), name+"="+program)
	cmd.Stderr = b.log
	cmd.Stdout = b.log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot install %s: %w", name, err)
	}
	return nil
}
