package supervisor

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// What an instance logs was filtered at its own level; the host's is for all the
// rest that a plugin prints.
func TestLevels(t *testing.T) {
	f := func(level slog.Level, line, want string) {
		t.Helper()
		out := new(bytes.Buffer)
		log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})).With("plugin", "pollster/x")
		bridge(strings.NewReader(line+"\n"), log)
		_, got, _ := strings.Cut(strings.TrimSpace(out.String()), " ") // the time
		if got != want {
			t.Errorf("%s\ngives %q\nwant  %q", line, got, want)
		}
	}
	f(slog.LevelInfo, `{"@level":"debug","@message":"m","instance":"a"}`, "level=DEBUG msg=m plugin=pollster/x instance=a")
	f(slog.LevelError, `{"@level":"info","@message":"m","instance":"a"}`, "level=INFO msg=m plugin=pollster/x instance=a")
	f(slog.LevelInfo, `{"@level":"debug","@message":"m"}`, "")
	f(slog.LevelInfo, `{"@level":"debug","@message":"m","instance":7}`, "")
	f(slog.LevelWarn, `{"@message":"m","instance":"a"}`, "")
	f(slog.LevelInfo, `{"@level":"warn","@message":"m"}`, "level=WARN msg=m plugin=pollster/x")
	f(slog.LevelWarn, "plain", "")
	f(slog.LevelInfo, "plain", "level=INFO msg=plain plugin=pollster/x")
}
