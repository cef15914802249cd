package evaluate

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// What the API changes while alarms are read is newer than what is read.
func TestChangesWhileAlarmsAreRead(t *testing.T) {
	r := newRig(t)
	deleted, disabled, changed, untouched := r.alarm("r1", ""), r.alarm("r2", ""), r.alarm("r3", ""), r.alarm("r4", "")
	e := New(Options{Store: r.store, Interval: time.Minute})
	// The database is read now, and what was read is taken over after these:
	e.Remove(deleted.ID)
	for _, a := range []*store.Alarm{disabled, changed} {
		n := *a
		n.Alarm.Version, n.Enabled = 2, a == changed
		e.Put(&n)
	}
	for _, a := range []*store.Alarm{deleted, disabled, changed, untouched} {
		e.putLoaded(a)
	}
	if n := e.Counters().Alarms; n != 2 || e.alarms[untouched.ID] == nil || e.alarms[changed.ID] == nil {
		t.Fatalf("%d alarms are in memory, not the two that are left", n)
	}
	if v := e.alarms[changed.ID].version; v != 2 {
		t.Errorf("version %d of the changed one is in memory", v)
	}
	// When all are read, they are the newest.
	if err := e.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.Remove(untouched.ID)
	e.Put(untouched)
	if e.alarms[untouched.ID] == nil {
		t.Error("an alarm that was put after all were read is not in memory")
	}
}

// Events that come before the alarms are in memory are not lost: they are given back.
func TestEventsBeforeAlarms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{})
		events := []sdk.Event{{EventType: "x"}}
		if err := e.Events(t.Context(), events); !errors.Is(err, errLoading) {
			t.Fatalf("events are taken: %v", err)
		}
		time.AfterFunc(patienceLoading/2, func() { close(e.loading.done) })
		if err := e.Events(t.Context(), events); err != nil {
			t.Errorf("events are not taken in the moment in which the alarms are there: %v", err)
		}
	})
}

// Alarms that don't fit are not read, and the error says what to do.
func TestMemoryOfAlarms(t *testing.T) {
	const limit = 512 << 20 / 5 * 4 // as the host gives a process that may use 512 MiB
	for alarms, limit := range map[int]int64{500_000: limit, 10_000: 16 << 20, 1_000_000: 1 << 30 / 5 * 4} {
		if err := fits(alarms, limit); err != nil {
			t.Error(err)
		}
	}
	if err := fits(math.MaxInt32, math.MaxInt64); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	err := fits(1_000_000, limit)
	if err == nil || !strings.Contains(err.Error(), "512 are allowed") || !strings.Contains(err.Error(), `plugin_memory_limit = "960MiB"`) {
		t.Fatalf("a million: %v", err)
	}
	if err := fits(1_000_000, 960<<20/5*4); err != nil {
		t.Errorf("with what the error asks for: %v", err)
	}
}
