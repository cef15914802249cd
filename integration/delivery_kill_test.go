package integration

import (
	"syscall"
	"testing"
	"time"
)

// end9 kills a plugin's process and waits until another has taken its place.
func end9(t *testing.T, a *Agent, plugin string) {
	t.Helper()
	before := a.Plugin(plugin)
	if before.PID == 0 {
		t.Fatalf("%s does not run", plugin)
	}
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	Eventually(t, plugin+" runs again", func() error {
		if p := a.Plugin(plugin); p.PID == before.PID || p.State != "ready" {
			return errNot
		}
		return nil
	})
}

// A poll hands over batch by batch: what the host has is not lost with the
// pollster, and the pollster goes on where it was.
func TestKillPollsterMidPoll(t *testing.T) {
	t.Parallel()
	a := StartAgent(t, `
[[pollster.generator]]
numbered = true
samples = 6_000
interval = "100ms"
timeout = "60s"
[[publisher.file]]
path = "${DIR}/out.json"
`)
	for n := 1; n <= 3; n++ {
		awaitNumber(t, a, "generator", n*12_000)
		end9(t, a, "pollster/generator")
	}
	awaitNumber(t, a, "generator", 48_000)
	if r := a.Plugin("pollster/generator").Restarts; r != 3 {
		t.Errorf("%d restarts, want 3", r)
	}
	addsUp(t, a)
	dry(t, a)
	a.Stop()
	expectAll(t, arrived(a.Samples("out.json")), last(t, a, "generator"), 3*6_000)
}

func TestKillTransformerMidBatch(t *testing.T) {
	t.Parallel()
	a := StartAgent(t, `
[[pollster.generator]]
samples = 1_000
interval = "100ms"
timeout = "60s"
[[transformer.rate_of_change]]
[[publisher.file]]
name = "raw"
path = "${DIR}/raw.json"
[[publisher.file]]
name = "rates"
path = "${DIR}/rates.json"
[[pipeline]]
name = "raw"
sources = ["generator"]
publishers = ["raw"]
[[pipeline]]
name = "rates"
sources = ["generator"]
transformers = ["rate_of_change"]
publishers = ["rates"]
`)
	for range 4 {
		time.Sleep(600 * time.Millisecond)
		end9(t, a, "transformer/rate_of_change")
	}
	time.Sleep(500 * time.Millisecond)
	addsUp(t, a)
	if p := a.Pipeline("rates"); p.Dropped+p.Refused > 0 {
		t.Errorf("%d dropped, %d refused", p.Dropped, p.Refused)
	}
	a.Stop()
	checkRates(t, a.Samples("raw.json"), a.Samples("rates.json"))
}

// A batch that was under way is written again: whole, and at most once more for
// each kill.
func TestKillPublisherMidBatch(t *testing.T) {
	t.Parallel()
	f := func(name, spool string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := StartAgent(t, `
[[pollster.generator]]
numbered = true
samples = 4_000
interval = "100ms"
timeout = "60s"
[[publisher.file]]
path = "${DIR}/out.json"
`+spool)
			for n := 1; n <= 4; n++ {
				awaitNumber(t, a, "generator", n*8_000)
				end9(t, a, "publisher/file")
			}
			awaitNumber(t, a, "generator", 44_000)
			awaitArrival(t, a, "out.json", 40_000)
			addsUp(t, a)
			dry(t, a)
			a.Stop()
			expectAll(t, arrived(a.Samples("out.json")), last(t, a, "generator"), 4*4_000)
			if k := deadLetters(t, a, "default/file.jsonl"); len(k) > 0 {
				t.Errorf("%d dead letters", len(k))
			}
		})
	}
	f("disk", "")
	f("memory", `spool = "memory"`)
}

// kill -9 of the host while everything flows: what polls had finished with is in
// the spools, and goes on. The poll that was under way is the one that may lose
// samples, which its host never had.
func TestKillHostWhileAllFlows(t *testing.T) {
	t.Parallel()
	a := StartAgent(t, `
[[pollster.generator]]
numbered = true
samples = 500
interval = "20ms"
timeout = "60s"
[[publisher.file]]
path = "${DIR}/out.json"
`)
	const lives = 4
	underWay := map[int]bool{}
	for n := range lives {
		awaitNumber(t, a, "generator", (n+1)*8_000)
		a.Kill9()
		at := last(t, a, "generator")
		for k := at - 2*500 + 1; k <= at; k++ {
			underWay[k] = true
		}
		a.Start()
		a.AwaitReady()
	}
	awaitNumber(t, a, "generator", (lives+1)*8_000)
	addsUp(t, a)
	dry(t, a)
	a.Stop()
	got := arrived(a.Samples("out.json"))
	for n := range underWay {
		if got[n] == 0 {
			got[n] = 1
		}
	}
	expectAll(t, got, last(t, a, "generator"), lives*8_000)
}

// kill -9 of the host whose sink is down and whose spool has much in it.
func TestKillHostWithFullSpool(t *testing.T) {
	t.Parallel()
	const down = `
[[pollster.generator]]
numbered = true
samples = 4_000
interval = "100ms"
timeout = "60s"
[[publisher.file]]
path = "${DIR}/there/out.json"
retry_max = "1s"
`
	a := NewAgent(t, down)
	a.Start()
	awaitNumber(t, a, "generator", 60_000)
	addsUp(t, a)
	before := a.Sink("default", "file")
	if before.Published > 0 || before.Waiting < 50_000 || before.DroppedFull > 0 {
		t.Fatalf("before: %+v", before)
	}
	a.Kill9()
	at := last(t, a, "generator")
	a.Start()
	if k := a.Sink("default", "file"); k.Recovered < before.Waiting {
		t.Errorf("%d recovered of %d", k.Recovered, before.Waiting)
	}
	addsUp(t, a)
	a.mkdir("there")
	awaitArrival(t, a, "there/out.json", at+1)
	addsUp(t, a)
	dry(t, a)
	a.Stop()
	got := arrived(a.Samples("there/out.json"))
	for n := at - 8_000 + 1; n <= at; n++ { // of the poll that was under way
		if got[n] == 0 {
			got[n] = 1
		}
	}
	expectAll(t, got, last(t, a, "generator"), 8_000)
}
