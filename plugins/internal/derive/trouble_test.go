package derive

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

func TestTroubleIsLoggedWhenItBeginsAndEnds(t *testing.T) {
	var log bytes.Buffer
	tr := NewTrouble(sdk.Env{Log: slog.New(slog.NewTextHandler(&log, nil))})
	lines := func(want int) {
		t.Helper()
		if n := strings.Count(log.String(), "\n"); n != want {
			t.Fatalf("%d lines, want %d:\n%s", n, want, &log)
		}
	}
	tr.Settle()
	lines(0)
	for range 5 {
		for range 10 {
			tr.Add(errors.New("no vcpus"), "cpu", "vm-1")
		}
		tr.Settle()
	}
	lines(1)
	tr.last = time.Now().Add(-2 * quiet)
	tr.Settle()
	lines(2)
	if !strings.Contains(log.String(), "samples_left_out=50") || !strings.Contains(log.String(), "no vcpus") {
		t.Fatal(log.String())
	}
	tr.Add(errors.New("no vcpus"), "cpu", "vm-1")
	lines(3)
}
