package evaluate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/sdk"
)

// definitionOf reads an alarm of a type that is nowhere stored.
func definitionOf(t *testing.T, kind, rule string) *def.Alarm {
	t.Helper()
	p, err := def.Read(fmt.Appendf(nil, `{"name": "a", "type": %q, "%s_rule": %s}`, kind, kind, rule))
	if err != nil {
		t.Fatal(err)
	}
	p.Admin = true
	return &p.Alarm
}

const onSeries = `{"metric": "cpu", "resource_id": %q, "resource_type": "instance", "threshold": 80, "aggregation_method": "mean", "comparison_operator": "gt", "granularity": %d, "evaluation_periods": %d}`

// either is a composite rule of leaves about the same series.
func either(n, granularity, periods int) string {
	leaf := `{"type": "gnocchi_resources_threshold", ` + fmt.Sprintf(onSeries, "r", granularity, periods)[1:]
	return `{"or": [` + strings.TrimSuffix(strings.Repeat(leaf+", ", n), ", ") + `]}`
}

// TestReplayLimits: what would take long is refused before anything is read.
func TestReplayLimits(t *testing.T) {
	g := newRig(t)
	g.shelf.add("r", "cpu")
	e := g.stopped(t, time.Now)
	day := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	year := func(n int) time.Time { return time.Date(n, 1, 1, 0, 0, 0, 0, time.UTC) }
	one := definitionOf(t, "gnocchi_resources_threshold", fmt.Sprintf(onSeries, "r", 60, 3))
	for name, test := range map[string]struct {
		a        *def.Alarm
		from, to time.Time
	}{
		"steps":           {one, day, day.AddDate(0, 0, 14)},
		"values":          {definitionOf(t, "composite", either(100, 60, 10)), day, day.AddDate(0, 0, 7)},
		"a long time ago": {one, year(1500), year(1501)},
		"far ahead":       {one, year(9000), year(9001)},
		"everything":      {one, year(1), year(9999)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := e.Replay(t.Context(), test.a, test.from, test.to)
			var wrong *def.InputError
			if !errors.As(err, &wrong) || g.shelf.asked != 0 {
				t.Errorf("after %d questions: %v", g.shelf.asked, err)
			}
		})
	}
}

// TestReplayEnds: it ends with its context also if the storage pays no attention.
func TestReplayEnds(t *testing.T) {
	g := newRig(t)
	g.shelf.add("r", "cpu")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	from := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	a := definitionOf(t, "gnocchi_resources_threshold", fmt.Sprintf(onSeries, "r", 60, 3))
	if _, err := g.stopped(t, time.Now).Replay(ctx, a, from, from.AddDate(0, 0, 1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestReplayPlaces: a leaf that has no value keeps its place.
func TestReplayPlaces(t *testing.T) {
	g := newRig(t)
	g.shelf.add("r", "cpu")
	late := g.shelf.add("s", "cpu")
	from := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	g.shelf.put(late, from.Add(time.Minute), 7)
	leaf := `{"type": "gnocchi_resources_threshold", ` + onSeries[1:]
	a := definitionOf(t, "composite", fmt.Sprintf(`{"or": [`+leaf+`, `+leaf+`]}`, "r", 60, 1, "s", 60, 1))
	r, err := g.stopped(t, time.Now).Replay(t.Context(), a, from, from.Add(2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Steps[0].Values, r.Steps[1].Values); got != "[NaN NaN] [NaN 7]" {
		t.Error(got)
	}
}

// weeks is a storage with a window for each week of Gnocchi's, which begin on Thursdays as
// 1970 did. The value is the number of weeks since then.
type weeks struct{ *shelf }

func (w weeks) Windows(_ context.Context, qs []sdk.WindowQuery) (*sdk.Windows, error) {
	out := &sdk.Windows{}
	const week = int64(7 * 24 * time.Hour)
	for _, q := range qs {
		first, last := q.From.UnixNano()/week, (q.To.UnixNano()-1)/week
		out.Counts = append(out.Counts, int32(last-first+1))
		for n := first; n <= last; n++ {
			out.Times, out.Values = append(out.Times, n*week), append(out.Values, float64(n))
		}
	}
	return out, nil
}

// TestReplayWindows: windows count from 1970, so that no value is of a window that is not
// over yet.
func TestReplayWindows(t *testing.T) {
	g := newRig(t)
	g.shelf.add("r", "cpu")
	e := g.stopped(t, time.Now)
	e.o.Series = weeks{g.shelf}
	a := definitionOf(t, "gnocchi_resources_threshold", fmt.Sprintf(onSeries, "r", 7*24*3600, 1))
	from := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	r, err := e.Replay(t.Context(), a, from, from.AddDate(0, 0, 21))
	if err != nil {
		t.Fatal(err)
	}
	var days []int
	for _, s := range r.Steps {
		days = append(days, s.At.Day())
		if want := math.Floor(s.At.Sub(time.Unix(0, 0)).Hours()/24/7) - 1; len(s.Values) != 1 || s.Values[0] != want {
			t.Errorf("at %v the values are %v, not %v", s.At, s.Values, want)
		}
	}
	if !slices.Equal(days, []int{8, 15, 22}) {
		t.Errorf("it is judged on the days %v", days)
	}
}
