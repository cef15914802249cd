package evaluate

import (
	"maps"
	"slices"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// seriesIndex knows which alarms depend on which series.
type seriesIndex struct {
	scopes map[sdk.Scope]*sdk.Scope
	// numbers has the alarms that look at a series, or at an expression of it.
	numbers map[uint64]watchers
	// names has the alarms whose series is not known, by the name that it has once it is
	// there.
	names map[sdk.SeriesName]watchers
	// named is the most names since the map was made.
	named int
	// meters has the alarms that look at a meter of all resources that a search finds.
	meters map[string][]*alarm
	// sets has the series of leaves that look at several, which are in numbers, too.
	sets map[*leaf]*members
}

// members are the series of a leaf that looks at several.
type members struct {
	numbers []uint64
	found   int64 // when they were found; 0: there may be others by now
}

// watchers is alarms; most often it is one, and there are as many as alarms: so it is
// small.
type watchers struct {
	one  *alarm
	more map[*alarm]struct{} // the others
}

func (w watchers) with(a *alarm) watchers {
	switch {
	case w.one == nil:
		w.one = a
	case w.one != a:
		if w.more == nil {
			w.more = map[*alarm]struct{}{}
		}
		w.more[a] = struct{}{}
	}
	return w
}

func (w watchers) without(a *alarm) watchers {
	if w.one != a {
		delete(w.more, a)
	} else {
		w.one = nil
		for other := range w.more {
			w.one = other
			delete(w.more, other)
			break
		}
	}
	if len(w.more) == 0 {
		w.more = nil
	}
	return w
}

func (w watchers) each(f func(*alarm)) {
	if w.one != nil {
		f(w.one)
	}
	for a := range w.more {
		f(a)
	}
}

func put[K comparable](m map[K]watchers, key K, w watchers) {
	if w.one == nil {
		delete(m, key)
	} else {
		m[key] = w
	}
}

func (x *seriesIndex) init() {
	x.scopes, x.numbers, x.names = map[sdk.Scope]*sdk.Scope{}, map[uint64]watchers{}, map[sdk.SeriesName]watchers{}
	x.meters, x.sets = map[string][]*alarm{}, map[*leaf]*members{}
}

// scope gives the scope of an alarm's owner.
func (x *seriesIndex) scope(a *store.Alarm) *sdk.Scope {
	key := sdk.Scope{User: a.User, Project: a.Project}
	if a.Admin {
		key = sdk.Scope{All: true}
	}
	s := x.scopes[key]
	if s == nil {
		s = &key
		x.scopes[key] = s
	}
	return s
}

// meter gives the meter that a rule looks at in whichever resource; "": of none.
func meter(r def.Rule) string {
	if r, ok := r.(*def.ResourcesThreshold); ok {
		return r.Metric
	}
	return ""
}

func (x *seriesIndex) add(a *alarm) {
	for i := range a.leaves {
		if name, ok := a.leaves[i].series(); ok {
			put(x.names, name, x.names[name].with(a))
			x.named = max(x.named, len(x.names))
		}
		if m := meter(a.leaves[i].rule); m != "" && !slices.Contains(x.meters[m], a) {
			x.meters[m] = append(x.meters[m], a)
		}
	}
}

func (x *seriesIndex) remove(a *alarm) {
	for i := range a.leaves {
		l := &a.leaves[i]
		if name, ok := l.series(); ok && l.number == 0 {
			put(x.names, name, x.names[name].without(a))
		}
		if l.number != 0 {
			x.unwatch(a, l, l.number)
			l.number = 0 // else each of two leaves leaves it to the other
		}
		x.several(a, l, nil, 0)
		m := meter(l.rule)
		if i := slices.Index(x.meters[m], a); i >= 0 {
			if x.meters[m] = slices.Delete(x.meters[m], i, i+1); len(x.meters[m]) == 0 {
				delete(x.meters, m)
			}
		}
	}
}

// unwatch notes that a leaf no longer looks at a series; other leaves of the alarm may.
func (x *seriesIndex) unwatch(a *alarm, l *leaf, number uint64) {
	for i := range a.leaves {
		other := &a.leaves[i]
		if other == l {
			continue
		}
		if m := x.sets[other]; other.number == number || m != nil && slices.Contains(m.numbers, number) {
			return
		}
	}
	put(x.numbers, number, x.numbers[number].without(a))
}

// found notes that a leaf's series is known by now.
func (x *seriesIndex) found(a *alarm, l *leaf, number uint64) {
	if name, ok := l.series(); ok {
		put(x.names, name, x.names[name].without(a))
		x.shrink()
	}
	l.number = number
	put(x.numbers, number, x.numbers[number].with(a))
}

// shrink gives the memory of names back that are known by now: after a start all are in
// the map for a while, and a map never shrinks.
func (x *seriesIndex) shrink() {
	if x.named < 1024 || len(x.names) > x.named/8 {
		return
	}
	names := make(map[sdk.SeriesName]watchers, len(x.names))
	maps.Copy(names, x.names)
	x.names, x.named = names, len(names)
}

// several notes which series a leaf looks at that may look at several, and when they
// were found.
func (x *seriesIndex) several(a *alarm, l *leaf, numbers []uint64, found int64) {
	if old := x.sets[l]; old != nil {
		for _, n := range old.numbers {
			x.unwatch(a, l, n)
		}
		delete(x.sets, l)
	}
	if numbers == nil {
		return
	}
	for _, n := range numbers {
		put(x.numbers, n, x.numbers[n].with(a))
	}
	x.sets[l] = &members{numbers, found}
}

// joined notes that there is a series which nobody looks at yet, and gives the alarms whose
// searches may find it.
func (x *seriesIndex) joined(s *sdk.Series) []*alarm {
	if x.numbers[s.Number].one != nil {
		return nil
	}
	list := x.meters[s.Meter]
	for _, a := range list {
		for i := range a.leaves {
			if m := x.sets[&a.leaves[i]]; m != nil && meter(a.leaves[i].rule) == s.Meter {
				m.found = 0
			}
		}
	}
	return list
}

// lost notes that a leaf's series is not there any more.
func (x *seriesIndex) lost(a *alarm, l *leaf) {
	x.unwatch(a, l, l.number)
	l.number = 0
	if name, ok := l.series(); ok {
		put(x.names, name, x.names[name].with(a))
	}
}
