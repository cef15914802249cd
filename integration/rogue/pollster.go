package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

// pollster gives samples of the meter "number", volume 0, 1, 2 and so on, over
// all its lives.
type pollster struct {
	Mode    string        `toml:"mode" doc:"What to do wrong."`
	PerPoll int           `toml:"per_poll" default:"1" doc:"Samples of one poll."`
	After   int           `toml:"after" doc:"Polls that go well before it misbehaves."`
	Pause   time.Duration `toml:"pause" doc:"How long a poll takes."`
	Secret  string        `toml:"secret" secret:"true" doc:"Never shown."`

	env   sdk.Env
	polls int
	next  uint64
	began time.Time
	hoard [][]byte
}

// Validate hangs when told to: checking options must not hold up the host.
func (p *pollster) Validate() error {
	if p.Mode == "hang-check" {
		select {}
	}
	if p.Mode == "bad-option" {
		return config.KeyError("mode", "this plugin dislikes its options")
	}
	return nil
}

// Start implements sdk.Starter.
func (p *pollster) Start(_ context.Context, env sdk.Env) error {
	p.env = env
	switch p.Mode {
	case "hang-start":
		select {}
	case "die-in-start":
		os.Exit(3)
	case "fail-start":
		return errors.New("this plugin cannot start")
	}
	data, err := os.ReadFile(p.file())
	if errors.Is(err, fs.ErrNotExist) || p.env.StateDir == "" {
		return nil
	}
	if len(data) == 8 {
		p.next = binary.BigEndian.Uint64(data)
	}
	return err
}

func (p *pollster) file() string { return filepath.Join(p.env.StateDir, "next") }

// save notes the next number. A poll that the host gave up may have got through
// in part, so that its numbers are given again.
func (p *pollster) save() error {
	if p.env.StateDir == "" {
		return nil
	}
	if err := os.WriteFile(p.file()+".new", binary.BigEndian.AppendUint64(nil, p.next), 0o640); err != nil {
		return err
	}
	return os.Rename(p.file()+".new", p.file())
}

// Poll implements sdk.Pollster.
func (p *pollster) Poll(ctx context.Context, out *sdk.Builder) error {
	p.polls++
	mode := p.Mode
	if p.polls <= p.After {
		mode = ""
	}
	if mode == "stepped-clock" {
		return p.stepClock(out)
	}
	on := out.On(sdk.Resource{ID: p.env.Instance, ProjectID: "p", Metadata: sdk.Metadata{"instance": p.env.Instance}})
	for range p.PerPoll {
		on.Cumulative("number", "1", float64(p.next))
		p.next++
	}
	if p.Pause > 0 {
		time.Sleep(p.Pause)
	}
	switch mode {
	case "slow":
		<-ctx.Done() // late, but it does as it is told
		return ctx.Err()
	case "die-mid-poll":
		out.Flush()
		time.Sleep(50 * time.Millisecond)
		os.Exit(3)
	case "leak":
		p.leak()
	case "fail":
		return errors.New("this poll fails")
	default:
		if !misbehave(mode) && mode != "hang-stop" {
			return fmt.Errorf("this plugin knows no mode %q", mode)
		}
	}
	return p.save()
}

// stepClock gives a counter that grows by 5 a second, while the wall clock is an
// hour back in every other run of three polls and an hour ahead in the next.
func (p *pollster) stepClock(out *sdk.Builder) error {
	if p.began.IsZero() {
		p.began = time.Now()
	}
	now := time.Now()
	since := now.Sub(p.began)
	step := []time.Duration{0, -time.Hour, time.Hour}[p.polls/3%3]
	out.Add(sdk.Sample{
		Name: "counter", Type: sdk.Cumulative, Unit: "1", Volume: 5 * since.Seconds(), ResourceID: p.env.Instance,
		Timestamp: now.Add(step), Monotonic: time.Hour + since,
	})
	return nil
}

// leak keeps 32 MiB and a thousand goroutines.
func (p *pollster) leak() {
	chunk := make([]byte, 32<<20)
	for i := 0; i < len(chunk); i += 4096 {
		chunk[i] = 1
	}
	p.hoard = append(p.hoard, chunk)
	for range 1000 {
		go func() { select {} }()
	}
}

// Stop implements sdk.Stopper.
func (p *pollster) Stop(context.Context) error {
	if p.Mode == "hang-stop" {
		select {}
	}
	return nil
}

// notification delivers numbered samples as fast as they are settled.
type notification struct {
	Mode  string        `toml:"mode" doc:"What to do wrong."`
	Every time.Duration `toml:"every" default:"10ms" doc:"Pause between deliveries."`

	next float64
}

// Listen implements sdk.Notification.
func (n *notification) Listen(ctx context.Context, deliver sdk.Deliver) error {
	for ctx.Err() == nil {
		if !misbehave(n.Mode) && n.Mode != "return" {
			return fmt.Errorf("this plugin knows no mode %q", n.Mode)
		}
		err := deliver(ctx, func(out *sdk.Builder) error {
			out.On(sdk.Resource{ID: "rogue"}).Cumulative("number", "1", n.next)
			n.next++
			return nil
		}, func(error) {})
		if err != nil || n.Mode == "return" {
			return err
		}
		time.Sleep(n.Every)
	}
	return nil
}
