package host

import (
	"fmt"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/glob"
)

// filter leaves in batches what a pipeline asks for. Most batches pass or fail as
// a whole, which their header tells; only mixed ones are decoded.
type filter struct {
	meters, events *glob.Globs

	names map[string]bool // verdicts on meter names met so far
	types map[string]bool
}

// maxVerdicts bounds what a filter remembers of names.
const maxVerdicts = 10_000

func newFilter(meters, events *glob.Globs) *filter {
	return &filter{meters: meters, events: events, names: map[string]bool{}, types: map[string]bool{}}
}

func verdict(memory map[string]bool, globs *glob.Globs, name []byte) bool {
	if v, ok := memory[string(name)]; ok {
		return v
	}
	if len(memory) >= maxVerdicts {
		clear(memory)
	}
	v := globs.Match(string(name))
	memory[string(name)] = v
	return v
}

// pass gives the part of p that the pipeline asks for; it has no rows if there is
// none.
func (f *filter) pass(p parcel) (parcel, error) {
	h, err := peek(p.data)
	if err != nil {
		return p, err
	}
	in, out := 0, 0
	if p.samples > 0 {
		for _, m := range h.meters {
			if verdict(f.names, f.meters, h.strings[m]) {
				in++
			} else {
				out++
			}
		}
	}
	for _, t := range h.eventTypes {
		if verdict(f.types, f.events, h.strings[t]) {
			in++
		} else {
			out++
		}
	}
	switch {
	case out == 0:
		return p, nil
	case in == 0:
		p.data, p.samples, p.events = nil, 0, 0
		return p, nil
	}
	b, err := sdk.DecodeBatch(p.data)
	if err != nil {
		return p, err
	}
	b.Keep(func(i int) bool { return f.meters.Match(b.Meter(b.MeterOf(i)).Name) })
	b.KeepEvents(func(e int) bool { return f.events.Match(b.EventType(e)) })
	if p.data, err = b.Encode(); err != nil {
		return p, fmt.Errorf("cannot encode the part that passed: %w", err)
	}
	p.samples, p.events = uint32(b.Len()), uint32(b.Events())
	return p, nil
}
