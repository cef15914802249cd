package aggregator

import (
	"context"
	"log/slog"
	"time"
)

// teller logs what happens to samples. It is used by one goroutine, and says of
// each kind of thing at most once a minute how often it happened since.
type teller struct {
	log  *slog.Logger
	now  func() time.Time
	kept map[string]*tally
	// strange is how many meters no definition names.
	strange int
}

// tally is what happened since the log was told.
type tally struct {
	count int
	told  time.Time
}

// quiet is how long the log hears nothing of a kind of thing after it heard of it.
const quiet = time.Minute

// maxKinds is of how many kinds of things the teller keeps account. Of others, which
// only a strange source makes, the log hears nothing.
const maxKinds = 1000

func newTeller(log *slog.Logger, now func() time.Time) *teller {
	return &teller{log: log, now: now, kept: map[string]*tally{}}
}

// happened counts, and tells the log if it is time.
func (t *teller) happened(kind string, n int, level slog.Level, message string, args ...any) {
	if n == 0 {
		return
	}
	k := t.kept[kind]
	if k == nil {
		if len(t.kept) >= maxKinds {
			return
		}
		k = &tally{}
		t.kept[kind] = k
	}
	k.count += n
	if now := t.now(); now.Sub(k.told) >= quiet || k.told.IsZero() {
		t.log.Log(context.Background(), level, message, append(args, "count", k.count)...)
		k.told, k.count = now, 0
	}
}

func (t *teller) late(n int) {
	t.happened("late", n, slog.LevelWarn, "samples came too late for their archive policies and were left out (see back_window)")
}

func (t *teller) deleted(n int) {
	t.happened("deleted", n, slog.LevelInfo, "samples of metrics that were just deleted were left out")
}

func (t *teller) resource(id string, err error) {
	t.happened("resource", 1, slog.LevelWarn, "a resource is not as its samples say", "resource", id, "error", err)
}

func (t *teller) attribute(typ, name string, err error) {
	t.happened("attribute "+typ+" "+name, 1, slog.LevelWarn, "a value does not fit its attribute and was left out", "resource_type", typ, "attribute", name, "error", err)
}

func (t *teller) event(eventType, what string, err error) {
	t.happened("event "+eventType+" "+what, 1, slog.LevelWarn, "an event does not say all that its definition needs", "event_type", eventType, "what", what, "error", err)
}

// maxUnknown is of how many meters that no definition names the log hears each by
// itself.
const maxUnknown = 100

// unknown tells once of each meter that no definition names; when these are many, how
// many more.
func (t *teller) unknown(m *meter) {
	if m.dropped++; m.dropped > 1 {
		return
	}
	if t.strange++; t.strange <= maxUnknown {
		t.log.Warn("samples of a meter that no definition names are dropped", "meter", m.metric)
		return
	}
	t.happened("unknown", 1, slog.LevelWarn, "samples of more meters that no definition names are dropped", "meter", m.metric)
}
