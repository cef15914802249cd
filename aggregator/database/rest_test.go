package database

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
)

// anonymous is the memory of this process but for files, in MiB.
func anonymous(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	ok(t, err)
	for line := range bytes.Lines(text) {
		if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == "Anonymous:" {
			kB, err := strconv.Atoi(string(fields[1]))
			ok(t, err)
			return kB >> 10
		}
	}
	t.Fatalf("no Anonymous: in\n%s", text)
	return 0
}

// Connections that rest give back their pages. Not parallel, for the whole process is measured.
func TestRest(t *testing.T) {
	ctx := t.Context()
	d := things(t)
	before := anonymous(t)
	ok(t, d.Write(ctx, func(s *Session) error {
		for range 4000 {
			if err := put(ctx, s, fmt.Sprintf("%s %04000d", uuid.NewString(), 0)); err != nil {
				return err
			}
		}
		return nil
	}))
	if n := count(t, d, "thing"); n < 4000 {
		t.Fatalf("%d rows", n)
	}
	most := anonymous(t)
	if most < before+16 {
		t.Fatalf("%d MiB after %d MiB: no pages are kept, so that none can be given back", most, before)
	}
	for deadline := time.Now().Add(time.Minute); anonymous(t) > most-12; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d MiB before, %d MiB while pages were used, and %d MiB later", before, most, anonymous(t))
		}
	}
	if n := count(t, d, "thing"); n < 4000 {
		t.Errorf("%d rows", n)
	}
}
