package sdk_test

import (
	"context"
	"testing"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

type hello struct {
	Greeting string `toml:"greeting" default:"hi" doc:"what to say"`
}

func (h *hello) Poll(_ context.Context, out *sdk.Builder) error {
	who := out.On(sdk.Resource{ID: "world", Metadata: sdk.Metadata{"greeting": h.Greeting, "n": 3}})
	who.Gauge("hello.length", "B", float64(len(h.Greeting)))
	return nil
}

func TestMain(m *testing.M) {
	sdktest.Main(m, sdk.Plugin{Name: "hello", Pollster: func() sdk.Pollster { return &hello{} }})
}

func TestPoll(t *testing.T) {
	p := sdktest.Start(t, `greeting = "hello"`)
	samples, err := p.Poll(t.Context())
	if err != nil || len(samples) != 1 {
		t.Fatalf("%v samples, error %v", samples, err)
	}
	s := samples[0]
	if s.Name != "hello.length" || s.Volume != 5 || s.Metadata["greeting"] != "hello" || s.Metadata["n"] != int64(3) || s.Monotonic == 0 {
		t.Errorf("got %+v", s)
	}
	problems, err := p.Check(t.Context(), "greting = 3")
	if err != nil || len(problems) == 0 {
		t.Fatalf("no problems; error %v", err)
	}
	t.Log(problems)
}
