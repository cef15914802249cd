// Package aggregator is the transformer that makes one sample of many of the
// same meter and resource.
package aggregator

import (
	"cmp"
	"context"
	_ "embed" // for the sample configuration
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nephoscope/nepho/plugins/internal/derive"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the transformer.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:        "aggregator",
		Summary:     "Makes one sample of many of the same meter and resource: the mean, the sum or the last",
		Sample:      sample,
		Transformer: func() sdk.Transformer { return new(transformer) },
	}
}

// most is how many aggregates are held at most, for they leave in one answer.
const most = 50_000

type transformer struct {
	Source    derive.Source `toml:"source" doc:"Which samples are aggregated, and parts of their names."`
	Target    derive.Target `toml:"target" doc:"What the aggregates are called and how samples are scaled."`
	Size      int           `toml:"size" default:"1" min:"0" doc:"Emits when it holds so many samples, of all meters and resources together; 0 is never."`
	Retention time.Duration `toml:"retention" default:"0s" doc:"Emits when it has held a sample for so long; 0 is never."`
	Timestamp string        `toml:"timestamp" default:"first" enum:"first|last" doc:"Which sample's time an aggregate has."`
	Metadata  string        `toml:"resource_metadata" default:"last" enum:"first|last|drop" doc:"Which sample's metadata an aggregate has."`
	Project   string        `toml:"project_id" default:"" enum:"first|last" doc:"Which sample's project an aggregate has; without it projects are kept apart."`
	User      string        `toml:"user_id" default:"" enum:"first|last" doc:"Which sample's user an aggregate has; without it users are kept apart."`

	namer   *derive.Namer
	scale   *derive.Scale
	state   *sdk.State[aggregate]
	trouble *derive.Trouble
	now     func() time.Time
}

// Validate compiles the options.
func (t *transformer) Validate() error {
	var errName, errScale, errWhen error
	t.namer, errName = derive.NewNamer(t.Source, t.Target.Naming)
	t.scale, errScale = derive.NewScale(t.Target)
	if errScale == nil && t.scale.Constant() {
		errScale = config.KeyError("target.scale", `gives all samples the same volume: write a number without quotes, or an expression such as "volume / 1024"`)
	}
	if t.Size == 0 && t.Retention == 0 {
		errWhen = config.KeyError("size", "is 0 and there is no retention, so that nothing would ever be emitted")
	}
	return errors.Join(errName, errScale, errWhen)
}

// Start implements [sdk.Starter].
func (t *transformer) Start(_ context.Context, env sdk.Env) (err error) {
	t.now = time.Now
	t.trouble = derive.NewTrouble(env)
	t.state, err = sdk.NewState[aggregate](env, "aggregates", 0)
	return err
}

// Transform implements [sdk.Transformer].
func (t *transformer) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	selected := make([]bool, in.Meters())
	for m := range selected {
		selected[m] = t.namer.Selects(in.Meter(m))
	}
	t.scale.Begin(in)
	now := t.now()
	for i := range in.Len() {
		if selected[in.MeterOf(i)] {
			t.add(in, i, now)
		}
	}
	t.trouble.Settle()
	in.Keep(func(i int) bool { return !selected[in.MeterOf(i)] })
	if in.Len()+in.Events() > 0 {
		out.Forward(in)
	}
	if t.state.Len() >= most || t.Size > 0 && t.held() >= t.Size {
		t.emit(out)
	}
	return nil
}

// FlushInterval implements [sdk.Flusher]: often enough that a sample is held for
// at most a tenth longer than asked for.
func (t *transformer) FlushInterval() time.Duration {
	if t.Retention == 0 {
		return 0
	}
	return max(t.Retention/10, 100*time.Millisecond)
}

