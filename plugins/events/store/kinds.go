package store

import (
	"context"
	"database/sql"
	"strings"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/sdk"
)

// trait is a name and a type; the empty name and noTrait are the event type itself.
type trait struct {
	name string
	typ  sdk.TraitType
}

const noTrait = 255

// kinds remembers until which day the database knows that an event type, and its
// traits, are in use.
type kinds struct {
	days map[string]map[trait]int64
	size int
}

// maxKinds is the most that are remembered, maxListed the longest name that is listed,
// and maxNew the most that one batch makes: there are not more but of mistakes.
const (
	maxKinds  = 20_000
	maxListed = 255
	maxNew    = 1000
)

// seen is what is to be written of kinds.
type seen struct {
	days map[string]map[trait]int64
	n    int
}

// of gives what groups of events have and is not remembered. Days after the latest are
// taken for that.
func (k *kinds) of(groups []group, latest int64) *seen {
	s := &seen{days: map[string]map[trait]int64{}}
	for i := range groups {
		for e := range groups[i].events {
			event := &groups[i].events[e]
			d := min(dayOf(event.Generated.UnixNano()), latest)
			known := k.days[event.EventType]
			s.note(event.EventType, trait{"", noTrait}, known, d)
			for t := range event.Traits {
				s.note(event.EventType, trait{event.Traits[t].Name, event.Traits[t].Type}, known, d)
			}
		}
	}
	return s
}

func (s *seen) note(eventType string, t trait, known map[trait]int64, d int64) {
	if at, ok := known[t]; ok && at >= d {
		return
	}
	of := s.days[eventType]
	at, ok := of[t]
	if ok && at >= d {
		return
	}
	if !ok {
		if !listed(eventType) || !listed(t.name) || s.n >= maxNew {
			return
		}
		s.n++
	}
	if of == nil {
		of = map[trait]int64{}
		s.days[eventType] = of
	}
	of[t] = d
}

// listed reports whether a name is one that a table can hold.
func listed(name string) bool {
	return len(name) <= maxListed && strings.IndexByte(name, 0) < 0 && strings.ToValidUTF8(name, "") == name
}

func (s *seen) write(ctx context.Context, w *database.Session) error {
	values := make([]any, 0, 4*s.n)
	for eventType, of := range s.days {
		for t, d := range of {
			typ := int64(t.typ)
			if t.typ == noTrait {
				typ = -1
			}
			values = append(values, eventType, t.name, typ, d)
		}
	}
	_, err := w.Insert(ctx, "event_kind (event_type, trait, type, day)", 4, values,
		"ON CONFLICT (event_type, trait, type) DO UPDATE SET day = excluded.day WHERE event_kind.day < excluded.day")
	return err
}

// add remembers what was written.
func (k *kinds) add(s *seen) {
	if k.size+s.n > maxKinds || k.days == nil {
		k.days, k.size = map[string]map[trait]int64{}, 0
	}
	for eventType, of := range s.days {
		known := k.days[eventType]
		if known == nil {
			known = map[trait]int64{}
			k.days[eventType] = known
		}
		for t, d := range of {
			if _, ok := known[t]; !ok {
				k.size++
			}
			known[t] = d
		}
	}
}

// Types are the event types in use, sorted.
func (s *Store) Types(ctx context.Context) ([]string, error) {
	list := []string{}
	err := s.db.Read(ctx, func(v *database.Session) error {
		list = list[:0]
		rows, err := v.Query(ctx, "SELECT event_type FROM event_kind WHERE type = -1 ORDER BY event_type")
		return database.Each(rows, err, func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			list = append(list, name)
			return err
		})
	})
	return list, err
}

// TraitType is a trait that events of a type have.
type TraitType struct {
	Name string
	Type sdk.TraitType
}

// Traits are the traits that events of a type have had, sorted by type and name.
func (s *Store) Traits(ctx context.Context, eventType string) ([]TraitType, error) {
	list := []TraitType{}
	if !listed(eventType) {
		return list, nil
	}
	err := s.db.Read(ctx, func(v *database.Session) error {
		list = list[:0]
		rows, err := v.Query(ctx, "SELECT trait, type FROM event_kind WHERE event_type = ? AND type >= 0 ORDER BY type, trait", eventType)
		return database.Each(rows, err, func(rows *sql.Rows) error {
			var t TraitType
			err := rows.Scan(&t.Name, &t.Type)
			list = append(list, t)
			return err
		})
	})
	return list, err
}
