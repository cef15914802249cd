package store

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/plugins/events/chunk/chunktest"
	"github.com/nephoscope/nepho/sdk"
)

// childEnv names the database to which a child process of the test adds events.
const childEnv = "NEPHO_EVENTS_TEST_CHILD"

// childBatch is a batch of the child, the same in each process.
func childBatch(n int) []sdk.Event {
	events := chunktest.NewNova(uint64(n), start.Add(time.Duration(n)*time.Second), time.Millisecond).Events(30)
	for i := range events {
		events[i].MessageID = fmt.Sprintf("batch%d-%d", n, i)
	}
	return events
}

// TestChild is not a test by itself: it adds events, and says so after each batch, and
// merges chunks all the time, until it is killed.
func TestChild(t *testing.T) {
	where := os.Getenv(childEnv)
	if where == "" {
		t.Skip("run by TestKill9")
	}
	s := open(t, Options{URL: where})
	go func() {
		// Not all the time, or nothing is ever added.
		for range time.Tick(5 * time.Millisecond) {
			if err := errors.Join(s.Merge(t.Context()), s.Settle(t.Context())); err != nil {
				panic(err)
			}
		}
	}()
	st, err := s.Status(t.Context())
	ok(t, err)
	// The last batch of before comes again, as it does when it was not acknowledged.
	for n := max(0, int(st.Events)/30-1); ; n++ {
		_, err := s.Add(t.Context(), childBatch(n))
		ok(t, err)
		fmt.Printf("added %d.\n", n)
	}
}

// A process that is killed at any moment, of adding or of merging, leaves each event
// that it acknowledged, once, and batches as a whole.
func TestKill9(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where := where(t, name)
			for round := range 3 {
				cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
				cmd.Env = append(os.Environ(), childEnv+"="+where)
				out, err := cmd.StdoutPipe()
				ok(t, err)
				ok(t, cmd.Start())
				added := -1
				lines := bufio.NewScanner(out)
				for n := 0; lines.Scan(); n++ {
					if n == 20+round*13 {
						ok(t, cmd.Process.Kill())
					}
					// The last line may be torn; then nobody was told.
					var number int
					if _, err := fmt.Sscanf(lines.Text(), "added %d.", &number); err == nil {
						added = number
					}
				}
				if cmd.Wait() == nil {
					t.Fatal("the child ended by itself")
				}
				s := open(t, Options{URL: where})
				got := ids(all(t, s, Everything()))
				if len(got)%30 != 0 || len(got)/30 <= added {
					t.Fatalf("%d events are there, and batch %d was acknowledged", len(got), added)
				}
				var want []string
				for n := range len(got) / 30 {
					for i := range 30 {
						want = append(want, fmt.Sprintf("batch%d-%d", n, i))
					}
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Fatalf("%d events are there, and not each once", len(got))
				}
				ok(t, s.Close())
			}
		})
	}
}

// A full disk refuses events and goes on answering; when there is space again, all goes
// on as before.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Fatalf("cannot mount a small file system, which needs root: %v", err)
	}
	defer func() { ok(t, syscall.Unmount(dir, syscall.MNT_DETACH)) }()
	s := open(t, Options{URL: filepath.Join(dir, "events.sqlite")})
	defer func() { ok(t, s.Close()) }()
	nova := chunktest.NewNova(1, start, time.Millisecond)
	var want []string
	var last []sdk.Event
	fill := rand.NewChaCha8([32]byte{})
	for {
		last = nova.Events(100)
		for i := range last {
			last[i].Raw = make([]byte, 1000)
			fill.Read(last[i].Raw)
		}
		_, err := s.Add(t.Context(), last)
		if err != nil {
			if !errors.Is(err, database.ErrUnavailable) {
				t.Fatalf("a full disk is %v", err)
			}
			break
		}
		want = append(want, ids(last)...)
		if len(want) > 200_000 {
			t.Fatal("the disk does not get full")
		}
	}
	// It may be that there is no space for what is smaller, either.
	if err := s.Merge(t.Context()); err != nil && !errors.Is(err, database.ErrUnavailable) {
		t.Fatalf("merging on a full disk: %v", err)
	}
	check := func() {
		t.Helper()
		got := ids(all(t, s, Everything()))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%d events are there, want %d", len(got), len(want))
		}
	}
	check()
	ok(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"))
	add(t, s, len(last), last...)
	want = append(want, ids(last)...)
	check()
	ok(t, s.Merge(t.Context()))
	check()
}

// Where chunks can't be merged, events expire all the same.
func TestExpireWithoutMerging(t *testing.T) {
	s := open(t, Options{URL: where(t, "sqlite")})
	for i := range mergeFrom {
		add(t, s, 1, event(fmt.Sprint(i), start.Add(-retention).Add(time.Duration(i))))
		add(t, s, 1, event(fmt.Sprint("new", i), start.Add(time.Duration(i))))
	}
	ok(t, s.db.Write(t.Context(), func(w *database.Session) error {
		return w.Define(t.Context(), "CREATE TRIGGER broken BEFORE INSERT ON event_chunk BEGIN SELECT RAISE(ABORT, 'broken'); END")
	}))
	s.now = func() time.Time { return start.Add(time.Hour) }
	if err := s.tend(t.Context(), true, true); err == nil {
		t.Error("merging does not fail")
	}
	if got := all(t, s, Everything()); len(got) != mergeFrom || got[0].MessageID != "new0" {
		t.Errorf("%q are left", ids(got))
	}
}

// A server that is restarted again and again costs a writer that tries again no event,
// and gives none twice.
func TestRestarts(t *testing.T) {
	t.Parallel()
	server := parts.PostgreSQL(t)
	s := open(t, Options{URL: server.Database()})
	defer func() { ok(t, s.Close()) }()
	nova := chunktest.NewNova(1, start, time.Millisecond)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for range 3 {
			server.Restart()
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	var want []string
	running := true
	for n := 0; running || n < 20; n++ {
		select {
		case <-ended:
			running = false
		default:
		}
		batch := nova.Events(40)
		fresh := 0
		for {
			added, err := s.Add(t.Context(), batch)
			fresh += added
			if err == nil {
				break
			}
			if !errors.Is(err, database.ErrUnavailable) && !strings.Contains(err.Error(), "conn") {
				close(stop)
				<-ended
				t.Fatal(err)
			}
		}
		want = append(want, ids(batch)...)
		if err := s.Merge(t.Context()); err != nil && !errors.Is(err, database.ErrUnavailable) {
			t.Errorf("merging: %v", err)
		}
	}
	<-ended
	got := ids(all(t, s, Everything()))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%d events are there, want %d", len(got), len(want))
	}
}