// Flush implements [sdk.Flusher].
func (t *transformer) Flush(_ context.Context, now time.Time, out *sdk.Builder) error {
	for _, a := range t.state.All() {
		// A clock that was set back must not make anything wait for it.
		if age := now.Sub(time.Unix(0, a.since)); t.Retention > 0 && (age >= t.Retention || age < 0) {
			t.emit(out)
			return nil
		}
	}
	return nil
}

// add makes row i part of its aggregate.
func (t *transformer) add(b *sdk.Batch, i int, now time.Time) {
	volume, err := t.scale.Volume(i, b.Volume(i))
	if err == nil && (math.IsNaN(volume) || math.IsInf(volume, 0)) {
		err = fmt.Errorf("the volume is %v", volume)
	}
	if err != nil {
		t.trouble.AddRow(err, b, i)
		return
	}
	s := derive.Row(b, i)
	s.Volume = volume
	key := t.key(&s)
	a, had := t.state.Get(key)
	if had {
		t.merge(&a, s)
	} else {
		a = aggregate{Held: derive.Held{Sample: s}, count: 1, first: s.Timestamp.UnixNano(), last: s.Timestamp.UnixNano(), since: now.UnixNano()}
		if t.Metadata == "drop" {
			a.Metadata = nil
		}
	}
	t.state.Set(key, a)
}

// key keeps apart what must not be aggregated. Its parts cannot hold the byte
// between them: ids and names are text.
func (t *transformer) key(s *sdk.Sample) sdk.Key {
	k := sdk.Key{Meter: s.Name + "\x00" + s.Type.String() + "\x00" + s.Unit, Resource: s.ResourceID}
	if t.Project == "" {
		k.Resource += "\x00" + s.ProjectID
	}
	if t.User == "" {
		k.Resource += "\x00" + s.UserID
	}
	return k
}

// merge makes a sample part of an aggregate that is there.
func (t *transformer) merge(a *aggregate, s sdk.Sample) {
	at := s.Timestamp.UnixNano()
	isFirst, isLast := at < a.first, at >= a.last
	takes := func(policy string) bool { return policy == "first" && isFirst || policy == "last" && isLast }
	switch {
	case a.Type != sdk.Cumulative:
		a.Volume += s.Volume
	case isLast:
		a.Volume = s.Volume
	}
	if takes(t.Timestamp) {
		a.Timestamp, a.Monotonic = s.Timestamp, s.Monotonic
	}
	if takes(t.Metadata) {
		a.Metadata = s.Metadata
	}
	if takes(t.Project) {
		a.ProjectID = s.ProjectID
	}
	if takes(t.User) {
		a.UserID = s.UserID
	}
	a.first, a.last = min(a.first, at), max(a.last, at)
	a.count++
}

// held is the number of samples in all aggregates.
func (t *transformer) held() int {
	n := 0
	for _, a := range t.state.All() {
		n += int(a.count)
	}
	return n
}

// emit hands on all aggregates, in an order that depends on them alone, and
// forgets them.
func (t *transformer) emit(out *sdk.Builder) {
	keys := make([]sdk.Key, 0, t.state.Len())
	for k := range t.state.All() {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b sdk.Key) int {
		return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Meter, b.Meter))
	})
	for _, k := range keys {
		a, _ := t.state.Get(k)
		t.state.Delete(k)
		s := a.Sample
		if s.Type == sdk.Gauge {
			s.Volume /= float64(a.count)
		}
		if math.IsInf(s.Volume, 0) {
			t.trouble.Add(fmt.Errorf("the sum of %d volumes is %v", a.count, s.Volume), s.Name, s.ResourceID)
			continue
		}
		s.Volume = t.scale.Cap(s.Volume)
		m := sdk.Meter{Name: s.Name, Type: s.Type, Unit: s.Unit}
		if t.Target.Type != nil {
			m.Type = *t.Target.Type
		}
		m = t.namer.Meter(sdk.Meter{Name: s.Name, Type: s.Type, Unit: s.Unit}, m)
		s.Name, s.Type, s.Unit = m.Name, m.Type, m.Unit
		out.Add(s)
	}
}
