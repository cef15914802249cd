package sdktest_test

import (
	"context"
	"math"
	"testing"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// wave is the plugin under test.
type wave struct {
	Height float64 `toml:"height" default:"1" min:"0" doc:"of the wave"`
	n      float64
}

func (w *wave) Poll(_ context.Context, out *sdk.Builder) error {
	w.n++
	out.On(sdk.Resource{ID: "sea"}).Gauge("wave", "m", w.Height*math.Sin(w.n))
	return nil
}

func plugin() sdk.Plugin {
	return sdk.Plugin{Name: "wave", Summary: "Makes waves.", Pollster: func() sdk.Pollster { return &wave{} }}
}

// The test binary is the plugin's executable as well.
func TestMain(m *testing.M) { sdktest.Main(m, plugin()) }

// What every plugin must do.
func TestConform(t *testing.T) { sdktest.Conform(t, sdktest.Options{}) }

// What this one does.
func TestPoll(t *testing.T) {
	p := sdktest.Start(t, `height = 2.5`)
	for range 3 {
		samples, err := p.Poll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(samples) != 1 || samples[0].Name != "wave" || math.Abs(samples[0].Volume) > 2.5 {
			t.Errorf("got %+v", samples)
		}
	}
}

// Operators are told of their mistakes.
func TestOptions(t *testing.T) {
	problems, err := sdktest.Start(t, "").Check(t.Context(), "hight = 3")
	if err != nil || len(problems) != 1 || problems[0].Hint != `did you mean "height"?` {
		t.Errorf("problems %v, error %v", problems, err)
	}
}
