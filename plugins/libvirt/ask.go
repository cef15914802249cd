package libvirt

import (
	"context"
	"errors"
	"fmt"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/nephoscope/nepho/sdk"
)

// complete gets what domains are asked for one by one: definitions that are not
// known or may be out of date, and statistics where there are none in bulk.
func (p *pollster) complete(ctx context.Context, out *sdk.Builder) error {
	err := p.define(ctx, out)
	if !p.driver.single {
		return err
	}
	var ask []*domain
	for i := range p.domains {
		if d := &p.domains[i]; p.driver.noBulk || d.active() || p.ReportShutoff {
			ask = append(ask, d)
		}
	}
	return errors.Join(err, p.ask(ctx, ask))
}

// define reads the definitions that are needed.
func (p *pollster) define(ctx context.Context, out *sdk.Builder) error {
	devices := p.driver.single && (len(p.chosen.nic) > 0 || p.chosen.diskIO || p.chosen.diskSize)
	if p.Metadata == "none" && !devices {
		return nil
	}
	now := time.Now()
	var outdated []sdk.Resource
	byID := map[string]*domain{}
	for i := range p.domains {
		d := &p.domains[i]
		if in := p.instances[d.id.UUID]; in.outdated(now, p.MetadataRefresh) {
			outdated = append(outdated, sdk.Resource{ID: in.uuid})
			byID[in.uuid] = d
		}
	}
	if len(outdated) == 0 {
		return nil
	}
	return sdk.PollEach(ctx, outdated, out, func(ctx context.Context, r sdk.Resource, _ *sdk.Builder) error {
		d := byID[r.ID]
		xml := &call{procedure: procDomainXML, args: appendUint32(appendDomain(nil, &d.id), 0)}
		switch err := p.client.do(ctx, xml); {
		case code(err) == lv.ErrNoDomain:
			d.gone = true
			return nil
		case err != nil:
			return fmt.Errorf("cannot get its definition: %w", err)
		}
		reply := decoder{b: xml.reply}
		text := reply.text()
		if reply.bad {
			return errMalformed
		}
		def, err := parseDefinition(text)
		if err == nil {
			in := p.instances[d.id.UUID]
			in.def, in.read, in.made = def, time.Now(), false
		}
		return err
	})
}

// question is what a domain is asked at once, and where each answer goes.
type question struct {
	domain *domain
	sent   time.Time
	calls  []*call
	takes  []func(*decoder)
}

func (q *question) add(procedure uint32, args []byte, take func(*decoder)) {
	q.calls = append(q.calls, &call{procedure: procedure, args: args})
	q.takes = append(q.takes, take)
}

// ask gets the statistics of domains one by one: of as many at once as the
// instance's concurrency, each for at most its resource_timeout. It is no
// goroutine per domain, for those would be woken up more than they do.
func (p *pollster) ask(ctx context.Context, domains []*domain) error {
	var failed failures
	open := map[*group]*question{}
	finished := make(chan *group, len(domains))
	var tick <-chan time.Time
	if p.timeout > 0 {
		ticker := time.NewTicker(max(p.timeout/10, 10*time.Millisecond))
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		if len(open) <= p.concurrency/2 && len(domains) > 0 && ctx.Err() == nil {
			// Several at once, so that their calls leave together.
			domains = p.refill(open, finished, domains)
		}
		if len(open) == 0 && len(domains) == 0 {
			return failed.err()
		}
		select {
		case g := <-finished:
			if q := open[g]; q != nil {
				delete(open, g)
				failed.add(q.domain, p.answers(q))
			}
		case now := <-tick:
			p.expire(open, &failed, func(q *question) bool { return now.Sub(q.sent) > p.timeout })
		case <-ctx.Done():
			p.expire(open, &failed, func(*question) bool { return true })
			for _, d := range domains {
				failed.add(d, ctx.Err())
			}
			domains = nil
		}
	}
}

// refill asks further domains and gives those that remain.
func (p *pollster) refill(open map[*group]*question, finished chan<- *group, domains []*domain) []*domain {
	for len(open) < p.concurrency && len(domains) > 0 {
		q := p.question(domains[0])
		domains = domains[1:]
		if len(q.calls) > 0 {
			open[p.client.send(finished, q.calls...)] = q
		}
	}
	p.client.conn.flush()
	return domains
}

// expire gives up questions. What was answered of them counts.
func (p *pollster) expire(open map[*group]*question, failed *failures, over func(*question) bool) {
	for g, q := range open {
		if over(q) {
			p.client.abandon(g, context.DeadlineExceeded)
			p.clogged = true
			delete(open, g)
			failed.add(q.domain, p.answers(q))
		}
	}
}

