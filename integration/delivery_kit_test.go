package integration

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/nephoscope/nepho/sdk"
)

// The samples of these tests are numbered at their source, from 1 on and without
// gaps, so that a list of what arrived tells what is missing.

// arrived counts how often each number is among samples.
func arrived(samples []sdk.Sample) map[int]int {
	n := map[int]int{}
	for _, s := range samples {
		if s.Name == "generator.number" {
			n[int(s.Volume)]++
		}
	}
	return n
}

// last is the number up to which a generator finished polls, one at least.
func last(t *testing.T, a *Agent, generator string) int {
	t.Helper()
	awaitNumber(t, a, generator, 1)
	text, err := os.ReadFile(a.Path("data", "state", "pollster", generator, "last-number"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// missing lists, in ranges, those numbers from 1 to upTo that did not arrive.
func missing(got map[int]int, upTo int) (ranges []string, count int) {
	for n := 1; n <= upTo; n++ {
		if got[n] > 0 {
			continue
		}
		first := n
		for n < upTo && got[n+1] == 0 {
			n++
		}
		count += n - first + 1
		ranges = append(ranges, fmt.Sprintf("%d-%d", first, n))
	}
	return ranges, count
}

// expectAll fails the test when a number from 1 to upTo did not arrive, or more
// than the given number of samples arrived again.
func expectAll(t *testing.T, got map[int]int, upTo, again int) {
	t.Helper()
	if ranges, n := missing(got, upTo); n > 0 {
		t.Fatalf("%d of %d samples are missing: %v", n, upTo, ranges)
	}
	if n := repeated(got); n > again {
		t.Errorf("%d samples arrived more than once, at most %d may", n, again)
	}
	t.Logf("%d samples, %d of them again", upTo, repeated(got))
}

// repeated counts deliveries beyond the first.
func repeated(got map[int]int) (n int) {
	for _, times := range got {
		n += times - 1
	}
	return n
}

// allDone waits until nothing is left, for as long as it becomes less.
func allDone(t *testing.T, what string, left func() (int, error)) {
	t.Helper()
	for least := math.MaxInt; least > 0; time.Sleep(20 * time.Millisecond) {
		Eventually(t, what, func() error {
			n, err := left()
			switch {
			case err != nil:
				return err
			case n >= least:
				return fmt.Errorf("%d are left, and become no less", n)
			}
			least = n
			return nil
		})
	}
}

// awaitNumber waits until a generator has finished with the given number.
func awaitNumber(t *testing.T, a *Agent, generator string, n int) {
	t.Helper()
	allDone(t, fmt.Sprintf("%s has given number %d", generator, n), func() (int, error) {
		text, err := os.ReadFile(a.Path("data", "state", "pollster", generator, "last-number"))
		if err != nil {
			return 0, err
		}
		at, err := strconv.Atoi(strings.TrimSpace(string(text)))
		return n - at, err
	})
}

// awaitArrival waits until the last line of a file of samples holds a number or a
// higher one.
func awaitArrival(t *testing.T, a *Agent, file string, n int) {
	t.Helper()
	allDone(t, fmt.Sprintf("number %d arrives", n), func() (int, error) {
		at, err := lastIn(a.Path(file))
		return n - at, err
	})
}

// lastIn reads the number in the last whole line of a file of samples, and no more
// than the end of the file.
func lastIn(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	text := make([]byte, min(end, 4<<10))
	if _, err := f.ReadAt(text, end-int64(len(text))); err != nil {
		return 0, err
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 2 {
		return 0, nil
	}
	var s sdk.Sample
	err = json.Unmarshal([]byte(lines[len(lines)-2]), &s)
	return int(s.Volume), err
}

// dry has the sources give next to nothing more, and waits until all that they gave has left
// the spools: a stop does not wait for a sink that is in trouble or slow, and what a
// spool drops meanwhile would be in no counter that is read before it.
func dry(t *testing.T, a *Agent) {
	t.Helper()
	slow := regexpReplace(`(?m)^interval = .*`, a.read("conf.d/test.toml"), `interval = "24h"`)
	a.Configure(regexpReplace(`(?m)^every = .*`, slow, `every = "1s"`))
	if said := a.Reload(); !strings.Contains(said, "the configuration was changed") {
		t.Fatalf("the sources are not slowed down: %s", said)
	}
	allDone(t, "the spools are empty", func() (left int, err error) {
		s := a.Status()
		for _, source := range s.Sources {
			if source.Kind == "pollster" && source.Polls == 0 { // each polls once at its start
				return 0, fmt.Errorf("%s has not polled", source.Name)
			}
		}
		for _, p := range s.Pipelines {
			if !p.Stalled {
				left += int(p.Waiting)
			}
		}
		for _, k := range s.Sinks {
			left += int(k.Waiting + k.Pending)
		}
		return left, nil
	})
}

// labelled sums a metric by the value of some labels.
func labelled(families map[string]*dto.MetricFamily, name string, labels ...string) map[string]float64 {
	sums := map[string]float64{}
	for _, m := range families[name].GetMetric() {
		var key []string
		for _, l := range labels {
			i := slices.IndexFunc(m.Label, func(p *dto.LabelPair) bool { return p.GetName() == l })
			if i >= 0 {
				key = append(key, m.Label[i].GetValue())
			}
		}
		sums[strings.Join(key, "/")] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return sums
}

// balance compares what came in with what became of it, for each pipeline and
// each sink, as /metrics has them. It gives a line for each that does not add up.
func balance(families map[string]*dto.MetricFamily) []string {
	var wrong []string
	check := func(what string, in, out []string, labels ...string) {
		sums := map[string]float64{}
		for _, name := range in {
			for key, v := range labelled(families, "nepho_"+name, labels...) {
				sums[key] += v
			}
		}
		for _, name := range out {
			for key, v := range labelled(families, "nepho_"+name, labels...) {
				sums[key] -= v
			}
		}
		for _, key := range slices.Sorted(maps.Keys(sums)) {
			if sums[key] == 0 {
				continue
			}
			line := fmt.Sprintf("%s %s is out by %g:", what, key, sums[key])
			for _, name := range append(slices.Clone(in), out...) {
				line += fmt.Sprintf(" %s=%g", name, labelled(families, "nepho_"+name, labels...)[key])
			}
			wrong = append(wrong, line)
		}
	}
	check("pipeline", []string{"pipeline_in_total"},
		[]string{"pipeline_filtered_total", "pipeline_dropped_total", "pipeline_refused_total", "pipeline_waiting", "pipeline_transformed_total"}, "pipeline")
	check("sink", []string{"sink_recovered_total", "sink_appended_total"},
		[]string{"sink_published_total", "sink_refused_total", "sink_dropped_total", "sink_waiting"}, "pipeline", "publisher")
	return wrong
}

// addsUp fails the test when the counters do not add up. While samples flow a
// scrape may catch some between two counters; never again and again.
func addsUp(t *testing.T, a *Agent) {
	t.Helper()
	Eventually(t, "the counters add up", func() error {
		wrong := balance(a.Metrics())
		return want(len(wrong) == 0, "%s", strings.Join(wrong, "\n"))
	})
}

// letter is a line of a dead letter file.
type letter struct {
	From   string      `json:"from"`
	Reason string      `json:"reason"`
	Sample *sdk.Sample `json:"sample"`
	Data   []byte      `json:"data"`
}

// deadLetters reads a file in data/dead, but for a line that is not complete yet.
func deadLetters(t *testing.T, a *Agent, name string) []letter {
	t.Helper()
	text, err := os.ReadFile(a.Path("data", "dead", name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var all []letter
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var l letter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("a dead letter is not JSON: %v: %s", err, line)
		}
		all = append(all, l)
	}
	return all
}

// numbersOf counts the numbers of dead letters.
func numbersOf(letters []letter) map[int]int {
	var samples []sdk.Sample
	for _, l := range letters {
		if l.Sample != nil {
			samples = append(samples, *l.Sample)
		}
	}
	return arrived(samples)
}

// install puts the plugin that misbehaves in the agent's plugin folder.
func install(t *testing.T, a *Agent, kinds ...string) {
	t.Helper()
	data, err := os.ReadFile(os.Getenv("NEPHO_ROGUE"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		if err := os.WriteFile(a.Path("plugins", "nepho-"+kind+"-rogue"), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// checkRates checks that every sample but the first of each series has become the rate
// that the generator's counters have, as exactly as short intervals give it.
func checkRates(t *testing.T, raw, rates []sdk.Sample) {
	t.Helper()
	type point struct {
		resource, meter string
		at              int64
	}
	have := map[point]bool{}
	for _, s := range rates {
		name, ok := strings.CutSuffix(s.Name, ".rate")
		if !ok {
			continue
		}
		var m int
		if _, err := fmt.Sscanf(name, "generator.counter.%d", &m); err != nil {
			t.Fatalf("a rate is called %s", s.Name)
		}
		if want := float64(m + 1); s.Volume < want*0.9 || s.Volume > want*1.1 {
			t.Fatalf("rate of %s is %g at %v, want %g", name, s.Volume, s.Timestamp, want)
		}
		have[point{s.ResourceID, name, s.Timestamp.UnixNano()}] = true
	}
	first := map[point]int64{}
	slices.SortFunc(raw, func(a, b sdk.Sample) int { return cmp.Compare(a.Timestamp.UnixNano(), b.Timestamp.UnixNano()) })
	lost := 0
	for _, s := range raw {
		series := point{resource: s.ResourceID, meter: s.Name}
		if _, ok := first[series]; !ok {
			first[series] = s.Timestamp.UnixNano()
		}
		if first[series] != s.Timestamp.UnixNano() && !have[point{s.ResourceID, s.Name, s.Timestamp.UnixNano()}] {
			lost++
		}
	}
	if lost > 0 || len(have) == 0 {
		t.Fatalf("%d of %d samples became no rate; there are %d rates", lost, len(raw), len(have))
	}
	t.Logf("%d samples of %d series, %d rates", len(raw), len(first), len(rates))
}

var errNot = errors.New("it does not")

func (a *Agent) mkdir(name string) {
	a.tb.Helper()
	if err := os.Mkdir(a.Path(name), 0o750); err != nil {
		a.tb.Fatalf("cannot make a folder: %v", err)
	}
}

// queueLimit sets how much may wait for the transformers of a pipeline; call it
// before Start.
func (a *Agent) queueLimit(limit string) {
	a.tb.Helper()
	a.write("nepho.toml", a.read("nepho.toml")+fmt.Sprintf("queue_limit = %q\n", limit))
}
