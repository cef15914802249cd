package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/integration"
	"github.com/nephoscope/nepho/integration/parts"
)

// Numbers of the scenario alarms_many. Each resource has ten metrics, and each metric an
// alarm.
const (
	manyMade    = 100_000
	perResource = 10
	manyClients = 16
)

const manyConfig = `
[agent]
plugin_memory_limit = '1GiB' # for a million alarms

[[pollster.internal]]
interval = "1h"

[[storage.aggregator]]
path   = '${DIR}/aggregator'
listen = '%s'

[[alarm.evaluator]]
listen = '%s'
`

// alarmsMany measures how quickly 100,000 alarms are made.
func alarmsMany(b *bench, tb parts.TB) {
	gnocchi, aodh := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(tb)), fmt.Sprintf("127.0.0.1:%d", parts.FreePort(tb))
	a := integration.StartAgent(tb, fmt.Sprintf(manyConfig, gnocchi, aodh))
	metrics, alarms := newStore("http://"+gnocchi), newStore("http://"+aodh)
	transport := &http.Transport{MaxIdleConnsPerHost: manyClients}
	metrics.client.Transport, alarms.client.Transport = transport, transport

	resources := make([]string, manyMade/perResource)
	for i := range resources {
		resources[i] = uuid.NewString()
	}
	shared(len(resources), func(i int) {
		var body strings.Builder
		fmt.Fprintf(&body, `{"id": %q, "metrics": {`, resources[i])
		for m := range perResource {
			fmt.Fprintf(&body, `"m%d": {"archive_policy_name": "medium"},`, m)
		}
		metrics.do(tb, http.MethodPost, "/v1/resource/generic", []byte(strings.TrimSuffix(body.String(), ",")+"}}"), "")
	})

	own := func() usage { return agentUsage(tb, a) }
	const tenth = manyMade / 10
	for part := range 10 {
		before, begun := own(), time.Now()
		shared(tenth, func(i int) {
			i += part * tenth
			alarms.do(tb, http.MethodPost, "/v2/alarms", []byte(fmt.Sprintf(`{"name": "alarm %d", "type": "gnocchi_resources_threshold", "severity": "moderate", "alarm_actions": ["https://hooks.example.com/pager"],
				"gnocchi_resources_threshold_rule": {"metric": "m%d", "resource_id": %q, "resource_type": "generic", "threshold": 90, "comparison_operator": "gt", "aggregation_method": "mean", "granularity": 60}}`,
				i, i%perResource, resources[i/perResource])), "")
		})
		rate := tenth / time.Since(begun).Seconds()
		used := own().since(before)
		b.say("  tenth %d: %.0f alarms/s; CPU of an alarm: plugin %.2f ms, all %.2f ms (load average %s)", part+1, rate,
			used["alarm/evaluator"].Seconds()*1e3/tenth, used.total().Seconds()*1e3/tenth, loadAverage())
		if name := map[int]string{0: "first", 5: "middle", 9: "last"}[part]; name != "" {
			b.report("alarms created, 16 clients, the "+name+" 10,000 of 100,000", "1/s", goal{must: 2000}, []float64{rate})
		}
	}
	b.report("memory of the alarm plugin, 100,000 alarms", "MiB", goal{}, []float64{alarmPSS(tb, a)})
	a.Stop()

}

// shared has the clients do something n times.
func shared(n int, do func(i int)) {
	var next atomic.Int64
	var work sync.WaitGroup
	for range manyClients {
		work.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	work.Wait()
}
