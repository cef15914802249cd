// Package chunktest makes events for tests and benchmarks.
package chunktest

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// Nova makes events as ceilometer makes them of nova's notifications
// compute.instance.*: a cloud whose users create, use and delete machines. Ids are as
// random as real ones.
type Nova struct {
	r        *rand.Rand
	at       time.Time
	step     time.Duration
	projects []owner
	alive    []machine
	hosts    int
}

type owner struct{ project, user string }

type machine struct {
	owner
	id, name, host string
	flavor         int
	launched       time.Time
}

// NewNova makes a source of events that begins at a time, with a mean distance between
// two of them.
func NewNova(seed uint64, start time.Time, step time.Duration) *Nova {
	n := &Nova{r: rand.New(rand.NewPCG(seed, 1)), at: start, step: step, hosts: 200}
	for range 300 {
		n.projects = append(n.projects, owner{n.hex(), n.hex()})
	}
	return n
}

func (n *Nova) bytes() (b [16]byte) {
	for i := range b {
		b[i] = byte(n.r.Uint32())
	}
	return b
}

func (n *Nova) hex() string { b := n.bytes(); return hex.EncodeToString(b[:]) }

func (n *Nova) uuid() string {
	b := n.bytes()
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Events gives the next events: at least as many as asked for, in pairs of start and
// end. They arrive a little out of order.
func (n *Nova) Events(count int) []sdk.Event {
	var list []sdk.Event
	for len(list) < count {
		n.at = n.at.Add(2 * time.Duration(n.r.ExpFloat64()*float64(n.step)))
		verb := "create"
		var m machine
		switch at := n.r.IntN(max(1, len(n.alive))); {
		case len(n.alive) < 50 || n.r.IntN(10) < 3:
			m = machine{owner: n.projects[n.r.IntN(len(n.projects))], id: n.uuid(), host: fmt.Sprintf("compute-%04d.example.org", n.r.IntN(n.hosts)), flavor: n.r.IntN(8), launched: n.at}
			m.name = fmt.Sprintf("web-%d-%s", n.r.IntN(10000), m.id[:4])
			n.alive = append(n.alive, m)
		case len(n.alive) > 5000 || n.r.IntN(10) < 4:
			verb, m = "delete", n.alive[at]
			n.alive[at] = n.alive[len(n.alive)-1]
			n.alive = n.alive[:len(n.alive)-1]
		default:
			verb, m = []string{"power_off", "power_on", "reboot", "resize", "volume.attach", "update"}[n.r.IntN(6)], n.alive[at]
		}
		request := "req-" + n.uuid()
		for _, phase := range []string{"start", "end"} {
			n.at = n.at.Add(time.Duration(n.r.IntN(1000)) * time.Microsecond)
			list = append(list, sdk.Event{
				MessageID: n.uuid(), EventType: "compute.instance." + verb + "." + phase,
				Generated: n.at.Add(-time.Duration(n.r.IntN(3000)) * time.Millisecond).Truncate(time.Microsecond),
				Traits: []sdk.Trait{
					{Name: "service", Type: sdk.Text, Value: "compute." + m.host},
					{Name: "request_id", Type: sdk.Text, Value: request},
					{Name: "project_id", Type: sdk.Text, Value: m.project},
					{Name: "user_id", Type: sdk.Text, Value: m.user},
					{Name: "instance_id", Type: sdk.Text, Value: m.id},
					{Name: "display_name", Type: sdk.Text, Value: m.name},
					{Name: "host", Type: sdk.Text, Value: m.host},
					{Name: "instance_type", Type: sdk.Text, Value: fmt.Sprintf("m1.size%d", m.flavor)},
					{Name: "memory_mb", Type: sdk.Integer, Value: int64(512 << m.flavor)},
					{Name: "vcpus", Type: sdk.Integer, Value: int64(1 + m.flavor)},
					{Name: "disk_gb", Type: sdk.Integer, Value: int64(10 * (1 + m.flavor))},
					{Name: "state", Type: sdk.Text, Value: "active"},
					{Name: "launched_at", Type: sdk.Datetime, Value: m.launched.Truncate(time.Second)},
				},
			})
		}
	}
	return list
}

// Wild makes an event of few and odd values, so that conditions meet some of them:
// traits that are missing or there twice, of all types, numbers that are none, texts
// that are nearly ids.
func Wild(r *rand.Rand, at time.Time) sdk.Event {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	e := sdk.Event{
		MessageID: pick("", "m", "01234567-89ab-cdef-0123-456789abcdef", "x") + fmt.Sprintf("%x", r.Uint32()),
		EventType: pick("a", "b", "compute.instance.create.end", "\x00", "ü"),
		Generated: at.Add(time.Duration(r.IntN(20)) * time.Second).UTC(),
	}
	if r.IntN(4) == 0 {
		e.Generated = e.Generated.Add(time.Duration(r.IntN(3)))
	}
	for range r.IntN(7) {
		t := sdk.Trait{Name: pick("n", "project_id", "user_id", "", "x y", "n"), Type: sdk.TraitType(r.IntN(4))}
		switch t.Type {
		case sdk.Text:
			t.Value = Text(r)
		case sdk.Integer:
			t.Value = []int64{0, 1, -1, 7, math.MaxInt64, math.MinInt64}[r.IntN(6)]
		case sdk.Float:
			t.Value = []float64{0, math.Copysign(0, -1), 1.5, -2, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64}[r.IntN(8)]
		case sdk.Datetime:
			t.Value = []time.Time{at, at.Add(1), at.Add(time.Hour), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)}[r.IntN(5)].UTC()
		}
		e.Traits = append(e.Traits, t)
	}
	switch r.IntN(8) {
	case 0:
		e.Raw = []byte(`{"a":1}`)
	case 1:
		e.Raw = []byte("no JSON \xff")
	}
	return e
}

// Text is one of some texts.
func Text(r *rand.Rand) string {
	list := []string{
		"", "a", "b", "01234567-89ab-cdef-0123-456789abcdef", "01234567-89AB-cdef-0123-456789abcdef", "req-01234567-89ab-cdef-0123-456789abcdef",
		"01234567089ab-cdef-0123-456789abcdef", "0123456789abcdef", "0123456789abcde", "0123456789abcdef0", "00ff00ff00ff00ff00ff00ff00ff00ff", "0123456789abcdefg",
		"req-0123456789abcdef", "\x00", "ünïcode", strings.Repeat("long ", 300), strings.Repeat("ab", 64), strings.Repeat("ab", 65), "p1", "p2", "u1",
	}
	return list[r.IntN(len(list))]
}

// CPU is how much time of CPUs this process has used, for benchmarks on machines that
// others use as well.
func CPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
