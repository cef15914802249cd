package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// poison is what a transformer and a publisher share: they misbehave on batches
// that hold a certain volume.
type poison struct {
	Mode string  `toml:"mode" doc:"What to do wrong."`
	On   float64 `toml:"on" default:"-1" doc:"Volume on which to do it; -1 is each."`
}

func (p *poison) take(b *sdk.Batch) error {
	for _, s := range b.Samples() {
		if p.On != -1 && s.Volume != p.On {
			continue
		}
		switch p.Mode {
		case "refuse":
			return sdk.Refuse(fmt.Errorf("number %g is refused", s.Volume))
		case "refuse-lies":
			// Rows that are not there, and one that is, often.
			return sdk.RefuseRows(errors.New("some are refused"), []int{0, 0, 0, 7_000, 1 << 31})
		case "fail":
			return fmt.Errorf("number %g cannot be taken now", s.Volume)
		default:
			if !misbehave(p.Mode) && p.Mode != "hang-stop" && p.Mode != "hang-start" {
				return fmt.Errorf("this plugin knows no mode %q", p.Mode)
			}
		}
		return nil
	}
	return nil
}

// Start implements sdk.Starter.
func (p *poison) Start(context.Context, sdk.Env) error {
	if p.Mode == "hang-start" {
		select {}
	}
	return nil
}

// Stop implements sdk.Stopper.
func (p *poison) Stop(context.Context) error {
	if p.Mode == "hang-stop" {
		select {}
	}
	return nil
}

// transformer hands on what it gets.
type transformer struct{ poison }

// Transform implements sdk.Transformer.
func (t *transformer) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	if err := t.take(in); err != nil {
		return err
	}
	out.Forward(in)
	return nil
}

// publisher writes volumes to a file, if it has one.
type publisher struct {
	poison
	Path  string        `toml:"path" doc:"File to append samples to, as JSON lines."`
	Pause time.Duration `toml:"pause" doc:"How long a batch takes."`
}

// Publish implements sdk.Publisher.
func (p *publisher) Publish(_ context.Context, b *sdk.Batch) error {
	time.Sleep(p.Pause)
	if err := p.take(b); err != nil || p.Path == "" {
		return err
	}
	f, err := os.OpenFile(p.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, s := range b.Samples() {
		line, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if _, err := f.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// alarm takes what it is given and says nothing.
type alarm struct{ poison }

// Publish implements sdk.Alarm.
func (a *alarm) Publish(_ context.Context, b *sdk.Batch) error { return a.take(b) }

// Watch implements sdk.Alarm.
func (a *alarm) Watch(ctx context.Context, _ sdk.Host) error {
	<-ctx.Done()
	return ctx.Err()
}
