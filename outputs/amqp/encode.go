package amqp

import (
	"fmt"

	"github.com/nephoscope/nepho/outputs/amqp/message"
	"github.com/nephoscope/nepho/sdk"
)

// outgoing is a message and where it goes.
type outgoing struct {
	key string
	message.Message
}

// group is the part of a batch that has one routing key.
type group struct {
	key string
	message.Part
}

// encode makes the messages of a batch. Samples with the same routing key keep
// their order. refused are the rows that cannot be encoded, for the reason why.
func (p *publisher) encode(b *sdk.Batch) (messages []outgoing, refused []int, why, err error) {
	if p.Form == formCeilometer {
		messages, refused, why = p.encodeTelemetry(b)
		return messages, refused, why, nil
	}
	messages, err = p.encodeBatches(b)
	return messages, nil, nil, err
}

func (p *publisher) encodeTelemetry(b *sdk.Batch) (messages []outgoing, refused []int, why error) {
	form := message.Telemetry{Secret: p.Secret, PublisherID: p.PublisherID, MaxItems: p.MaxMessageSamples, MaxBytes: int(p.MaxMessageSize)}
	for _, g := range p.groupSamples(nil, b) {
		for _, m := range form.Samples(b, g.Rows) {
			messages = append(messages, outgoing{g.key, m})
		}
	}
	for _, g := range p.groupEvents(nil, b, p.eventKey) {
		encoded, bad, err := form.Events(b, g.Events)
		for _, m := range encoded {
			messages = append(messages, outgoing{g.key, m})
		}
		for _, e := range bad {
			refused = append(refused, b.Len()+e)
			why = err
		}
	}
	return messages, refused, why
}

func (p *publisher) encodeBatches(b *sdk.Batch) ([]outgoing, error) {
	groups := p.groupEvents(p.groupSamples(nil, b), b, p.key)
	var messages []outgoing
	add := func(g *group, body []byte) {
		messages = append(messages, outgoing{g.key, message.EncodeBatch(body, p.Secret, p.Gzip)})
	}
	if len(groups) == 1 {
		body, err := b.Encode()
		if err != nil {
			return nil, fmt.Errorf("cannot encode batch: %w", err)
		}
		if len(body) <= int(p.MaxMessageSize) {
			add(groups[0], body)
			return messages, nil
		}
	}
	s, err := message.NewSplitter(b)
	if err != nil {
		return nil, err
	}
	for len(groups) > 0 {
		g := groups[0]
		groups = groups[1:]
		body, err := s.Encode(g.Part)
		if err != nil {
			return nil, fmt.Errorf("cannot encode batch: %w", err)
		}
		// A single sample goes whatever its size.
		if len(body) > int(p.MaxMessageSize) && len(g.Rows)+len(g.Events) > 1 {
			groups = append(g.halves(), groups...)
			continue
		}
		add(g, body)
	}
	return messages, nil
}

// halves splits a group of two rows or more.
func (g *group) halves() []*group {
	r, e := (len(g.Rows)+1)/2, len(g.Events)/2
	return []*group{
		{g.key, message.Part{Rows: g.Rows[:r], Events: g.Events[:e]}},
		{g.key, message.Part{Rows: g.Rows[r:], Events: g.Events[e:]}},
	}
}

// groupSamples adds the samples to the groups of their routing keys, and makes
// groups in the order in which keys first appear.
func (p *publisher) groupSamples(groups []*group, b *sdk.Batch) []*group {
	if b.Len() == 0 {
		return groups
	}
	byResource := p.key.uses("partition", "resource_id", "project_id", "source")
	byMeter := p.key.uses("meter", "type")
	byKey := map[string]*group{}
	// Keys are made once for each entry of the tables they depend on.
	type entries struct{ resource, meter int }
	known := map[entries]*group{}
	for i := range b.Len() {
		at := entries{-1, -1}
		if byResource {
			at.resource = b.ResourceOf(i)
		}
		if byMeter {
			at.meter = b.MeterOf(i)
		}
		g := known[at]
		if g == nil {
			var of subject
			if byResource {
				r := b.Resource(at.resource)
				of.resource, of.project, of.source = r.ID, r.ProjectID, r.Source
			}
			if byMeter {
				m := b.Meter(at.meter)
				of.meter, of.typ = m.Name, m.Type.String()
			}
			groups, g = groupOf(groups, byKey, p.expand(p.key, of))
			known[at] = g
		}
		g.Rows = append(g.Rows, i)
	}
	return groups
}

// groupEvents does the same with events.
func (p *publisher) groupEvents(groups []*group, b *sdk.Batch, key template) []*group {
	byKey := map[string]*group{}
	for _, g := range groups {
		byKey[g.key] = g
	}
	var g *group
	for e := range b.Events() {
		groups, g = groupOf(groups, byKey, p.expand(key, eventSubject(b.Event(e))))
		g.Events = append(g.Events, e)
	}
	return groups
}

func groupOf(groups []*group, byKey map[string]*group, key string) ([]*group, *group) {
	g := byKey[key]
	if g == nil {
		g = &group{key: key}
		byKey[key] = g
		groups = append(groups, g)
	}
	return groups, g
}
