package operations

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/window"
)

// A recorded case is what Gnocchi 4.4.2's own code made of random operations on
// random series of a granularity of a minute. Those for which it fails, and in which
// we differ on purpose, are not among them.
type recorded struct {
	Operations json.RawMessage
	Fill       any // text, number or nil
	Overlap    float64
	Start      bool
	Stop       bool
	Series     []struct {
		Name   string
		Times  []int64
		Values []float64
	}
	Aggregated [][3]any
	Measures   map[string][][3]any
	Error      string
	Detail     [][2]string
}

func TestAsGnocchi(t *testing.T) {
	file, err := os.Open("testdata/gnocchi-4.4.2.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	n, failed := 0, 0
	for lines.Scan() {
		n++
		var c recorded
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		if err := c.check(); err != nil {
			if failed++; failed < 10 {
				t.Errorf("case %d: %v\n%s", n, err, lines.Text())
			}
		}
	}
	if err := lines.Err(); err != nil || n < 300 {
		t.Errorf("%d cases, %v", n, err)
	}
	if failed > 0 {
		t.Errorf("%d of %d cases failed", failed, n)
	}
}

func (c *recorded) check() error {
	o, err := Parse(c.Operations)
	if err != nil {
		return err
	}
	in := Input{Granularity: time.Minute, NeededOverlap: c.Overlap, HasStart: c.Start, HasStop: c.Stop}
	if c.Fill != nil {
		if in.Fill, err = ParseFill(fmt.Sprint(c.Fill)); err != nil {
			return err
		}
	}
	for i, r := range o.References {
		for _, s := range c.Series {
			if s.Name != r.Metric {
				continue
			}
			series := window.Series{Values: s.Values}
			for _, at := range s.Times {
				series.Times = append(series.Times, at*1e9)
			}
			in.Columns = append(in.Columns, Column{i, series})
		}
	}
	got, err := o.Evaluate(context.Background(), in)
	if c.Error != "" {
		var refused *Error
		if !errors.As(err, &refused) || refused.Cause != "Metrics can't being aggregated" {
			return fmt.Errorf("%v, want the error %q", err, c.Error)
		}
		if detail := fmt.Sprint(refused.Detail); detail != fmt.Sprint(c.Detail) {
			return fmt.Errorf("detail %v, want %v", detail, c.Detail)
		}
		if want := c.Error; refused.Reason != want && (len(want) < 40 || refused.Reason[:40] != want[:40]) {
			return fmt.Errorf("%q, want the error %q", refused.Reason, want)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if (c.Aggregated != nil) != got.Aggregated {
		return fmt.Errorf("aggregated: %v", got.Aggregated)
	}
	if got.Aggregated {
		return same(got.Series[0], got.Period.Span, c.Aggregated)
	}
	for i, column := range in.Columns {
		name := o.References[column.Reference].Metric
		if err := same(got.Series[i], got.Period.Span, c.Measures[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func same(got window.Series, granularity time.Duration, want [][3]any) error {
	if got.Len() != len(want) {
		return fmt.Errorf("%v, want %v", got, want)
	}
	for i, w := range want {
		at, seconds := int64(w[0].(float64))*1e9, w[1].(float64)
		var v float64
		switch text := w[2].(type) {
		case float64:
			v = text
		case string:
			if _, err := fmt.Sscan(text, &v); err != nil {
				return err
			}
		}
		if got.Times[i] != at || granularity.Seconds() != seconds || !alike(got.Values[i], v) {
			return fmt.Errorf("%v at %d (%v), want %v\n%v", got.Values[i], got.Times[i], granularity, w, got)
		}
	}
	return nil
}

// alike reports whether numbers differ by no more than rounding in another order.
func alike(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*max(1, math.Abs(b))
}
