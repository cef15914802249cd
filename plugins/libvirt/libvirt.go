// Package libvirt is the pollster of virtual machines: it measures the domains
// of this machine's libvirt, with the meters that Ceilometer has for instances.
package libvirt

import (
	"context"
	_ "embed" // the sample configuration
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the pollster.
func Plugin() sdk.Plugin {
	p := sdk.Plugin{
		Name:     "libvirt",
		Summary:  "Measures virtual machines of this machine's libvirt: CPU, memory, disks, network, power state",
		Sample:   sample,
		Pollster: func() sdk.Pollster { return new(pollster) },
	}
	for _, m := range catalogue() {
		p.Meters = append(p.Meters, m.MeterInfo)
	}
	return p
}

// settings are an instance's options.
type settings struct {
	URI             string        `toml:"uri" default:"qemu:///system" doc:"libvirt connection URI of a driver on this machine."`
	Socket          string        `toml:"socket" doc:"Path of libvirt's Unix socket; empty finds it, read-only ones first."`
	Metadata        string        `toml:"metadata" default:"nova" enum:"nova|none" doc:"Where names, owners and flavors come from: nova's part of the domains' XML, or nowhere."`
	MetadataRefresh time.Duration `toml:"metadata_refresh" default:"10m" min:"1s" doc:"The XML of a domain is read again when libvirt tells of a change, and at least this often."`
	Host            string        `toml:"host" doc:"Name of this compute node in metadata, nova's option host; empty is the host name."`
	CPUTime         string        `toml:"cpu_time" default:"cpu" enum:"cpu|vcpu+wait" doc:"What the meter cpu counts: CPU time, or the vCPUs' running and waiting time as Ceilometer does since Newton."`
	ReportShutoff   bool          `toml:"report_shutoff" default:"false" doc:"Domains that are shut off have their sizes reported too, not only power.state."`
	DiskTotals      bool          `toml:"disk_totals" default:"false" doc:"Adds Ceilometer's old meters disk.read.bytes and so on: sums over a domain's disks."`
	Optional        bool          `toml:"optional" default:"false" doc:"Where no libvirt runs there is nothing to measure, which is no error then."`
}

// Validate implements the check of options.
func (s *settings) Validate() error {
	if _, err := parseAddress(s.URI, s.Socket); err != nil {
		return config.KeyError("uri", "%w", err)
	}
	return nil
}

// pollster is one instance. Its calls never overlap.
type pollster struct {
	settings

	log         *slog.Logger
	address     address
	chosen      selection
	concurrency int
	timeout     time.Duration // of what one domain is asked; 0: none

	client    *client
	driver    driver
	stuck     *group   // a bulk call that libvirtd does not come back from
	domains   []domain // of the poll under way, and memory for the next
	instances map[lv.UUID]*instance
	polls     uint64
	held      bool // it was told of
	clogged   bool // calls were given up that libvirtd may still be at: it takes only a few at once

	mu      sync.Mutex
	changed map[lv.UUID]struct{} // domains whose definition may have changed
}

// Start implements sdk.Starter. It does not connect: a libvirtd that comes later
// is no reason not to start.
func (p *pollster) Start(_ context.Context, env sdk.Env) error {
	p.log, p.concurrency, p.timeout = env.Log, max(1, env.Concurrency), env.ResourceTimeout
	p.instances = map[lv.UUID]*instance{}
	p.changed = map[lv.UUID]struct{}{}
	p.chosen = choose(env.Wants, p.DiskTotals, p.CPUTime != "cpu")
	if p.Host == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("cannot find the host name, set option host: %w", err)
		}
		p.Host = name
	}
	var err error
	p.address, err = parseAddress(p.URI, p.Socket)
	return err
}

// Stop implements sdk.Stopper.
func (p *pollster) Stop(ctx context.Context) error {
	if p.client != nil {
		p.client.close(ctx)
		p.client = nil
	}
	return nil
}

// Poll implements sdk.Pollster.
func (p *pollster) Poll(ctx context.Context, out *sdk.Builder) error {
	ctx, cancel := withMargin(ctx)
	defer cancel()
	kept := p.client != nil
	err := p.begin(ctx)
	if kept && errors.Is(err, errLost) {
		// Only now was it noticed that the connection of the polls before has ended, as
		// it does when libvirt is restarted.
		err = p.begin(ctx)
	}
	switch {
	case err != nil && p.Optional && nobodyListens(err):
		p.log.Debug("there is no libvirt to measure", "error", err)
		return nil
	case err != nil:
		return err
	}
	p.recognize()
	err = p.complete(ctx, out)
	p.emit(out)
	p.forget()
	if ctx.Err() != nil || p.clogged {
		// It may be libvirtd that hangs, or some domain: a new connection is cheap
		// and waits for neither.
		p.disconnect()
	}
	return err
}

// begin sees to a connection and asks for the domains.
func (p *pollster) begin(ctx context.Context) error {
	if err := p.connect(ctx); err != nil {
		return err
	}
	p.polls++
	if err := p.list(ctx); err != nil {
		p.disconnect()
		return err
	}
	return nil
}