// question makes the calls for the chosen meters of a domain.
func (p *pollster) question(d *domain) *question {
	q := &question{domain: d, sent: time.Now()}
	name := appendDomain(nil, &d.id)
	name = name[:len(name):len(name)] // so that appending copies
	if (p.chosen.info || p.driver.noBulk) && !p.driver.missing[procDomainInfo] {
		q.add(procDomainInfo, name, d.takeInfo)
	}
	if d.active() && p.chosen.memory && !p.driver.missing[procMemoryStats] {
		q.add(procMemoryStats, appendUint32(appendUint32(name, uint32(lv.DomainMemoryStatNr)), 0), d.takeMemory)
	}
	def := p.instances[d.id.UUID].def
	if def == nil {
		return q
	}
	d.disks = grow(d.disks, len(def.Disks)-1)
	io := d.active() && p.chosen.diskIO && !p.driver.missing[procBlockStats]
	size := p.chosen.diskSize && !p.driver.missing[procBlockInfo]
	for i, it := range def.Disks {
		disk := &d.disks[i]
		disk.name, disk.source = it.Target.Dev, it.Source != nil && it.Target.Dev != ""
		if disk.source && io {
			q.add(procBlockStats, appendString(name, disk.name), disk.takeIO)
		}
		if disk.source && size {
			q.add(procBlockInfo, appendUint32(appendString(name, disk.name), 0), disk.takeSize)
		}
	}
	if !d.active() || len(p.chosen.nic) == 0 || p.driver.missing[procInterfaceStats] {
		return q
	}
	d.nics = grow(d.nics, len(def.NICs)-1)
	for i, it := range def.NICs {
		nic := &d.nics[i]
		if nic.name = it.Target.Dev; nic.name != "" {
			q.add(procInterfaceStats, appendString(name, nic.name), nic.takeTraffic)
		}
	}
	return q
}

// answers takes what the calls brought. Statistics that a domain happens not to
// have, as when it was just shut off, are left out without a word.
func (p *pollster) answers(q *question) error {
	d := q.domain
	d.at = time.Now()
	var first error
	for i, c := range q.calls {
		err := c.err
		switch code(err) {
		case lv.ErrOk:
			if err == nil {
				r := decoder{b: c.reply}
				q.takes[i](&r)
				err = r.err()
			}
			if first == nil {
				first = err
			}
		case lv.ErrNoDomain:
			d.gone = true
			return nil
		case lv.ErrNoSupport:
			if !p.driver.missing[c.procedure] {
				p.driver.missing[c.procedure] = true
				p.log.Debug("libvirt's driver does not have some statistics, their meters are left out", "procedure", c.procedure, "error", err)
			}
		case lv.ErrInvalidArg:
			// The device is no longer there.
			p.instances[d.id.UUID].read = time.Time{}
		case lv.ErrOperationInvalid, lv.ErrOperationUnsupported, lv.ErrConfigUnsupported, lv.ErrArgumentUnsupported:
		default:
			if first == nil {
				first = err
			}
		}
	}
	return first
}

// failures counts domains that could not be measured and keeps the first error.
type failures struct {
	n     int
	first error
}

func (f *failures) add(d *domain, err error) {
	if err == nil {
		return
	}
	if f.n++; f.first == nil {
		f.first = fmt.Errorf("domain %q: %w", d.id.Name, err)
	}
}

func (f *failures) err() error {
	if f.n < 2 {
		return f.first
	}
	return fmt.Errorf("%d domains could not be measured, the first was %w", f.n, f.first)
}

func (d *domain) takeInfo(r *decoder) {
	state := r.uint32()
	r.uint64() // most memory
	memory, vcpus, time := r.uint64(), r.uint32(), r.uint64()
	if r.bad {
		return
	}
	d.put(statState, uint64(state))
	d.put(statVCPUs, uint64(vcpus))
	if !d.has(statBalloon) {
		d.put(statBalloon, memory)
	}
	if d.active() {
		d.put(statCPUTime, time)
	}
}

func (d *domain) takeMemory(r *decoder) {
	for range r.count(4 + 8) {
		tag, v := r.uint32(), r.uint64()
		switch lv.DomainMemoryStatTags(tag) {
		case lv.DomainMemoryStatActualBalloon:
			d.put(statBalloon, v)
		case lv.DomainMemoryStatAvailable:
			d.put(statAvailable, v)
		case lv.DomainMemoryStatUnused:
			d.put(statUnused, v)
		case lv.DomainMemoryStatUsable:
			d.put(statUsable, v)
		case lv.DomainMemoryStatRss:
			d.put(statRSS, v)
		case lv.DomainMemoryStatSwapIn:
			d.put(statSwapIn, v)
		case lv.DomainMemoryStatSwapOut:
			d.put(statSwapOut, v)
		}
	}
}

func (d *device) takeIO(r *decoder) {
	d.takeCounters(r, diskReadRequests, diskReadBytes, diskWriteRequests, diskWriteBytes)
}

func (d *device) takeSize(r *decoder) {
	d.takeCounters(r, diskAllocation, diskCapacity, diskPhysical)
}

func (d *device) takeTraffic(r *decoder) {
	d.takeCounters(r, nicReceivedBytes, nicReceivedPackets, nicReceivedErrors, nicReceivedDrops,
		nicSentBytes, nicSentPackets, nicSentErrors, nicSentDrops)
}

// takeCounters reads 64-bit numbers; -1 stands for one that is not known.
func (d *device) takeCounters(r *decoder, stats ...stat) {
	for _, s := range stats {
		if v := r.uint64(); !r.bad && int64(v) >= 0 {
			d.put(s, v)
		}
	}
}
