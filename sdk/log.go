package sdk

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"time"
)

// newHandler writes records as the JSON lines that the host's supervisor
// reads levels and attributes from.
func newHandler(w io.Writer) slog.Handler {
	return slog.NewJSONHandler(w, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return a
			}
			// An author's own attribute may have one of these keys; one that is not of
			// the type that a record's has stays what it is.
			switch v := a.Value.Any().(type) {
			case time.Time:
				if a.Key == slog.TimeKey {
					return slog.String("@timestamp", v.Format("2006-01-02T15:04:05.000000Z07:00"))
				}
			case slog.Level:
				if a.Key == slog.LevelKey {
					return slog.String("@level", strings.ToLower(v.String()))
				}
			case string:
				if a.Key == slog.MessageKey {
					return slog.String("@message", v)
				}
			}
			return a
		},
	})
}

// instanceLog gives an instance's logger, which leaves out what is below level.
func instanceLog(log *slog.Logger, instance, level string) *slog.Logger {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) != nil {
		l = slog.LevelInfo
	}
	return slog.New(&levelHandler{log.Handler(), l}).With("instance", instance)
}

type levelHandler struct {
	slog.Handler
	level slog.Level
}

func (h *levelHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *levelHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return &levelHandler{h.Handler.WithAttrs(a), h.level}
}

func (h *levelHandler) WithGroup(name string) slog.Handler {
	return &levelHandler{h.Handler.WithGroup(name), h.level}
}
