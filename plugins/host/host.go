// Package host is the pollster of the machine that it runs on: processors,
// memory, swap, load, disks, file systems and network interfaces.
package host

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/common"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/glob"
)

//go:embed sample.toml
var sample string

// Plugin describes the pollster.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:     "host",
		Summary:  "Measures processors, memory, swap, load, disks, file systems and network interfaces of this machine",
		Sample:   sample,
		Meters:   meters(),
		Pollster: func() sdk.Pollster { return &host{} },
	}
}

type host struct {
	Collect      []string      `toml:"collect" default:"cpu,memory,swap,load,disk,filesystem,network,system" enum:"cpu|memory|swap|load|disk|filesystem|network|system" doc:"The groups of meters to collect."`
	PerCPU       bool          `toml:"per_cpu" default:"false" doc:"Collect the time of each logical CPU besides their sum."`
	Devices      []string      `toml:"devices" default:"!loop*,!ram*,!zram*,!fd[0-9]*,!sr[0-9]*,!nvme[0-9]*c[0-9]*n[0-9]*" doc:"Globs of the block devices to collect."`
	Partitions   bool          `toml:"partitions" default:"false" doc:"Collect the I/O of partitions besides that of whole devices."`
	Mounts       []string      `toml:"mounts" default:"!/dev/*,!/proc/*,!/sys/*,!/run/*,!/snap/*,!/var/lib/docker/*,!/var/lib/containers/*,!/var/lib/kubelet/*" doc:"Globs of the mount points to collect."`
	FSTypes      []string      `toml:"fstypes" default:"!autofs,!binfmt_misc,!bpf,!cgroup*,!configfs,!debugfs,!devpts,!devtmpfs,!efivarfs,!fuse.*lxcfs,!fuse.portal,!fuse.snapfuse,!fuse.gvfsd-fuse,!fusectl,!hugetlbfs,!iso9660,!mqueue,!nfsd,!nsfs,!overlay,!proc,!pstore,!ramfs,!rpc_pipefs,!securityfs,!selinuxfs,!squashfs,!sysfs,!tmpfs,!tracefs" doc:"Globs of the file system types to collect; / is collected whatever its type."`
	MountTimeout time.Duration `toml:"mount_timeout" default:"2s" min:"10ms" doc:"How long to wait for a file system's answer."`
	Interfaces   []string      `toml:"interfaces" default:"!lo,!veth*,!tap*,!vnet*,!qbr*,!qvb*,!qvo*,!cali*,!lxc*,!ifb*,!dummy*" doc:"Globs of the network interfaces to collect."`
	Hostname     string        `toml:"hostname" doc:"The resource id of this machine; its host name if empty."`
	Root         string        `toml:"root" default:"/" doc:"Where the machine's root directory is mounted, for containers."`

	devices, mounts, fstypes, interfaces *glob.Globs

	name     string // of this machine
	metadata sdk.Metadata
	groups   []group
	env      sdk.Env
	paths    common.EnvMap
	prober   *prober
	// processes is false where nobody wants the meters that need a list of all processes.
	processes bool
}

// group is one of the things to collect.
type group struct {
	name string
	read func(ctx context.Context, out *sdk.Builder) error
}

// Validate compiles the globs.
func (h *host) Validate() error {
	var errs []error
	for _, list := range []struct {
		key      string
		patterns []string
		globs    **glob.Globs
	}{
		{"devices", h.Devices, &h.devices}, {"mounts", h.Mounts, &h.mounts},
		{"fstypes", h.FSTypes, &h.fstypes}, {"interfaces", h.Interfaces, &h.interfaces},
	} {
		globs, err := glob.Compile(list.patterns)
		if bad := (*glob.Error)(nil); errors.As(err, &bad) {
			errs = append(errs, config.KeyError(fmt.Sprintf("%s[%d]", list.key, bad.Index), "%w", err))
		}
		*list.globs = globs
	}
	if !filepath.IsAbs(h.Root) {
		errs = append(errs, config.KeyError("root", "expected an absolute path, not %q", h.Root))
	}
	return errors.Join(errs...)
}

// Start finds out what is wanted and whose machine this is.
func (h *host) Start(_ context.Context, env sdk.Env) error {
	var err error
	if h.name, err = h.hostname(); err != nil {
		return fmt.Errorf("cannot tell this machine's name, set the option hostname: %w", err)
	}
	h.metadata = sdk.Metadata{"host": h.name}
	h.env = env
	h.processes = h.wantsAny("host.system.processes") || env.Wants("host.system.context_switches")
	h.paths = common.EnvMap{
		common.HostProcEnvKey: h.path("proc"), common.HostSysEnvKey: h.path("sys"), common.HostDevEnvKey: h.path("dev"),
		common.HostRunEnvKey: h.path("run"), common.HostEtcEnvKey: h.path("etc"), common.HostVarEnvKey: h.path("var"),
		common.HostRootEnvKey: h.Root,
	}
	h.prober = newProber(h.MountTimeout)
	for _, g := range []group{
		{"cpu", h.cpu}, {"memory", h.memory}, {"swap", h.swap}, {"load", h.load}, {"disk", h.disk},
		{"network", h.network}, {"system", h.system}, {"filesystem", h.filesystem},
	} {
		if slices.Contains(h.Collect, g.name) && h.wantsAny("host."+g.name) {
			h.groups = append(h.groups, g)
		}
	}
	return nil
}

// Poll reads one group after the other; what one cannot give costs no other.
func (h *host) Poll(ctx context.Context, out *sdk.Builder) error {
	ctx = context.WithValue(ctx, common.EnvKey, h.paths)
	var errs []error
	for _, g := range h.groups {
		err := ctx.Err()
		if err == nil {
			err = g.read(ctx, out)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot collect %s: %w", g.name, err))
		}
	}
	return errors.Join(errs...)
}

func (h *host) path(elements ...string) string {
	return filepath.Join(append([]string{h.Root}, elements...)...)
}

func (h *host) hostname() (string, error) {
	if h.Hostname != "" {
		return h.Hostname, nil
	}
	if h.Root != "/" {
		// The container's name is not the machine's.
		if name, err := os.ReadFile(h.path("etc/hostname")); err == nil && len(strings.TrimSpace(string(name))) > 0 {
			return strings.TrimSpace(string(name)), nil
		}
	}
	return os.Hostname()
}

// wantsAny tells whether a meter of a group is wanted.
func (h *host) wantsAny(prefix string) bool {
	return slices.ContainsFunc(meters(), func(m sdk.MeterInfo) bool {
		return strings.HasPrefix(m.Name, prefix+".") && h.env.Wants(m.Name)
	})
}

// self is the machine as a resource.
func (h *host) self(out *sdk.Builder) *sdk.Subject {
	return out.On(sdk.Resource{ID: h.name, Metadata: h.metadata})
}

// part is a part of the machine as a resource: a disk, a mount point.
func (h *host) part(out *sdk.Builder, name string, metadata sdk.Metadata) *sdk.Subject {
	metadata["host"] = h.name
	return out.On(sdk.Resource{ID: h.name + "." + name, Metadata: metadata})
}
