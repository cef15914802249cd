package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// smallDisk makes a file system of the given size the agent's data_dir.
func (a *Agent) smallDisk(size string) {
	a.tb.Helper()
	dir := a.Path("data")
	if err := os.Mkdir(dir, 0o750); err != nil {
		a.tb.Fatalf("cannot make a folder: %v", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		a.tb.Fatalf("cannot mount a small file system, which needs root: %v", err)
	}
	// This runs before the agent's own clean-up; what is at it still may stay.
	a.tb.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
}

func (a *Agent) resizeDisk(size string) {
	a.tb.Helper()
	if err := syscall.Mount("tmpfs", a.Path("data"), "tmpfs", syscall.MS_REMOUNT, "size="+size); err != nil {
		a.tb.Fatalf("cannot resize the file system: %v", err)
	}
}

const intoNothing = `
[[pollster.generator]]
numbered = true
samples = 500
interval = "20ms"
timeout = "60s"
[[publisher.file]]
path = "${DIR}/there/out.json"
sync = "none"
`

// muchIntoNothing fills a small disk soon.
var muchIntoNothing = strings.Replace(intoNothing, "500", "2_000", 1)

// awaitDiskFull waits until so many polled samples were dropped for want of space.
func awaitDiskFull(t *testing.T, a *Agent, dropped uint64) {
	t.Helper()
	Eventually(t, "samples are dropped", func() error {
		if k := a.Sink("default", "file"); k.DroppedFull+k.DroppedDisk < dropped || !k.SpoolFull || k.Waiting < 50_000 {
			return fmt.Errorf("%+v", k)
		}
		return nil
	})
	addsUp(t, a)
}

// On a full disk polls go on: the oldest samples go, and exactly these are counted.
func TestDiskFullDropsOldestPolled(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, muchIntoNothing)
	a.smallDisk("2m")
	a.Start()
	awaitDiskFull(t, a, 20_000)
	waited := a.Sink("default", "file").Waiting
	a.mkdir("there")
	allDone(t, "as much as waited arrives", func() (int, error) {
		return int(waited) - int(a.Sink("default", "file").Published), nil
	})
	addsUp(t, a)
	a.resizeDisk("100m")
	k := a.Sink("default", "file")
	at, err := lastIn(a.Path("there", "out.json"))
	if err != nil {
		t.Fatal(err)
	}
	awaitArrival(t, a, "there/out.json", at+5_000)
	dry(t, a)
	after := a.Sink("default", "file")
	a.Stop()
	dropped := k.DroppedFull + k.DroppedDisk
	if n := after.DroppedFull + after.DroppedDisk; n > dropped {
		t.Logf("%d samples were dropped while there was room", n-dropped)
		dropped = n
	}
	upTo, err := lastIn(a.Path("there", "out.json"))
	if err != nil {
		t.Fatal(err)
	}
	if ranges, lost := missing(arrived(a.Samples("there/out.json")), upTo); uint64(lost) != dropped {
		t.Errorf("%d samples are missing (%v), %d were counted", lost, ranges, dropped)
	}
}

// An agent that is killed on a full disk starts on it again, with what it has.
func TestKillHostOnFullDisk(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, muchIntoNothing)
	a.smallDisk("2m")
	a.Start()
	awaitDiskFull(t, a, 5_000)
	a.Kill9()
	a.Start()
	if k := a.Sink("default", "file"); k.Recovered < 30_000 {
		t.Errorf("%d recovered", k.Recovered)
	}
	awaitDiskFull(t, a, 1)
	a.mkdir("there")
	a.awaitSink("default", "file", false)
	dry(t, a)
	k := a.Sink("default", "file")
	if k.Published == 0 || k.DroppedDamage > 0 {
		t.Errorf("%+v", k)
	}
	addsUp(t, a)
	a.Stop()
}

// On a full disk a notification is held back, and goes on when there is space.
func TestDiskFullHoldsNotificationBack(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, `
[agent]
stop_timeout = "5s" # more waits than need arrive
[[notification.rogue]]
every = "0s"
[[publisher.file]]
path = "${DIR}/there/out.json"
sync = "none"
`)
	install(t, a, "notification")
	a.smallDisk("512k")
	a.Start()
	before := awaitHeldBack(t, a, "rogue", "default", "file")
	addsUp(t, a)
	if k := a.Sink("default", "file"); k.DroppedFull+k.DroppedDisk > 0 || k.DiskError == "" {
		t.Errorf("%+v", k)
	}
	a.resizeDisk("100m")
	Eventually(t, "it goes on", func() error {
		if n := a.Source("rogue").Batches; n < before+500 {
			return fmt.Errorf("%d deliveries, %d before", n, before)
		}
		return nil
	})
	a.mkdir("there")
	a.awaitSink("default", "file", false)
	allDone(t, "all of the time before arrives", func() (int, error) {
		return int(before) + 500 - int(a.Sink("default", "file").Published), nil
	})
	addsUp(t, a)
	a.Stop()
	got := held(a.Samples("there/out.json"))
	for n := range int(before) + 500 {
		if got[n] == 0 {
			t.Fatalf("notification %d of %d is missing", n, before)
		}
	}
}

// What was written in part when the power went is cut off; a byte that changed
// costs its batch, which is counted, and nothing else.
func TestSpoolTornAndDamagedBetweenRuns(t *testing.T) {
	t.Parallel()
	const batch = 500
	a := NewAgent(t, intoNothing)
	a.Start()
	awaitNumber(t, a, "generator", 40*batch)
	a.Stop()
	at := last(t, a, "generator")
	segments, err := filepath.Glob(a.Path("data", "spool", "default", "file", "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("there are no segments: %v", err)
	}
	slices.Sort(segments)
	text, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 0x40
	if err := os.WriteFile(segments[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	// A record that was begun: the header of the first one, and a part of its payload.
	newest, err := os.OpenFile(segments[len(segments)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newest.Write(text[48 : 48+1000]); err != nil {
		t.Fatal(err)
	}
	if err := newest.Close(); err != nil {
		t.Fatal(err)
	}
	a.mkdir("there")
	a.Start()
	awaitArrival(t, a, "there/out.json", at+1)
	addsUp(t, a)
	dry(t, a)
	k := a.Sink("default", "file")
	if k.Recovered != uint64(at) || k.DroppedDamage != batch {
		t.Errorf("%d of %d recovered, %d damaged", k.Recovered, at, k.DroppedDamage)
	}
	a.Stop()
	got := arrived(a.Samples("there/out.json"))
	if ranges, lost := missing(got, last(t, a, "generator")); lost != batch || len(ranges) != 1 {
		t.Errorf("%d samples are missing: %v", lost, ranges)
	}
	if n := repeated(got); n > 0 {
		t.Errorf("%d samples arrived again", n)
	}
	if !strings.Contains(a.Log(), "damaged") {
		t.Errorf("the log does not tell of the damage")
	}
}
