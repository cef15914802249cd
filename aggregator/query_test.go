package aggregator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// answers gives the samples of an answer, a line each: seconds after begin, resource,
// metric and value.
func answers(t *testing.T, s *store, begin time.Time, q sdk.Query) string {
	t.Helper()
	var lines []string
	for b, err := range s.Query(t.Context(), q) {
		if err != nil {
			return "error: " + err.Error()
		}
		for _, v := range b.Samples() {
			if v.Type != sdk.Gauge || v.Unit != "u" || b.Instance() != "test" {
				t.Errorf("sample %+v of %s", v, b.Instance())
			}
			lines = append(lines, fmt.Sprintf("%v %s %s %v", v.Timestamp.Sub(begin), v.ResourceID, v.Name, v.Volume))
		}
	}
	return strings.Join(lines, "\n")
}

func TestQuery(t *testing.T) {
	s := start(t, "")
	begin := time.Now().Add(-2 * time.Hour).Truncate(time.Hour)
	uuid := "0a7a15ff-aa13-4ac2-897c-9bdf30ce175b"
	if err := s.Publish(t.Context(), build(t, func(out *sdk.Builder) {
		for i := range 4 {
			out.At(begin.Add(time.Duration(i) * 30 * time.Second))
			out.On(sdk.Resource{ID: "vm/1", ProjectID: "p", UserID: "v"}).Gauge("cpu_util", "u", float64(i))
			out.On(sdk.Resource{ID: uuid}).Gauge("cpu_util", "u", float64(10*i))
			out.On(sdk.Resource{ID: uuid}).Delta("requests", "u", 1)
		}
	})); err != nil {
		t.Fatal(err)
	}
	f := func(q sdk.Query, want ...string) {
		t.Helper()
		if q.To.IsZero() {
			q.To = time.Now()
		}
		if q.From.IsZero() {
			q.From = begin
		}
		if got := answers(t, s, begin, q); got != strings.Join(want, "\n") {
			t.Errorf("%+v:\n%s", q, got)
		}
	}
	f(sdk.Query{Meters: []string{"cpu_util"}, Resources: []string{"vm/1"}}, "0s vm_1 cpu_util 0.5", "1m0s vm_1 cpu_util 2.5")
	f(sdk.Query{Meters: []string{"cpu_util"}, Resources: []string{"vm/1"}, Aggregation: "max"}, "0s vm_1 cpu_util 1", "1m0s vm_1 cpu_util 3")
	f(sdk.Query{Meters: []string{"cpu_util"}, Resources: []string{"vm/1"}, Granularity: 5 * time.Minute}, "0s vm_1 cpu_util 1.5")
	f(sdk.Query{Meters: []string{"cpu_util"}, Resources: []string{"vm/1"}, From: begin.Add(time.Minute)}, "1m0s vm_1 cpu_util 2.5")
	f(sdk.Query{Meters: []string{"cpu_util"}, Resources: []string{"vm/1"}, To: begin.Add(time.Minute)}, "0s vm_1 cpu_util 0.5")
	f(sdk.Query{Resources: []string{uuid, "vm/1"}, Granularity: time.Hour, Aggregation: "sum", Meters: []string{"requests", "cpu_util"}},
		"0s "+uuid+" cpu_util 60", "0s "+uuid+" requests 4", "0s vm_1 cpu_util 6")
	// All that there is; and by UUID, where others know only the text.
	if got := strings.Split(answers(t, s, begin, sdk.Query{From: begin, To: time.Now()}), "\n"); len(got) != 6 {
		t.Errorf("all are %q", got)
	}
	// Further back than minutes are kept.
	f(sdk.Query{Resources: []string{"vm/1"}, From: time.Now().Add(-20 * 24 * time.Hour)}, "0s vm_1 cpu_util 1.5")
	f(sdk.Query{Resources: []string{"vm/1"}, From: time.Now().Add(-2000 * 24 * time.Hour)}, "0s vm_1 cpu_util 1.5")
	f(sdk.Query{Meters: []string{"nothing"}})
	f(sdk.Query{Resources: []string{"nothing"}})
	f(sdk.Query{Meters: []string{"cpu_util"}, Aggregation: "men"}, `error: unknown aggregation method "men"`)
	f(sdk.Query{Meters: []string{"cpu_util"}, Aggregation: "std"}, "error: no archive policy of the 2 metrics keeps std by 0s")
	f(sdk.Query{Meters: []string{"cpu_util"}, Granularity: 7 * time.Second}, "error: no archive policy of the 2 metrics keeps anything by 7s")
	// Of several metrics those that have it answer.
	f(sdk.Query{Resources: []string{uuid}, Aggregation: "min", Granularity: time.Hour}, "0s "+uuid+" cpu_util 0")
}
