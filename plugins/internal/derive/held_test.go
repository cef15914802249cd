package derive

import (
	"reflect"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

func TestHeldSamplesKeepEverything(t *testing.T) {
	for _, s := range []sdk.Sample{
		{Name: "m", ResourceID: "r", Timestamp: start},
		{
			Name: "memory", Type: sdk.Delta, Unit: "MB", Volume: 0.1, ResourceID: "r", ProjectID: "p", UserID: "u", Source: "s",
			Timestamp: start.Add(123456789), Monotonic: 5 * time.Hour,
			Metadata: sdk.Metadata{"n": int64(1) << 60, "f": 2.5, "t": "3", "o": map[string]any{"l": []any{int64(1), nil, true}}},
		},
	} {
		data, err := Held{s}.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		var got Held
		if err := got.UnmarshalBinary(data); err != nil || !reflect.DeepEqual(got.Sample, s) {
			t.Errorf("%+v, %v; want %+v", got, err, s)
		}
	}
}

func FuzzHeld(f *testing.F) {
	data, _ := Held{sdk.Sample{Name: "m", ResourceID: "r", Timestamp: start}}.AppendBinary(nil)
	f.Add(data)
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, data []byte) {
		var h Held
		_ = h.UnmarshalBinary(data)
	})
}
