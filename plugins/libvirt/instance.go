package libvirt

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/nephoscope/nepho/sdk"
)

// instance is what is remembered of a domain between polls: what it is, as its
// definition tells, and the resources that its samples belong to.
type instance struct {
	id      lv.Domain
	uuid    string
	def     *definition // nil when it was not asked for
	read    time.Time   // when the definition was
	state   uint64      // for which the resources were made
	made    bool
	defined bool   // the definition has a part in them
	seen    uint64 // number of the last poll that met it
	nova    *nova  // nil if there is none, or it is not asked for
	self    sdk.Resource
	devices []sdk.Resource // in the order in which they were first met
}

// outdated tells whether the definition has to be read.
func (in *instance) outdated(now time.Time, refresh time.Duration) bool {
	// Definitions that were read together are not read again all at once.
	spread := refresh / 2 * time.Duration(in.id.UUID[len(in.id.UUID)-1]) / 256
	return in.def == nil || now.Sub(in.read) >= refresh-spread
}

// describe makes the resource of the instance itself; those of its devices are
// made when first met. Without defined it is described by what each poll tells.
func (in *instance) describe(host string, state uint64, defined bool) {
	in.state, in.made, in.defined, in.devices = state, true, defined, in.devices[:0]
	status, vmState := states(state)
	m := sdk.Metadata{
		"display_name": in.id.Name, "name": in.id.Name, "instance_id": in.uuid,
		"instance_host": host, "status": status, "state": vmState,
	}
	in.self, in.nova = sdk.Resource{ID: in.uuid, Metadata: m}, nil
	if !defined {
		return
	}
	m["architecture"], m["os_type"] = in.def.OSType.Type.Arch, in.def.OSType.Type.Name
	m["vcpus"], m["cpu_number"] = in.def.vcpus(), in.def.vcpus()
	n := in.def.nova()
	if n == nil {
		return
	}
	in.nova = n
	in.self.ProjectID, in.self.UserID = n.Owner.Project.UUID, n.Owner.User.UUID
	f := n.Flavor
	flavor := map[string]any{
		"name": f.Name, "ram": int64(f.Memory), "disk": int64(f.Disk), "swap": int64(f.Swap),
		"ephemeral": int64(f.Ephemeral), "vcpus": int64(f.VCPUs),
	}
	if f.ID != "" {
		flavor["id"] = f.ID
	}
	m["display_name"], m["flavor"], m["instance_type"] = n.Name, flavor, f.Name
	m["vcpus"], m["memory_mb"], m["disk_gb"] = int64(f.VCPUs), int64(f.Memory), int64(f.Disk)
	m["root_gb"], m["ephemeral_gb"] = int64(f.Disk), int64(f.Ephemeral)
	m["host"] = hostID(n.Owner.Project.UUID, host)
	m["project_name"], m["user_name"] = n.Owner.Project.Name, n.Owner.User.Name
	if n.Root.Type == "image" {
		m["image"], m["image_ref"] = map[string]any{"id": n.Root.UUID}, n.Root.UUID
	}
}

// hostID names a host towards a project, as nova's API does, without telling it
// apart to others.
func hostID(project, host string) string {
	sum := sha256.Sum224([]byte(project + host))
	return hex.EncodeToString(sum[:])
}

// states gives nova's words for a domain's state: an instance's status and its
// vm_state.
func states(state uint64) (status, vmState string) {
	switch lv.DomainState(state) {
	case lv.DomainRunning, lv.DomainBlocked:
		return "active", "active"
	case lv.DomainPaused:
		return "paused", "paused"
	case lv.DomainShutdown, lv.DomainShutoff:
		return "shutoff", "stopped"
	case lv.DomainCrashed:
		return "error", "error"
	case lv.DomainPmsuspended:
		return "suspended", "suspended"
	default:
		return "building", "building"
	}
}

// disk gives the resource of a disk.
func (in *instance) disk(name string) sdk.Resource {
	return in.device(in.uuid, name, func(m sdk.Metadata) { m["disk_name"] = name })
}

// nic gives the resource of a network interface.
func (in *instance) nic(name string) sdk.Resource {
	return in.device(in.id.Name+"-"+in.uuid, name, func(m sdk.Metadata) {
		m["name"], m["vnic_name"] = name, name
		if !in.defined {
			return
		}
		for _, nic := range in.def.NICs {
			if nic.Target.Dev != name {
				continue
			}
			m["mac"] = nic.MAC.Address
			parameters := map[string]any{}
			for _, p := range nic.Filter.Parameters {
				parameters[p.Name] = p.Value
			}
			if v := nic.VirtualPort.Parameters.InterfaceID; v != "" {
				parameters["interfaceid"] = v
			}
			if v := nic.Source.Bridge; v != "" {
				parameters["bridge"] = v
			}
			if len(parameters) > 0 {
				m["parameters"] = parameters
			}
			if nic.Filter.Name != "" {
				m["fref"] = nic.Filter.Name
			}
		}
	})
}

// device gives the resource prefix-name, which has the instance's metadata and
// what describe adds to it.
func (in *instance) device(prefix, name string, describe func(sdk.Metadata)) sdk.Resource {
	for _, r := range in.devices {
		if n := len(prefix); len(r.ID) == n+1+len(name) && r.ID[:n] == prefix && r.ID[n+1:] == name {
			return r
		}
	}
	r := in.self
	r.ID = prefix + "-" + name
	r.Metadata = make(sdk.Metadata, len(in.self.Metadata)+4)
	for k, v := range in.self.Metadata {
		r.Metadata[k] = v
	}
	describe(r.Metadata)
	in.devices = append(in.devices, r)
	return r
}
