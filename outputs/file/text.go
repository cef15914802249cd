package file

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/nephoscope/nepho/sdk"
)

// clock is how text tells the local time.
const clock = "15:04:05"

// appendText appends a line for people to read for each sample and then for each
// event. Its columns give way to what is longer.
func appendText(to []byte, batch *sdk.Batch) []byte {
	for _, s := range batch.Samples() {
		volume, unit := readable(s.Volume, s.Unit)
		to = fmt.Appendf(to, "%s  %-36s %10s %-9s %s", s.Timestamp.Local().Format(clock), plain(s.Name), volume, plain(unit), plain(s.ResourceID))
		if name, _ := s.Metadata["display_name"].(string); name != "" {
			to = fmt.Appendf(to, " (%s)", plain(name))
		}
		to = append(to, '\n')
	}
	for n := range batch.Events() {
		e := batch.Event(n)
		to = fmt.Appendf(to, "%s  %s", e.Generated.Local().Format(clock), plain(e.EventType))
		for _, t := range e.Traits {
			to = fmt.Appendf(to, "  %s=%s", plain(t.Name), plain(fmt.Sprint(t.Value)))
		}
		to = append(to, '\n')
	}
	return to
}

// plain takes the control characters out of what others chose: a terminal would
// obey them.
func plain(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, text)
}

// readable scales bytes and leaves out digits that nobody reads.
func readable(volume float64, unit string) (string, string) {
	if rest, ok := strings.CutPrefix(unit, "B"); ok && (rest == "" || rest == "/s") {
		for _, prefix := range []string{"Ki", "Mi", "Gi", "Ti"} {
			if !(math.Abs(volume) >= 1024) || math.IsInf(volume, 0) { // not a number ends it, too
				break
			}
			volume, unit = volume/1024, prefix+"B"+rest
		}
	}
	if abs := math.Abs(volume); abs == math.Trunc(abs) && abs < 1e15 {
		return strconv.FormatFloat(volume, 'f', 0, 64), unit
	} else if abs >= 0.1 && abs < 1e6 {
		return strconv.FormatFloat(volume, 'f', 2, 64), unit
	}
	return strconv.FormatFloat(volume, 'g', 4, 64), unit
}
