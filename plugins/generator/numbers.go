package generator

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// numbers makes samples whose volume is their running number. It goes on from
// the last poll that was finished, whatever is restarted: after a crash numbers
// may come again, but none is left out.
type numbers struct {
	last int64
	// used is the time of the last sample: no two have the same, so that stores
	// that keep one value per time keep them all.
	used     int64
	resource string
	file     string // empty: not kept
}

func (n *numbers) open(env sdk.Env) error {
	n.resource = env.Instance
	if env.StateDir == "" {
		return nil
	}
	n.file = filepath.Join(env.StateDir, "last-number")
	text, err := os.ReadFile(n.file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the last number: %w", err)
	}
	n.last, err = parseNumber(string(text), n.file)
	return err
}

func parseNumber(text, file string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot read the last number in %q, remove it to begin with 1: %w", file, err)
	}
	return n, nil
}

// poll adds count samples, or until the given time if count is 0.
func (n *numbers) poll(ctx context.Context, out *sdk.Builder, count int, until time.Time) error {
	s := sdk.Sample{Name: "generator.number", Type: sdk.Gauge, ResourceID: n.resource}
	last := n.last
	for i := 0; i < count || count == 0; i++ {
		if i%100 == 0 {
			if ctx.Err() != nil || out.Err() != nil || count == 0 && !time.Now().Before(until) {
				break
			}
		}
		last++
		n.used = max(n.used+1, time.Now().UnixNano())
		s.Volume, s.Timestamp = float64(last), time.Unix(0, n.used)
		out.Add(s)
	}
	// Numbers count as used when they were handed over.
	out.Flush()
	if err := out.Err(); err != nil {
		return err
	}
	n.last = last
	if err := n.save(); err != nil {
		return fmt.Errorf("cannot keep the last number: %w", err)
	}
	return ctx.Err()
}

func (n *numbers) save() error {
	if n.file == "" {
		return nil
	}
	if err := os.WriteFile(n.file+".new", strconv.AppendInt(nil, n.last, 10), 0o600); err != nil {
		return err
	}
	return os.Rename(n.file+".new", n.file)
}
