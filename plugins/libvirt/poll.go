package libvirt

import (
	"context"
	"errors"
	"fmt"
	"time"

	lv "github.com/digitalocean/go-libvirt"
)

// driver is what was found out about the driver on the other end of the
// connection.
type driver struct {
	known   bool // whether the bulk statistics are worth anything
	single  bool // they are not: domains are asked one by one
	noBulk  bool // there is not even the call
	missing [procBlockInfo + 1]bool
}

// explain makes an error of a call for all domains.
func explain(what string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("cannot get %s: libvirtd does not answer: %w", what, err)
	}
	return fmt.Errorf("cannot get %s: %w", what, err)
}

// list fills p.domains with all domains and, where the driver has them, their
// statistics.
func (p *pollster) list(ctx context.Context) error {
	if !p.driver.noBulk {
		reply, err := p.bulk(ctx)
		switch {
		case err == nil:
			if p.domains, err = decodeStats(reply, time.Now(), p.domains); err != nil {
				return err
			}
			p.judge()
			return nil
		case code(err) == lv.ErrNoSupport:
			p.log.Debug("libvirt's driver has no bulk statistics: domains are asked one by one")
			p.driver = driver{known: true, single: true, noBulk: true}
		default:
			return explain("the domains' statistics", err)
		}
	}
	all := &call{procedure: procListAllDomains, args: appendUint32(appendUint32(nil, 1), 0)}
	if err := p.client.do(ctx, all); err != nil {
		return explain("the list of domains", err)
	}
	var err error
	p.domains, err = decodeDomains(all.reply, time.Now(), p.domains)
	return err
}

// bulk gets the statistics of all domains.
//
// A guest whose emulator hangs holds the call up for as long as it hangs. So the
// call gets half of the time that is left; then libvirt is asked again, for what
// it has without waiting, and goes on being asked so until the first call is
// answered. A libvirtd that answers neither hangs itself.
func (p *pollster) bulk(ctx context.Context) ([]byte, error) {
	if p.stuck != nil {
		select {
		case <-p.stuck.done:
			p.stuck = nil
		default:
		}
	}
	if p.stuck == nil {
		waiting := p.bulkCall(0)
		g := p.client.send(nil, waiting)
		p.client.conn.flush()
		half, cancel := withHalf(ctx)
		defer cancel()
		err := g.wait(half)
		if err == nil {
			if p.held {
				p.held = false
				p.log.Info("no domain holds up libvirt's statistics any longer")
			}
			return waiting.reply, waiting.err
		}
		if ctx.Err() != nil {
			p.client.abandon(g, err)
			return nil, err
		}
		p.stuck = g
	}
	instant := p.bulkCall(lv.ConnectGetAllDomainsStatsNowait)
	err := p.client.do(ctx, instant)
	if err == nil && !p.held {
		p.held = true
		p.log.Warn("a domain holds up libvirt's statistics; until it answers, domains that are busy miss some of theirs")
	}
	return instant.reply, err
}

func (p *pollster) bulkCall(flags lv.ConnectGetAllDomainStatsFlags) *call {
	args := appendUint32(nil, 0) // no list of domains: all
	args = appendUint32(args, uint32(p.chosen.groups))
	return &call{procedure: procAllDomainStats, args: appendUint32(args, uint32(flags))}
}

func withHalf(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithTimeout(ctx, time.Until(deadline)/2)
	}
	return ctx, func() {}
}

// judge finds out, as soon as there is a domain to tell by, whether the driver's
// bulk statistics hold more than states.
func (p *pollster) judge() {
	if p.driver.known || p.chosen.groups == lv.DomainStatsState {
		return
	}
	active := false
	for i := range p.domains {
		d := &p.domains[i]
		if d.bulk {
			p.driver.known = true
			return
		}
		active = active || d.active()
	}
	if active {
		p.driver.known, p.driver.single = true, true
		p.log.Debug("libvirt's driver gives only states in bulk: domains are asked one by one for the rest")
	}
}
