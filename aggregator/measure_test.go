package aggregator

import (
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// The figures follow what is published.
func TestMeasure(t *testing.T) {
	p := sdktest.Start(t, "path = ''\nlisten = ''\n")
	now := time.Now()
	publish := func(at time.Time) error {
		return p.Publish(t.Context(), sdk.Sample{Name: "cpu_util", Unit: "%", ResourceID: "vm1", Volume: 1, Timestamp: at})
	}
	for i := range 3 {
		if err := publish(now.Add(time.Duration(i) * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if err := publish(now.Add(-10 * 365 * 24 * time.Hour)); err != nil { // is left out
		t.Fatal(err)
	}
	figures, err := p.Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range figures {
		got[f.Metric] = f.Value
	}
	for name, want := range map[string]float64{
		"measures_total": 3, "measures_late_total": 1, "measures_future_total": 0, "metrics": 1, "blocks": 0, "blocks_size_bytes": 0, "damaged_total": 0,
	} {
		if v, ok := got["nepho_aggregator_"+name]; !ok || v != want {
			t.Errorf("%s is %g (it is there: %v), want %g", name, v, ok, want)
		}
	}
	if got["nepho_aggregator_log_bytes"] == 0 || got["nepho_aggregator_head_bytes"] == 0 {
		t.Errorf("it tells %v", got)
	}
	if _, told := got["nepho_aggregator_log_copy_age_seconds"]; told {
		t.Error("the log is not copied")
	}
}
