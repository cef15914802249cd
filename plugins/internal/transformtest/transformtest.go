// Package transformtest calls a transformer in the test's own process, where
// many small cases need no process of their own. What depends on the protocol,
// such as state that outlives a restart, is tested with sdktest.
package transformtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

// Instance is a configured and started transformer.
type Instance struct {
	tb   testing.TB
	impl sdk.Transformer
}

// Start makes an instance with the given TOML options; log may be nil.
func Start(tb testing.TB, p sdk.Plugin, toml string, log slog.Handler) *Instance {
	tb.Helper()
	impl := p.Transformer()
	if problems := check(impl, toml); len(problems) > 0 {
		tb.Fatal(config.Join(problems))
	}
	if log == nil {
		log = slog.DiscardHandler
	}
	if s, ok := impl.(sdk.Starter); ok {
		if err := s.Start(tb.Context(), sdk.Env{Instance: p.Name, Log: slog.New(log)}); err != nil {
			tb.Fatal(err)
		}
	}
	return &Instance{tb, impl}
}

// Check gives the problems of the options.
func Check(p sdk.Plugin, toml string) error { return config.Join(check(p.Transformer(), toml)) }

func check(impl sdk.Transformer, toml string) []config.Problem {
	table, problems := config.Parse("test.toml", []byte(toml))
	if len(problems) > 0 {
		return problems
	}
	return table.Decode(impl)
}

// Run transforms the samples as one batch.
func (in *Instance) Run(samples ...sdk.Sample) []sdk.Sample {
	in.tb.Helper()
	return Samples(in.RunBatch(Batch(in.tb, samples...)))
}

// RunBatch transforms a batch.
func (in *Instance) RunBatch(b *sdk.Batch) []*sdk.Batch {
	in.tb.Helper()
	out, err := sdk.Build("test", func(out *sdk.Builder) error { return in.impl.Transform(context.Background(), b, out) })
	if err != nil {
		in.tb.Fatal(err)
	}
	return out
}

// Flush has the transformer emit what is due at now.
func (in *Instance) Flush(now time.Time) []sdk.Sample {
	in.tb.Helper()
	out, err := sdk.Build("test", func(out *sdk.Builder) error {
		return in.impl.(sdk.Flusher).Flush(context.Background(), now, out)
	})
	if err != nil {
		in.tb.Fatal(err)
	}
	return Samples(out)
}

// Batch makes one batch of samples.
func Batch(tb testing.TB, samples ...sdk.Sample) *sdk.Batch {
	tb.Helper()
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		for _, s := range samples {
			out.Add(s)
		}
		return nil
	})
	if err == nil && len(batches) != 1 {
		err = errors.New("the samples do not make one batch")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return batches[0]
}

// Samples gives the rows of all batches.
func Samples(batches []*sdk.Batch) []sdk.Sample {
	var samples []sdk.Sample
	for _, b := range batches {
		for _, s := range b.Samples() {
			samples = append(samples, s)
		}
	}
	return samples
}

// CheckSample finds mistakes in a plugin's sample configuration: as it is, and
// with each option that is commented out in it.
func CheckSample(p sdk.Plugin) error {
	_, body, found := strings.Cut(p.Sample, "[[transformer."+p.Name+"]]\n")
	if !found {
		return fmt.Errorf("no table header [[transformer.%s]]", p.Name)
	}
	var set strings.Builder
	for line := range strings.Lines(body) {
		text, commented := strings.CutPrefix(line, "# ")
		if key, _, assigns := strings.Cut(text, " = "); !commented || !assigns || strings.ContainsAny(strings.TrimSpace(key), " ()") {
			set.WriteString(line)
			continue
		}
		if key := strings.Fields(text)[0]; key == "name" || key == "meters" {
			continue // the host's
		}
		if err := Check(p, set.String()+text); err != nil && !strings.Contains(err.Error(), "required") && !strings.Contains(err.Error(), "has no ") {
			return fmt.Errorf("%s: %w", strings.TrimSpace(text), err)
		}
	}
	return Check(p, set.String())
}
