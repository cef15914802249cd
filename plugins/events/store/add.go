package store

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/plugins/events/chunk"
	"github.com/nephoscope/nepho/sdk"
)

// Limits of a chunk: its events, and their bytes without compression unless it is a
// single event.
const (
	maxEvents = 4096
	maxSize   = 4 << 20
)

// group is events that become a chunk.
type group struct {
	day    int64
	events []sdk.Event
	chunk  *chunk.Chunk
}

// Add stores those events that are not there, and gives how many these were. When it
// returns nil, they are durable. Events are the same if they have the same message id
// and were generated at the same time, however they are cut into calls; the first counts.
// An event without a message id gets one that is made of all that it has.
func (s *Store) Add(ctx context.Context, events []sdk.Event) (int, error) {
	s.adding.Lock()
	defer s.adding.Unlock()
	groups := s.group(once(events))
	for i := range groups {
		if err := s.encode(&groups[i]); err != nil {
			return 0, err
		}
	}
	seen := s.kinds.of(groups, dayOf(s.now().UnixNano())+1)
	var (
		left []group
		ids  []int64
	)
	err := s.db.Write(ctx, func(w *database.Session) error {
		left, ids = left[:0], ids[:0]
		if err := turn(ctx, w); err != nil {
			return err
		}
		for _, g := range groups {
			there, err := s.there(ctx, w, g.events)
			if err != nil {
				return err
			}
			if len(there) > 0 {
				g = g.without(there)
				if len(g.events) == 0 {
					continue
				}
				if err := s.encode(&g); err != nil {
					return err
				}
			}
			id, err := insert(ctx, w, g.day, g.chunk)
			if err != nil {
				return err
			}
			left, ids = append(left, g), append(ids, id)
		}
		return seen.write(ctx, w)
	})
	if err != nil {
		return 0, err
	}
	s.kinds.add(seen)
	added := 0
	for i := range left {
		s.known.put(ids[i], left[i].chunk.IDs)
		added += len(left[i].events)
	}
	s.counted.added.Add(uint64(added))
	s.counted.repeated.Add(uint64(len(events) - added))
	if added > 0 {
		s.wake()
	}
	return added, nil
}

func (s *Store) encode(g *group) (err error) {
	g.chunk, err = s.encoder.Encode(g.events)
	return err
}

// once gives events with ids, each once, sorted.
func once(events []sdk.Event) []sdk.Event {
	list := slices.Clone(events)
	for i := range list {
		if e := &list[i]; e.MessageID == "" {
			e.MessageID = uuid.NewSHA1(uuid.Nil, e.AppendJSON(nil)).String()
		}
	}
	return sorted(list)
}

// sorted sorts a list, and leaves out what is there twice.
func sorted(list []sdk.Event) []sdk.Event {
	sortEvents(list)
	return slices.CompactFunc(list, func(a, b sdk.Event) bool { return chunk.Compare(&a, &b) == 0 })
}

func sortEvents(list []sdk.Event) {
	slices.SortStableFunc(list, func(a, b sdk.Event) int { return chunk.Compare(&a, &b) })
}

// group groups sorted events by what becomes a chunk.
func (s *Store) group(events []sdk.Event) []group {
	var groups []group
	days := s.days()
	size := 0
	for start, i := 0, 0; i < len(events); i++ {
		d := days.of(events[i].Generated.UnixNano())
		n := chunk.Size(&events[i])
		if i == start || d != groups[len(groups)-1].day || i-start == maxEvents || size+n > maxSize {
			groups = append(groups, group{day: d})
			start, size = i, 0
		}
		g := &groups[len(groups)-1]
		g.events = events[start : i+1]
		size += n
	}
	return groups
}

// without gives a group without some of its events, which are given by their places.
func (g group) without(there map[int]bool) group {
	left := group{day: g.day}
	for i, e := range g.events {
		if !there[i] {
			left.events = append(left.events, e)
		}
	}
	return left
}
