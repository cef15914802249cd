package sdk_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// careless does what Conform is there to find.
type careless struct {
	Undocumented int `toml:"undocumented"`
}

func (c *careless) Start(context.Context, sdk.Env) error {
	for range 2 { // that one more or less runs otherwise makes no difference
		go func() { select {} }()
	}
	return nil
}

func (c *careless) Poll(context.Context, *sdk.Builder) error {
	time.Sleep(time.Hour)
	return nil
}

func (c *careless) Measure(_ context.Context, out *sdk.Builder) error {
	out.On(sdk.Resource{}).Gauge("waiting", "", 1)
	return nil
}

func carelessPlugin() sdk.Plugin {
	return sdk.Plugin{Name: "Care-Less", Pollster: func() sdk.Pollster { return &careless{} },
		Own: []sdk.MeterInfo{{Meter: sdk.Meter{Name: "waiting"}, Doc: "What waits."}}}
}

const failing = "NEPHO_TEST_FAILING"

// TestCareless fails when TestConformFinds runs it.
func TestCareless(t *testing.T) {
	if os.Getenv(failing) != "" {
		sdktest.Conform(t, sdktest.Options{Env: plugin("careless")})
	}
}

func TestConformFinds(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestCareless$")
	cmd.Env = append(os.Environ(), failing+"=yes")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("the careless plugin passes")
	}
	for _, finding := range []string{
		`name "Care-Less"`, `summary ""`, `option "undocumented" has no doc tag`,
		"the call goes on after its context has ended", "more starts and stops left 2",
		`can't be called after plugin "Care-Less"`,
	} {
		if !strings.Contains(string(out), finding) {
			t.Errorf("it is not told: %s", finding)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
