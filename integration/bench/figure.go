package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// bench is what scenarios work with.
type bench struct {
	ctx      context.Context // ends when the user wants it to
	out      *json.Encoder
	log      io.Writer
	root     string // of the source tree
	dir      string // removed at the end
	runs     int
	millions int
	peers    bool
}

// figure is one line of output.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Peer is who did the same work, with what result; both are null without
	// PEERS=1 or when the peer could not be run, which Note explains.
	Peer      *string  `json:"peer"`
	PeerValue *float64 `json:"peer_value"`
	// Must and Aim are what the value is to reach: at least if the unit is a rate,
	// else at most.
	Must *float64 `json:"must,omitempty"`
	Aim  *float64 `json:"aim,omitempty"`
	OK   *bool    `json:"ok,omitempty"`
	// Runs are the values that Value is the median of, if they are few.
	Runs []float64 `json:"runs,omitempty"`
	Load string    `json:"load_average"`
	Note string    `json:"note,omitempty"`
}

// peer is a figure of somebody else; err says why there is none.
type peer struct {
	name  string
	value float64
	err   error
}

// newPeer is a peer's median, or why there is none.
func newPeer(name string, err error, values []float64) peer {
	if err != nil {
		return peer{name: name, err: err}
	}
	return peer{name: name, value: median(values)}
}

// attempt runs a peer unless it failed before: what a peer cannot do is reported,
// and the rest goes on.
func (b *bench) attempt(before error, run func(parts.TB)) error {
	if before != nil || b.ctx.Err() != nil {
		return before
	}
	return parts.Run(b.log, run)
}

// goal is what a figure must and should reach; zero is none.
type goal struct{ must, aim float64 }

// report prints the median of values, once for each peer.
func (b *bench) report(name, unit string, g goal, values []float64, peers ...peer) {
	f := figure{Name: name, Value: round(median(values)), Unit: unit, Load: loadAverage()}
	if len(values) > 1 && len(values) <= 10 {
		for _, v := range values {
			f.Runs = append(f.Runs, round(v))
		}
	}
	more := strings.HasSuffix(unit, "/s") || strings.HasSuffix(unit, "/CPU-s")
	verdict := ""
	if g.must != 0 {
		ok := f.Value <= g.must
		if more {
			ok = f.Value >= g.must
		}
		f.Must, f.OK = &g.must, &ok
		verdict = fmt.Sprintf(", must be %v", g.must)
		if !ok {
			verdict += ": MISSED"
		}
	}
	if g.aim != 0 {
		f.Aim = &g.aim
	}
	b.say("  %s: %v %s%s", name, f.Value, unit, verdict)
	if len(peers) == 0 {
		b.write(f)
	}
	for _, p := range peers {
		f.Peer, f.PeerValue, f.Note = &p.name, nil, ""
		if p.err != nil {
			f.Note = p.name + " could not be measured: " + p.err.Error()
			b.say("    %s", f.Note)
		} else {
			v := round(p.value)
			f.PeerValue = &v
			b.say("    %s: %v %s", p.name, v, unit)
		}
		b.write(f)
	}
}

func (b *bench) write(f figure) {
	if err := b.out.Encode(f); err != nil {
		b.say("cannot print a figure: %v", err)
	}
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.log, "bench: "+format+"\n", args...) }

// pause waits, and ends the scenario when the user interrupts.
func (b *bench) pause(tb parts.TB, d time.Duration) {
	tb.Helper()
	select {
	case <-time.After(d):
	case <-b.ctx.Done():
		tb.Fatalf("interrupted")
	}
}

// await calls check every so often until it gives true.
func (b *bench) await(tb parts.TB, every, within time.Duration, what string, check func() bool) {
	tb.Helper()
	for begun := time.Now(); !check(); b.pause(tb, every) {
		if time.Since(begun) > within {
			tb.Fatalf("waited %v for %s", within, what)
		}
	}
}

func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// round keeps four significant digits, which is more than is certain.
func round(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

// loadAverage tells how busy the machine is with this and other things.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
