package spool

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// crashDirEnv tells a re-executed test binary to be the process that is killed.
const crashDirEnv = "SPOOL_CRASH_DIR"

// crashChild appends and acknowledges until it is killed, and prints what is
// confirmed: "+n" when entry n is durable, "-n" when it was acknowledged. Lines
// go out in one write each, after the fact.
func crashChild(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	s, err := Open(Options{Dir: dir, SegmentSize: 64 << 10})
	fail(err)
	first := int(s.end.seq)
	ctx := context.Background()
	var mu sync.Mutex
	say := func(sign string, n int) {
		mu.Lock()
		defer mu.Unlock()
		_, err := os.Stdout.WriteString(fmt.Sprintf("%s%d\n", sign, n))
		fail(err)
	}
	commits := make(chan Commit, 16)
	go func() {
		for n := first; ; n++ {
			c, err := s.Append(ctx, entry(n, 100+n%5000))
			fail(err)
			commits <- c
		}
	}()
	go func() {
		for n := first; ; n++ {
			c := <-commits
			fail(c.Wait(ctx))
			say("+", n)
		}
	}()
	for {
		d, err := s.Next(ctx)
		fail(err)
		var n int
		_, err = fmt.Sscanf(string(d.Payload[:8]), "%07d\n", &n)
		fail(err)
		// It falls behind, so that there is something to recover.
		for time.Sleep(100 * time.Microsecond); s.Stats().Waiting.Entries < 10; {
			time.Sleep(100 * time.Microsecond)
		}
		fail(s.Ack(d))
		say("-", n)
	}
}

func TestKilledProcessLosesNothingConfirmed(t *testing.T) {
	dir := t.TempDir()
	durable, acked := -1, -1 // newest numbers that the child confirmed
	for round := range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDirEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var kill *time.Timer
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var sign byte
			var n int
			if _, err := fmt.Sscanf(lines.Text(), "%c%d", &sign, &n); err != nil {
				t.Fatalf("line %q: %v", lines.Text(), err)
			}
			if sign == '+' {
				durable = n
			} else {
				acked = n
				if kill == nil { // it is well under way
					kill = time.AfterFunc(time.Duration(100+130*round)*time.Millisecond, func() {
						if err := cmd.Process.Kill(); err != nil {
							t.Error(err)
						}
					})
				}
			}
		}
		if cmd.Wait() == nil || kill == nil || kill.Stop() {
			t.Fatal("the child ended by itself")
		}

		s := open(t, Options{Dir: dir, SegmentSize: 64 << 10})
		st := s.Stats()
		checkBalance(t, st)
		next := mustNext(t, s)
		n := number(t, next.Entry)
		// One Ack may have happened that the child could not report any more.
		if n != acked+1 && n != acked+2 {
			t.Fatalf("entry %d comes after a crash, the last acknowledged was %d", n, acked)
		}
		// Read on to the end, without acknowledging.
		for range st.Recovered.Entries - 1 {
			if got := number(t, mustNext(t, s).Entry); got != n+1 {
				t.Fatalf("entry %d after %d", got, n)
			}
			n++
		}
		if n < durable {
			t.Fatalf("entries to %d were recovered, those to %d were confirmed", n, durable)
		}
		if s.Stats().Dropped != (Dropped{}) {
			t.Fatalf("stats %+v", s.Stats())
		}
		t.Logf("recovered %d entries, torn %d bytes", st.Recovered.Entries, st.Torn.Bytes)
		closeSpool(t, s)
	}
}
