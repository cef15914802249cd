package evaluate

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What began before a change, and ends after it, is no change back.
func TestTroubleOfSeveral(t *testing.T) {
	var log bytes.Buffer
	x := trouble{log: slog.New(slog.NewTextHandler(&log, nil))}
	broken := errors.New("broken")
	early := time.Now()
	x.note("it", early, nil)
	x.note("it", early, broken)
	x.note("it", early, nil)
	x.note("it", early, broken)
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "it fails") {
		t.Fatalf("the log has %s", &log)
	}
	log.Reset()
	x.note("it", time.Now(), nil)
	x.note("it", early, broken)
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "it works again") {
		t.Fatalf("the log has %s", &log)
	}
	log.Reset()
	x.note("it", time.Now(), broken)
	if !strings.Contains(log.String(), "it fails") {
		t.Errorf("the log has %s", &log)
	}
}