// nobodyListens tells that there is no socket, or one that its daemon left behind.
func nobodyListens(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
}

// withMargin ends a poll somewhat earlier than it must, so that what was measured
// until then still gets out.
func withMargin(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	margin := min(time.Until(deadline)/10, 500*time.Millisecond)
	return context.WithDeadline(ctx, deadline.Add(-margin))
}

// connect sees to a connection.
func (p *pollster) connect(ctx context.Context) error {
	if p.client != nil && !p.client.alive() {
		p.log.Info("libvirt ended the connection, connecting anew")
		p.disconnect()
	}
	if p.client != nil {
		return nil
	}
	path := p.address.socket()
	c, err := dial(ctx, path, p.address.uri, p.noteChange)
	if err != nil {
		return err
	}
	p.client, p.driver = c, driver{}
	// Without events, definitions are up to metadata_refresh old.
	for _, event := range []lv.DomainEventID{
		lv.DomainEventIDLifecycle, lv.DomainEventIDMetadataChange, lv.DomainEventIDDeviceAdded, lv.DomainEventIDDeviceRemoved,
	} {
		call := &call{procedure: procEventRegister, args: appendUint32(appendUint32(nil, uint32(event)), 0)}
		if err := c.do(ctx, call); err != nil {
			p.log.Debug("libvirt's driver has no such events", "event", event, "error", err)
		}
	}
	// Changes that nobody told of while there was no connection.
	for _, in := range p.instances {
		in.read = time.Time{}
	}
	p.log.Debug("connected to libvirt", "uri", p.address.uri, "socket", path)
	return nil
}

// disconnect gives the connection up without a word to libvirtd, which may hang.
func (p *pollster) disconnect() {
	p.client.drop()
	p.client, p.stuck, p.held, p.clogged = nil, nil, false, false
}

// noteChange remembers that a domain's definition may have changed. The
// connection calls it from a goroutine of its own.
func (p *pollster) noteChange(id lv.UUID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed[id] = struct{}{}
}

// recognize finds the instances that the domains are.
func (p *pollster) recognize() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.domains {
		d := &p.domains[i]
		in := p.instances[d.id.UUID]
		if in == nil || in.id.Name != d.id.Name {
			in = &instance{uuid: formatUUID(d.id.UUID)}
			p.instances[d.id.UUID] = in
		}
		if _, ok := p.changed[d.id.UUID]; ok || in.id.ID != d.id.ID {
			in.read = time.Time{}
		}
		in.id, in.seen = d.id, p.polls
	}
	clear(p.changed)
}

// forget drops instances whose domains are no more.
func (p *pollster) forget() {
	if len(p.instances) == len(p.domains) {
		return
	}
	for id, in := range p.instances {
		if in.seen != p.polls {
			delete(p.instances, id)
		}
	}
}

// emit adds the samples of all domains.
func (p *pollster) emit(out *sdk.Builder) {
	for i := range p.domains {
		d := &p.domains[i]
		in := p.instances[d.id.UUID]
		if d.gone || d.id.ID == 0 || p.Metadata == "nova" && in.def == nil {
			continue // 0 is the hypervisor itself, with Xen
		}
		state, _ := d.get(statState)
		if !in.made || in.state != state {
			in.describe(p.Host, state, p.Metadata == "nova")
		}
		p.emitDomain(out, d, in)
	}
}

func (p *pollster) emitDomain(out *sdk.Builder, d *domain, in *instance) {
	out.At(d.at)
	d.derive(p.CPUTime != "cpu")
	if n := in.nova; n != nil {
		d.put(statRootSize, uint64(n.Flavor.Disk))
		d.put(statEphemeralSize, uint64(n.Flavor.Ephemeral))
	}
	self := out.On(in.self)
	p.add(self, d, &d.values, p.chosen.instance)
	if len(p.chosen.totals) > 0 {
		var total values
		for i := range d.disks {
			for s := range numDiskStats {
				if v, ok := d.disks[i].get(s); ok {
					total.add(s, v)
				}
			}
		}
		p.add(self, d, &total, p.chosen.totals)
	}
	if len(p.chosen.disk) > 0 {
		for i := range d.disks {
			if disk := &d.disks[i]; disk.source && disk.known != 0 {
				p.add(out.On(in.disk(disk.name)), d, &disk.values, p.chosen.disk)
			}
		}
	}
	if len(p.chosen.nic) > 0 {
		for i := range d.nics {
			if nic := &d.nics[i]; nic.known != 0 {
				p.add(out.On(in.nic(nic.name)), d, &nic.values, p.chosen.nic)
			}
		}
	}
}

// add adds the meters that have a value.
func (p *pollster) add(to *sdk.Subject, d *domain, values *values, meters []meter) {
	for i := range meters {
		m := &meters[i]
		if !d.active() && (m.off == offNever || m.off == offOnRequest && !p.ReportShutoff) {
			continue
		}
		if v, ok := values.get(m.stat); ok {
			to.Add(m.Meter, float64(v)/m.divisor)
		}
	}
}

func formatUUID(id lv.UUID) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
}
