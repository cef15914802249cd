package sdk

import (
	"encoding/json"
	"log/slog"
	"reflect"
	"testing"
	"time"
)

// The lines are those that the host's side takes apart; an author's attributes
// may have any name.
func TestLogLines(t *testing.T) {
	out := new(logged)
	log := instanceLog(slog.New(newHandler(out)), "a", "info")
	f := func(write func(), want map[string]any) {
		t.Helper()
		out.b.Reset()
		write()
		var got map[string]any
		if want == nil {
			if out.String() != "" {
				t.Errorf("got %s", out)
			}
			return
		}
		if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		text, _ := got["@timestamp"].(string)
		if at, err := time.Parse(time.RFC3339Nano, text); err != nil || time.Since(at) > time.Minute {
			t.Errorf("timestamp %q, error %v", text, err)
		}
		delete(got, "@timestamp")
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
	f(func() { log.Debug("hidden") }, nil)
	f(func() { log.Info("hello", "n", 3) }, map[string]any{"@level": "info", "@message": "hello", "instance": "a", "n": 3.0})
	f(func() { log.With("w", "x").Error("e", "time", "5s", "level", 7) },
		map[string]any{"@level": "error", "@message": "e", "instance": "a", "w": "x", "time": "5s", "level": 7.0})
	f(func() { log.WithGroup("g").Warn("w", "msg", "m", "time", time.Unix(0, 0).UTC()) },
		map[string]any{"@level": "warn", "@message": "w", "instance": "a", "g": map[string]any{"msg": "m", "time": "1970-01-01T00:00:00Z"}})
	log = instanceLog(slog.New(newHandler(out)), "a", "nonsense")
	f(func() { log.Debug("hidden") }, nil)
	f(func() { log.Info("i") }, map[string]any{"@level": "info", "@message": "i", "instance": "a"})
}
