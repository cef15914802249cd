package evaluate

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// group stores an alarm on the resources whose name begins with a text.
func (r *rig) group(prefix string) *store.Alarm {
	r.t.Helper()
	return r.alarmOf("gnocchi_aggregation_by_resources_threshold", fmt.Sprintf(`{"metric": "cpu", "query": %q, "resource_type": "instance", "threshold": 80, "comparison_operator": "gt", "aggregation_method": "mean"}`, strconv.Quote(prefix)))
}

// An alarm on a group is looked at when points of a member come, also of one that is new,
// and not when those of others come.
func TestGroups(t *testing.T) {
	r := newRig(t)
	const others = 50
	for i := range others {
		r.shelf.put(r.shelf.add(fmt.Sprint("other", i), "cpu"), time.Now(), 1)
		r.group(fmt.Sprint("other", i))
	}
	n := r.shelf.add("web1", "cpu")
	a := r.group("web")
	r.start()
	r.shelf.put(n, time.Now(), 100)
	r.awaitState(a.ID, def.Alerting)
	await(t, "the others are ok", func() bool { return r.e.Counters().Transitions == others+1 })
	await(t, "only the group is looked at", func() bool { // looks that the start calls for go on for a while
		looks := r.e.Counters().Looks
		r.shelf.put(n, time.Now(), 10)
		r.awaitState(a.ID, def.OK)
		r.shelf.put(n, time.Now(), 100)
		r.awaitState(a.ID, def.Alerting)
		return r.e.Counters().Looks-looks < others/2
	})
	second := r.shelf.add("web2", "cpu") // the mean becomes 50
	r.shelf.put(second, time.Now(), 0)
	r.awaitState(a.ID, def.OK)
	r.shelf.put(second, time.Now(), 90)
	r.awaitState(a.ID, def.Alerting)
}

// A leaf that no longer looks at a series leaves it to the alarm's others.
func TestLeavesOnOneSeries(t *testing.T) {
	r := newRig(t)
	n := r.shelf.add("web1", "cpu")
	leaf := `"threshold": 80, "comparison_operator": "gt", "aggregation_method": "mean", "metric": "cpu", "resource_type": "instance"`
	a := r.alarmOf("composite", `{"or": [
		{"type": "gnocchi_resources_threshold", "resource_id": "web1", `+leaf+`},
		{"type": "gnocchi_aggregation_by_resources_threshold", "query": "\"web\"", `+leaf+`}]}`)
	r.start()
	r.shelf.put(n, time.Now(), 100)
	r.awaitState(a.ID, def.Alerting)
	r.e.mu.Lock()
	x, known := &r.e.index, r.e.alarms[a.ID]
	x.several(known, &known.leaves[1], []uint64{}, 1) // a search finds it no more
	watched := x.numbers[n].one == known
	x.remove(known)
	left := len(x.numbers) + len(x.sets) + len(x.meters) + len(x.names)
	x.add(known)
	r.e.mu.Unlock()
	if !watched || left > 0 {
		t.Errorf("watched: %v; %d entries are left of an alarm that was removed", watched, left)
	}
}
