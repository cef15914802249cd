package sdktest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// Every plugin's tests have this line, for what every plugin must do.
func ExampleConform() {
	_ = func(t *testing.T) { // TestConform
		sdktest.Conform(t, sdktest.Options{Config: `height = 2.5`})
	}
	// Output:
}

func ExampleStart() {
	_ = func(t *testing.T) { // TestPoll
		p := sdktest.Start(t, `height = 2.5`)
		samples, err := p.Poll(t.Context())
		if err != nil || len(samples) != 1 || samples[0].Volume > 2.5 {
			t.Errorf("samples %v, error %v", samples, err)
		}
	}
	// Output:
}

func ExamplePlugin_Publish() {
	_ = func(t *testing.T) { // TestRefused
		p := sdktest.Start(t, `url = "http://127.0.0.1:8086"`)
		err := p.Publish(t.Context(), sdk.Sample{Name: "cpu", ResourceID: "vm-1", Volume: -1})
		var refused *sdk.Refused
		if !errors.As(err, &refused) {
			t.Errorf("error %v", err)
		}
	}
	// Output:
}

// A crash between two batches must cost a transformer nothing.
func ExamplePlugin_Kill() {
	_ = func(t *testing.T) { // TestCrash
		p := sdktest.Start(t, ``)
		for i, volume := range []float64{10, 15, 17} {
			samples, err := p.Transform(t.Context(), sdk.Sample{Name: "cpu", ResourceID: "vm-1", Volume: volume})
			fmt.Println(i, samples, err)
			p.Kill()
			p.Restart()
		}
	}
	// Output:
}

// A notification's deliveries are settled as a host does.
func ExamplePlugin_Listen() {
	_ = func(t *testing.T) { // TestDeliveries
		l, err := sdktest.Start(t, ``).Listen(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		d, err := l.Next()
		if err != nil || d.Len() != 1 {
			t.Fatalf("delivery %v, error %v", d, err)
		}
		if err := l.Settle(d, nil); err != nil {
			t.Error(err)
		}
	}
	// Output:
}
