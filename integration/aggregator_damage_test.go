package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Damage costs what it hits: it is told, in the log and by verify, and never answered
// with wrong values.
func TestAggregatorDamagedBlock(t *testing.T) {
	t.Parallel()
	g := newAggregator(t, "").start()
	all := g.makeMetrics(20)
	points := map[*series][]point{}
	for i, s := range all {
		points[s] = row(yesterday(), 3600, float64(i*100_000))
	}
	g.write(points)
	g.Stop() // which makes a checkpoint
	g.verify(t)
	blocks := g.objects("blocks/*")
	if len(blocks) == 0 {
		t.Fatal("there are no block files")
	}
	// The largest is that of the finer windows.
	slices.SortFunc(blocks, func(a, b string) int { return int(size(t, b) - size(t, a)) })
	flip(t, blocks[0], size(t, blocks[0])/2)
	name := "blocks/" + filepath.Base(blocks[0])

	out, log, code := g.Run("aggregator", "verify")
	if code != 1 || strings.Count(out, name) != 1 || !strings.Contains(out, "damaged: 1") {
		t.Errorf("verify ended with %d: %s%s", code, out, log)
	}

	g.start()
	query := "measures?granularity=10&aggregation=sum&stop=" + yesterday().Add(50*time.Minute).Format(time.RFC3339)
	whole := 0
	for range 2 { // the second time nothing is logged
		whole = 0
		for _, s := range all {
			text, warnings := g.getWithWarnings(t, "/v1/metric/"+s.id+"/"+query)
			want, got := s.windows(), windows{}
			var m measured
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				t.Fatal(err)
			}
			if err := got.add("sum", m); err != nil {
				t.Fatal(err)
			}
			for w := range want {
				if w.method != "sum" || w.granularity != fine.Seconds() || w.start >= yesterday().Add(50*time.Minute).Unix() {
					delete(want, w)
				}
			}
			if len(warnings) > 0 {
				// Windows are missing, and it is told. None is wrong.
				for w := range got {
					if got[w] != want[w] {
						t.Errorf("metric %s: %s is %g, not %g", s.id, w, got[w], want[w])
					}
				}
				if len(got) >= len(want) || !strings.Contains(warnings[0], "lost") {
					t.Errorf("metric %s: %d of %d windows, and the warnings %q", s.id, len(got), len(want), warnings)
				}
				continue
			}
			if wrong := got.differences(want); len(wrong) > 0 {
				t.Errorf("metric %s: %s", s.id, strings.Join(wrong, "\n"))
			}
			whole++
		}
	}
	if whole != len(all)-1 {
		t.Errorf("%d of %d metrics are answered", whole, len(all))
	}
	told := `msg=damaged .*` + regexp.QuoteMeta(name)
	g.AwaitLog(told)
	// The coarser windows and the time after are in other places.
	for _, s := range all {
		g.must(http.StatusOK, "GET", "/v1/metric/"+s.id+"/measures?aggregation=count&granularity=60", nil, nil)
	}
	g.write(map[*series][]point{all[0]: row(yesterday().Add(2*time.Hour), 10, 1)})
	g.Stop()
	if n := len(regexp.MustCompile(told).FindAllString(g.Log(), -1)); n != 1 {
		t.Errorf("the log tells of it %d times:\n%s", n, g.LogTail())
	}
}

// getWithWarnings gives an answer of 200 and what it warns of.
func (g *aggregator) getWithWarnings(t *testing.T, path string) (text string, warnings []string) {
	t.Helper()
	r, err := http.NewRequest("GET", "http://"+g.listen+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("admin", "")
	answer, err := client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d: %s %v", path, answer.StatusCode, b, err)
	}
	return string(b), answer.Header.Values("Warning")
}

// A record of the log that is damaged costs its points, and is told.
func TestAggregatorDamagedLog(t *testing.T) {
	t.Parallel()
	g := newAggregator(t, "").start()
	all := g.makeMetrics(9)
	for i, s := range all {
		g.write(map[*series][]point{s: row(yesterday(), 100, float64(i))})
	}
	g.verify(t) // also while the agent runs
	g.Kill9()   // so that the log is what there is
	g.verify(t)
	segments, err := filepath.Glob(g.Path("aggregator", "data", "log*", "*.wal"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("there is no log: %v", err)
	}
	segment := slices.MaxFunc(segments, func(a, b string) int { return recorded(t, a) - recorded(t, b) })
	flip(t, segment, int64(recorded(t, segment)/2))

	out, log, code := g.Run("aggregator", "verify")
	if code != 1 || strings.Count(out, filepath.Base(segment)) != 1 || !strings.Contains(out, "damaged: 1") {
		t.Errorf("verify ended with %d: %s%s", code, out, log)
	}

	g.start()
	whole, lost := 0, 0
	for _, s := range all {
		err := g.compare([]*series{s})
		if err == nil {
			whole++
			continue
		}
		s.points = map[time.Time]float64{}
		if g.compare([]*series{s}) != nil {
			t.Errorf("metric %s is neither whole nor empty: %v", s.id, err)
		}
		lost++
	}
	if whole != len(all)-1 || lost != 1 {
		t.Errorf("%d metrics are whole, %d have nothing", whole, lost)
	}
	const told = `msg=damaged .*are lost`
	g.AwaitLog(told)
	more := map[*series][]point{}
	for _, s := range all {
		more[s] = row(yesterday().Add(time.Hour), 10, 1)
	}
	g.write(more)
	g.expect(all)
	g.Stop()
	if n := len(regexp.MustCompile(told).FindAllString(g.Log(), -1)); n != 1 {
		t.Errorf("the log tells of it %d times:\n%s", n, g.LogTail())
	}
	g.start()
	g.expect(all)
	g.Stop()
	g.verify(t)
}

// recorded is how much of a file of the log is records; zeros are behind them.
func recorded(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return len(bytes.TrimRight(data, "\x00"))
}

func size(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
