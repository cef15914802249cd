package exec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nephoscope/nepho/sdk"
)

// lines reads samples from text.
type lines struct {
	hostname string
	influx   *influx // nil for JSON
}

// tally counts lines and keeps the first that cannot be read.
type tally struct {
	lines, bad int
	at         int
	first      error
}

func (t *tally) add(text []byte, err error) {
	t.lines++
	if err == nil {
		return
	}
	if t.bad++; t.bad == 1 {
		const most = 100
		if len(text) > most {
			text = append(bytes.ToValidUTF8(text[:most:most], nil), "..."...)
		}
		t.at, t.first = t.lines, fmt.Errorf("%w in %q", err, text)
	}
}

func (t *tally) err() error {
	if t.bad == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d lines cannot be read, the first is line %d: %w", t.bad, t.lines, t.at, t.first)
}

// all reads the whole output of a command. JSON may as well be one list, or one
// object, over several lines.
func (l *lines) all(text []byte, out *sdk.Builder, t *tally) {
	if text = bytes.TrimSpace(text); l.influx == nil && json.Valid(text) {
		t.add(text, l.json(text, out))
		return
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		t.add(line, l.line(line, out))
	}
}

// line reads one line, all of it or nothing. Empty ones and comments hold no
// samples.
func (l *lines) line(text []byte, out *sdk.Builder) error {
	switch {
	case len(text) == 0:
		return nil
	case len(text) > maxLine:
		return fmt.Errorf("a line has more than %d bytes", maxLine)
	case l.influx == nil:
		return l.json(text, out)
	case text[0] == '#':
		return nil
	}
	return l.influx.line(text, l.hostname, out)
}

// json reads one sample or a list of samples. A list's good samples count even
// when others are bad.
func (l *lines) json(text []byte, out *sdk.Builder) error {
	entries := []json.RawMessage{text}
	list := text[0] == '['
	if list {
		if err := json.Unmarshal(text, &entries); err != nil {
			return err
		}
	}
	var errs []error
	for i, entry := range entries {
		var s sdk.Sample
		if err := s.UnmarshalJSON(entry); err != nil {
			if list {
				err = fmt.Errorf("entry %d: %w", i, err)
			}
			errs = append(errs, err)
			continue
		}
		if s.ResourceID == "" {
			s.ResourceID = l.hostname
		}
		out.Add(s)
	}
	if len(errs) > 1 {
		return fmt.Errorf("%w (and %d more entries)", errs[0], len(errs)-1)
	}
	return errors.Join(errs...)
}

// wholeLines cuts off a last line that has no end.
func wholeLines(text []byte) []byte { return text[:bytes.LastIndexByte(text, '\n')+1] }
