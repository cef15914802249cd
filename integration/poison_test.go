package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/sdk"
)

// deadLetters reads the samples in a file of dead letters.
func (a *Agent) deadLetters(name string) []sdk.Sample {
	a.tb.Helper()
	f, err := os.Open(a.Path("data", "dead", name+".jsonl"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		a.tb.Fatalf("cannot read dead letters: %v", err)
	}
	defer f.Close()
	var samples []sdk.Sample
	for in := bufio.NewScanner(f); in.Scan(); {
		var letter struct {
			Reason string
			Sample *sdk.Sample
		}
		if err := json.Unmarshal(in.Bytes(), &letter); err != nil || letter.Reason == "" || letter.Sample == nil {
			a.tb.Fatalf("a dead letter is wrong (%v): %s", err, in.Bytes())
		}
		samples = append(samples, *letter.Sample)
	}
	return samples
}

// numbers gives the volumes of samples of an instance.
func numbers(samples []sdk.Sample, instance string) []int {
	var n []int
	for _, s := range samples {
		if s.ResourceID == instance {
			n = append(n, int(s.Volume))
		}
	}
	return n
}

// A batch on which a transformer or a publisher ends or hangs is put aside, alone,
// and those that come after it pass, as do those of the other instances in the
// same process.
func TestPoison(t *testing.T) {
	f := func(kind, mode, timeout string) {
		t.Run(kind+"_"+mode, func(t *testing.T) {
			t.Parallel()
			transformers, publishers, innocent := "'bad'", "'out'", "'good'"
			instances := "[[publisher.file]]\nname = 'out'\npath = '${DIR}/out.json'\n[[publisher.file]]\nname = 'other'\npath = '${DIR}/other.json'\n"
			dead, other := "main/@transformers", "other"
			if kind == "publisher" {
				transformers, publishers, innocent = "", "'bad'", ""
				dead, other = "main/bad", "good"
				instances = ""
			}
			options := "on = 7\nmode = '" + mode + "'\n"
			if timeout != "" {
				options += "timeout = '" + timeout + "'\n"
			}
			if kind == "publisher" {
				options += "path = '${DIR}/out.json'\nretry_max = '100ms'\n"
			}
			instances += fmt.Sprintf("[[%s.rogue]]\nname = 'bad'\n%s", kind, options)
			instances += fmt.Sprintf("[[%s.rogue]]\nname = 'good'\n", kind)
			if kind == "publisher" {
				instances += "path = '${DIR}/other.json'\nretry_max = '100ms'\n"
			}
			a := NewAgent(t, "[agent]\ninterval = '50ms'\ntimeout = '60s'\n"+instances+fmt.Sprintf(`
[[pollster.rogue]]
name = "numbers"
[[pollster.rogue]]
name = "others"
[[pipeline]]
name = "main"
sources = ["numbers"]
transformers = [%s]
publishers = [%s]
[[pipeline]]
name = "other"
sources = ["others"]
transformers = [%s]
publishers = ['%s']
`, transformers, publishers, innocent, other))
			a.installRogue("pollster", "transformer", "publisher")
			a.Start()
			Eventually(t, "number 20 arrives", func() error {
				got := numbers(a.Samples("out.json"), "numbers")
				return want(slices.Contains(got, 20), "%v have", got)
			})
			if got := numbers(a.deadLetters(dead), "numbers"); !slices.Equal(got, []int{7}) {
				t.Errorf("%v are put aside", got)
			}
			others := 0
			for _, s := range a.Status().Sources {
				if s.Name == "others" {
					others = int(s.Samples)
				}
			}
			a.Stop()
			for file, from := range map[string]string{"out.json": "numbers", "other.json": "others"} {
				got := numbers(a.Samples(file), from)
				slices.Sort(got)
				got = slices.Compact(got) // what was under way when the process ended may come twice
				for i := range got {
					expect := i
					if from == "numbers" && i >= 7 {
						expect++
					}
					if got[i] != expect {
						t.Fatalf("%s has %v", file, got)
					}
				}
				if from == "others" && len(got) < others {
					t.Errorf("%d of %d others arrived", len(got), others)
				}
			}
		})
	}
	f("transformer", "die", "")
	f("transformer", "hang", "300ms")
	f("publisher", "die", "")
	f("publisher", "refuse", "")
}

// A publisher that never returns keeps its samples waiting, on disk, and no one
// else's.
func TestPublisherThatNeverReturns(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, healthy+`
[agent]
stop_timeout = "2s"
[[publisher.rogue]]
mode = "hang"
timeout = "300ms"
[[pipeline]]
name = "stuck"
sources = ["host"]
publishers = ["rogue"]
`)
	a.installRogue("publisher")
	a.Start()
	awaitFlow(t, a, "healthy.json", 30)
	var s host.SinkStatus
	Eventually(t, "samples wait for the publisher", func() error {
		s = a.Sink("stuck", "rogue")
		return want(s.Waiting > 0 && s.Error != "", "it has %+v", s)
	})
	if s.Published+s.Refused+s.DroppedFull > 0 {
		t.Errorf("it has %+v", s)
	}
	a.Stop()
	a.Start()
	Eventually(t, "the samples wait again", func() error {
		now := a.Sink("stuck", "rogue")
		return want(now.Recovered >= s.Waiting, "%d of %d are recovered", now.Recovered, s.Waiting)
	})
	a.Stop()
}
