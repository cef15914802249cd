package block

import (
	"bytes"
	"encoding/hex"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// The example in the manual is what is written, and can be read.
func TestExampleInManual(t *testing.T) {
	manual, err := os.ReadFile("../../docs/BLOCKS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(manual), "## Example")
	var want []byte
	for _, line := range regexp.MustCompile(`(?m)^([0-9a-f]{2})  ((?:[0-9a-f]{2} )+)`).FindAllStringSubmatch(example, -1) {
		if offset, _ := strconv.ParseInt(line[1], 16, 64); offset != int64(len(want)) {
			t.Errorf("line %q is at %#x", line[0], len(want))
		}
		b, err := hex.DecodeString(strings.ReplaceAll(line[2], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, b...)
	}

	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	times := []int64{at, at + 30*second, at + minute, at + 90*second, at + 3*minute}
	f := foldAt(minute, times, []float64{20.5, 21.5, 21, 22, 22.25}, policy.Mean, policy.Min, policy.Max)
	var file bytes.Buffer
	w := NewWriter(&file, minute)
	if err := w.Add(300, f); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file.Bytes(), want) {
		t.Errorf("the manual has\n%x, written is\n%x", want, file.Bytes())
	}
	var got window.Frame
	got.Reset(minute, f.Columns)
	if err := open(t, want).Read(300, math.MinInt64, math.MaxInt64, &got); err != nil {
		t.Fatal(err)
	}
	if err := equalFrames(&got, f); err != nil {
		t.Error(err)
	}
}

func TestInspect(t *testing.T) {
	b, _ := damageable(t)
	inspect := func(refs ...uint64) string {
		var out strings.Builder
		if err := Inspect(&out, bytes.NewReader(b), int64(len(b)), refs...); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	all := inspect()
	for _, want := range []string{
		"version 1: windows of 1m0s; metrics: 3; windows: 2529; bytes: ",
		"first and last window: 2025-10-09T09:00:00Z, 2025-10-11T02:39:00Z",
		"2 decimals, constant (2)", "less mean, 2 decimals", "rate:sum",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not told in\n%s", want, all)
		}
	}
	if one := inspect(1); strings.Contains(one, "rate:sum") || !strings.Contains(one, "1250") {
		t.Errorf("of metric 1 is told\n%s", one)
	}
	b[headerLength+60] ^= 1
	if damaged := inspect(); !strings.Contains(damaged, "damage: segment of metric 0") {
		t.Errorf("damage is not told in\n%s", damaged)
	}
	if err := Inspect(failing{}, bytes.NewReader(b), int64(len(b))); err != errFull {
		t.Errorf("a full disk: %v", err)
	}
}
