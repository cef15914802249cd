package derive

import (
	"math"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/sdk"
)

func TestScale(t *testing.T) {
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		out.Add(sdk.Sample{Name: "cpu", Type: sdk.Cumulative, ResourceID: "vm", Volume: 8, Timestamp: start, Metadata: sdk.Metadata{"vcpus": "4"}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f := func(scale any, wantFactor, wantVolume float64) {
		t.Helper()
		s, err := NewScale(Target{Scale: scale})
		if err != nil {
			t.Error(err)
			return
		}
		s.Begin(batches[0])
		factor, errF := s.Factor(0)
		volume, errV := s.Volume(0, 8)
		if errF != nil || errV != nil || factor != wantFactor || volume != wantVolume {
			t.Errorf("%v: factor %v, %v, volume %v, %v", scale, factor, errF, volume, errV)
		}
	}
	f(nil, 1, 8)
	f(int64(10), 10, 80)
	f(0.5, 0.5, 4)
	f("1 / resource_metadata.vcpus", 0.25, 0.25)
	f("volume * 1.8 + 32", 8*1.8+32, 8*1.8+32)
}

func TestScaleErrors(t *testing.T) {
	f := func(scale any, want string) {
		t.Helper()
		if _, err := NewScale(Target{Scale: scale}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", scale, err, want)
		}
	}
	f(int64(0), "target.scale: must be a finite number other than 0")
	f(math.NaN(), "target.scale: must be a finite number other than 0")
	f(true, "target.scale: must be a number or an expression in quotes")
	f("volume *", "target.scale: unexpected token")
	f("nmae", "target.scale: unknown name nmae")
	nan := math.NaN()
	if _, err := NewScale(Target{Max: &nan}); err == nil {
		t.Error("max = nan is taken")
	}
}

func TestCap(t *testing.T) {
	hundred := 100.0
	s, err := NewScale(Target{Max: &hundred})
	if err != nil {
		t.Fatal(err)
	}
	if s.Cap(101) != 100 || s.Cap(99) != 99 || s.Cap(-5) != -5 {
		t.Fatal("max is not kept")
	}
}
