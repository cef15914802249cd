package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"
)

// A plugin may log this many lines a second, and this many at once; what is over
// is counted and left out.
const (
	logRate  = 50
	logBurst = 500

	logLineBytes = 16 << 10 // longer lines are cut

	// reportEvery is how often it is told at most how many lines were left out.
	reportEvery = 10 * time.Second
)

// bridge reads what a plugin prints on standard error and logs it: lines of the
// SDK's JSON form with their level and attributes, other lines as they are.
func bridge(r io.Reader, log *slog.Logger) {
	b := &bridged{log: log, tokens: logBurst, at: time.Now()}
	in := bufio.NewReaderSize(r, logLineBytes)
	for {
		line, cut, err := in.ReadLine()
		if len(line) > 0 && b.admit() {
			b.line(line)
		}
		for cut && err == nil {
			_, cut, err = in.ReadLine()
		}
		if err != nil {
			b.report()
			if !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "file already closed") {
				log.Warn("cannot read the plugin's standard error", "error", err)
			}
			return
		}
	}
}

type bridged struct {
	log     *slog.Logger
	tokens  float64
	at      time.Time
	left    int // lines left out since it was told last
	told    time.Time
	panicky bool
}

func (b *bridged) admit() bool {
	now := time.Now()
	b.tokens = min(logBurst, b.tokens+now.Sub(b.at).Seconds()*logRate)
	b.at = now
	room := b.tokens >= 1
	if room {
		b.tokens--
	} else {
		b.left++
	}
	if b.left > 0 && now.Sub(b.told) >= reportEvery {
		b.told = now
		b.report()
	}
	return room
}

func (b *bridged) report() {
	if b.left > 0 {
		b.log.Warn("the plugin logs too much; lines were left out", "lines", b.left)
		b.left = 0
	}
}

func (b *bridged) line(line []byte) {
	if line[0] == '{' {
		var fields map[string]any
		if json.Unmarshal(line, &fields) == nil {
			if message, ok := fields["@message"].(string); ok {
				b.record(message, fields)
				return
			}
		}
	}
	text := strings.ToValidUTF8(string(line), "\uFFFD")
	if strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ") {
		b.panicky = true // the rest is its trace
	}
	level := slog.LevelInfo
	if b.panicky {
		level = slog.LevelError
	}
	b.log.Log(context.Background(), level, text)
}

func (b *bridged) record(message string, fields map[string]any) {
	var level slog.Level
	if text, _ := fields["@level"].(string); level.UnmarshalText([]byte(text)) != nil {
		level = slog.LevelInfo
	}
	attrs := make([]slog.Attr, 0, len(fields))
	for k, v := range fields {
		if !strings.HasPrefix(k, "@") {
			attrs = append(attrs, slog.Any(k, v))
		}
	}
	ctx := context.Background()
	if !tagged(fields) {
		b.log.LogAttrs(ctx, level, message, attrs...)
		return
	}
	// The plugin left out what is below the level of the instance, which may be
	// lower than the host's. Only Enabled asks for the host's.
	r := slog.NewRecord(time.Now(), level, message, 0)
	r.AddAttrs(attrs...)
	_ = b.log.Handler().Handle(ctx, r) // as the logger does
}

// tagged tells whether a record is from an instance's own logger. Those of the
// libraries in the plugin have a level too, but nobody asked for them.
func tagged(fields map[string]any) bool {
	_, levelled := fields["@level"].(string)
	instance, _ := fields["instance"].(string)
	return levelled && instance != ""
}
