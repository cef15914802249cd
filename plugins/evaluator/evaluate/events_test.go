package evaluate

import (
	"math/rand/v2"
	"testing"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/judge"
	"github.com/nephoscope/nepho/sdk"
)

// TestEventIndex: whatever rules and events have, the index finds the alarms that a
// comparison with each finds, once, while alarms come and go.
func TestEventIndex(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	some := func(list ...string) string { return list[random.IntN(len(list))] }
	text := func() string { return some("a", "b", "7", "7.5", "") }
	name := func() string { return some("instance", "state", "") }
	var x eventIndex
	x.init()
	var alarms []*alarm
	for round := range 2000 {
		if n := len(alarms); n > 0 && random.IntN(3) == 0 {
			i := random.IntN(n)
			x.remove(alarms[i])
			alarms = append(alarms[:i], alarms[i+1:]...)
		} else {
			rule := &def.Event{EventType: some("x.y", "x.*", "*", "x.?", "z")}
			for range random.IntN(3) {
				rule.Query = append(rule.Query, def.Condition{Field: some("traits."+name(), "message_id"), Op: def.Comparison(some("eq", "ne", "gt")), Type: some("", "string", "integer"), Value: some("a", "b", "7")})
			}
			a := &alarm{matcher: judge.Match(rule)}
			x.add(a, "p")
			alarms = append(alarms, a)
		}
		e := &sdk.Event{MessageID: "m", EventType: some("x.y", "x.z", "z", "y")}
		for range random.IntN(4) {
			e.Traits = append(e.Traits, sdk.Trait{Name: name(), Type: sdk.Text, Value: text()})
		}
		if random.IntN(2) == 0 {
			e.Traits = append(e.Traits, sdk.Trait{Name: name(), Type: sdk.Integer, Value: int64(7)})
		}
		found := map[*alarm]int{}
		for _, list := range x.projects["p"].candidates(e) {
			for _, a := range list {
				found[a]++
			}
		}
		for _, a := range alarms {
			if n := found[a]; n > 1 || n == 0 && a.matcher.Matches(&judge.Event{Event: e}) {
				t.Fatalf("round %d: an alarm is found %d times for %+v", round, n, e)
			}
			delete(found, a)
		}
		if len(found) > 0 {
			t.Fatalf("round %d: %d alarms are found that are gone", round, len(found))
		}
	}
	for _, a := range alarms {
		x.remove(a)
	}
	if n := len(x.projects["p"]); n > 0 {
		t.Errorf("%d event types are left", n)
	}
}
