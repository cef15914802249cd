package discard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

func numbered(n int) []sdk.Sample {
	samples := make([]sdk.Sample, n)
	for i := range samples {
		samples[i] = sdk.Sample{Name: "n", Volume: float64(i + 1), ResourceID: "r"}
	}
	return samples
}

func TestCounts(t *testing.T) {
	p := sdktest.Start(t, "")
	for range 3 {
		if err := p.Publish(t.Context(), numbered(100)...); err != nil {
			t.Fatal(err)
		}
	}
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		out.AddEvent(sdk.Event{MessageID: "1", EventType: "x"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := batches[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.PublishBatch(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"batches":4`, `"samples":300`, `"events":1`, `"sum":15150`, `"failures":0`} {
		p.AwaitStderr(want)
	}
}

func TestFailures(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		p := sdktest.Start(t, toml)
		var got []string
		for range 4 {
			err := p.Publish(t.Context(), numbered(2)...)
			var refused *sdk.Refused
			var later *sdk.Later
			switch {
			case errors.As(err, &refused):
				got = append(got, fmt.Sprintf("refused%v", refused.Rows))
			case errors.As(err, &later):
				got = append(got, fmt.Sprintf("later %v", later.After))
			case err != nil:
				got = append(got, "retry")
			default:
				got = append(got, "ok")
			}
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s: %s, want %s", toml, s, want)
		}
	}
	f("", "ok, ok, ok, ok")
	f("fail = 'retry'\nfail_every = 2", "ok, retry, ok, retry")
	f("fail = 'retry'\nretry_after = '7s'", "later 7s, later 7s, later 7s, later 7s")
	f("fail = 'refuse'\nfail_every = 3", "ok, ok, refused[], ok")
	f("fail = 'refuse_rows'\nfail_chance = 1.0", "refused[0], refused[0], refused[0], refused[0]")
}

func TestDelay(t *testing.T) {
	d := &discard{Delay: time.Hour}
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		out.Add(numbered(1)[0])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := d.Publish(ctx, batches[0]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	d.Delay = 10 * time.Millisecond
	start := time.Now()
	if err := d.Publish(t.Context(), batches[0]); err != nil || time.Since(start) < d.Delay {
		t.Errorf("error %v after %v", err, time.Since(start))
	}
}

func TestOptionProblems(t *testing.T) {
	f := func(toml string, want ...string) {
		t.Helper()
		table, _ := config.Parse("t", []byte(toml))
		problems := table.Decode(&discard{})
		if len(problems) != len(want) {
			t.Errorf("%s: %v", toml, problems)
			return
		}
		for i, p := range problems {
			if !strings.Contains(p.Error(), want[i]) {
				t.Errorf("%s: %v, want %s", toml, p, want[i])
			}
		}
	}
	f(strings.Replace(strings.ReplaceAll(sample, "\n# fail = ", "\nfail = "), "[[publisher.discard]]", "", 1))
	f("fail_every = 2\nfail_chance = 0.5\nretry_after = '1s'", "fail_every: needs", "fail_chance: needs", "retry_after: needs")
	f("fail = 'x'", "not one of")
	f("fail = 'retry'\nfail_chance = 2", "out of range")
}
