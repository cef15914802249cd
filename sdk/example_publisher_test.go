package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// webhook sends batches somewhere and tells the host what became of them.
type webhook struct {
	send func(lines []string) (status int)
}

func (w *webhook) Publish(_ context.Context, batch *sdk.Batch) error {
	var lines []string
	var refused []int
	for i, s := range batch.Samples() {
		if math.IsNaN(s.Volume) {
			refused = append(refused, i)
			continue
		}
		lines = append(lines, fmt.Sprint(s.Name, "=", s.Volume))
	}
	switch status := w.send(lines); {
	case status == 429:
		return sdk.RetryAfter(errors.New("the server asks for a pause"), 30*time.Second)
	case status == 400:
		return sdk.Refuse(errors.New("the server will never take this batch"))
	case status != 200:
		return fmt.Errorf("status %d", status) // the host tries again by itself
	}
	if refused != nil {
		return sdk.RefuseRows(errors.New("no number"), refused) // the others were taken
	}
	return nil
}

func ExamplePublisher() {
	batches, err := sdk.Build("probe", func(out *sdk.Builder) error {
		on := out.On(sdk.Resource{ID: "r"})
		on.Gauge("a", "", 1)
		on.Gauge("b", "", math.NaN())
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	for _, status := range []int{200, 400, 429, 500} {
		w := &webhook{send: func([]string) int { return status }}
		err := w.Publish(context.Background(), batches[0])
		var refused *sdk.Refused
		var later *sdk.Later
		switch {
		case errors.As(err, &refused):
			fmt.Println("dead letters of rows", refused.Rows, "because:", err)
		case errors.As(err, &later):
			fmt.Println("again after", later.After, "because:", err)
		default:
			fmt.Println("again soon because:", err)
		}
	}
	// Output:
	// dead letters of rows [1] because: no number
	// dead letters of rows [] because: the server will never take this batch
	// again after 30s because: the server asks for a pause
	// again soon because: status 500
}
