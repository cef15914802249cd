package host

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newLetters(t *testing.T) *deadLetters {
	return &deadLetters{path: filepath.Join(t.TempDir(), "dead", "p.jsonl"), log: slog.New(slog.DiscardHandler)}
}

func TestDeadLetters(t *testing.T) {
	f := func(data []byte, rows []uint32, number uint64, want string) {
		t.Helper()
		d := newLetters(t)
		if n, err := d.keep("p/sink", "because", data, rows, 4); n != number || err != nil {
			t.Errorf("rows %v: kept %d, %v", rows, n, err)
		}
		var got []string
		for _, line := range letters(t, d) {
			var l letter
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			if l.From != "p/sink" || l.Reason != "because" || l.Time.IsZero() {
				t.Errorf("%+v", l)
			}
			switch {
			case l.Sample != nil:
				got = append(got, l.Sample.Name)
			case l.Event != nil:
				got = append(got, l.Event.EventType)
			default:
				got = append(got, string(l.Data))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("rows %v: %v, want %s", rows, got, want)
		}
	}
	whole := everything(t)
	f(whole, nil, 4, "one two one created")
	f(whole, []uint32{1, 3}, 2, "two created")
	f(whole, []uint32{1, 1, 1, 4, 1 << 31}, 1, "two") // named again, and not there
	f(whole, []uint32{9}, 0, "")
	f([]byte("garbage"), nil, 4, "garbage")
}

func TestDeadLettersAreAddedAndPutAside(t *testing.T) {
	d := newLetters(t)
	keep := func() {
		t.Helper()
		if _, err := d.keep("p", "r", samples(t, 1, "a"), nil, 1); err != nil {
			t.Fatal(err)
		}
	}
	keep()
	keep()
	if n := len(letters(t, d)); n != 2 {
		t.Fatalf("%d letters", n)
	}
	// Somebody moves the file away: a new one is begun.
	if err := os.Rename(d.path, d.path+".moved"); err != nil {
		t.Fatal(err)
	}
	keep()
	if n := len(letters(t, d)); n != 1 {
		t.Errorf("%d letters in the new file", n)
	}
	if err := os.Truncate(d.path, deadLetterBytes); err != nil {
		t.Fatal(err)
	}
	keep()
	old, err := os.Stat(d.path + ".old")
	if err != nil || old.Size() != deadLetterBytes || len(letters(t, d)) != 1 {
		t.Errorf("put aside: %v, %v; %d letters in the new file", old, err, len(letters(t, d)))
	}
}

func TestDeadLettersThatCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dead"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	d := newLetters(t)
	d.path = filepath.Join(dir, "dead", "p.jsonl")
	if n, err := d.keep("p", "r", samples(t, 1, "a", "b"), nil, 2); n != 2 || err == nil {
		t.Errorf("%d, %v", n, err)
	}
}
