package wal

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// crashDirEnv tells a re-executed test binary to be the process that is killed.
const crashDirEnv = "WAL_CRASH_DIR"

// crashChild writes until it is killed. Several goroutines write numbered records
// in the order of their positions, and print the number when it is acknowledged.
func crashChild(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	var sync1 time.Duration
	if os.Getenv(crashDirEnv+"_SYNC") != "" {
		sync1 = time.Millisecond
	}
	l, err := Open(Options{Dir: dir, SegmentSize: 256 << 10, Sync: sync1})
	fail(err)
	n := 0
	_, err = l.Replay(0, func(Position, []byte) error { n++; return nil })
	fail(err)
	var mu sync.Mutex
	for range 4 {
		go func() {
			for {
				mu.Lock()
				i := n
				c, err := l.Write(text(i, 100+i%5000))
				n++
				mu.Unlock()
				fail(err)
				fail(c.Wait(background))
				_, err = os.Stdout.WriteString(fmt.Sprintln(i))
				fail(err)
			}
		}()
	}
	select {}
}

func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	for _, mode := range []string{"", "interval"} {
		dir := t.TempDir()
		acked := -1 // the greatest number that a child printed
		for range 4 {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), crashDirEnv+"="+dir)
			if mode != "" {
				cmd.Env = append(cmd.Env, crashDirEnv+"_SYNC=1")
			}
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// Killed after a random number of records and a random moment.
			left := 1 + rand.IntN(300)
			kill := func() {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				var i int
				if _, err := fmt.Sscan(lines.Text(), &i); err != nil {
					t.Fatalf("line %q: %v", lines.Text(), err)
				}
				acked = max(acked, i)
				if left--; left == 0 {
					time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, kill)
				}
			}
			if err := cmd.Wait(); err == nil || left > 0 {
				t.Fatalf("the child ended by itself: %v", err)
			}
			got, report := reread(t, dir)
			if report.Lost != 0 {
				t.Fatalf("report %+v", report)
			}
			for i, r := range got {
				if r.record != string(text(i, 100+i%5000)) {
					t.Fatalf("record %d is %.20q", i, r.record)
				}
			}
			if len(got) <= acked {
				t.Fatalf("%d records are there, %d was acknowledged", len(got), acked)
			}
			t.Logf("%s: %d records, acknowledged up to %d, torn %d bytes", mode, len(got), acked, report.Torn)
		}
	}
}
