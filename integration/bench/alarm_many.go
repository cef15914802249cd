package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/nephoscope/nepho/integration"
	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/plugins/evaluator/definition"
	alarmstore "github.com/nephoscope/nepho/plugins/evaluator/store"
)

// Numbers of the scenario alarms_many. Each resource has ten metrics, and each metric an
// alarm; the alarms beyond those made over HTTP are about metrics that are not there.
const (
	manyMade    = 100_000
	manyHeld    = 1_000_000
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
listen   = '%s'
database = '${DIR}/alarms.sqlite'
`

// alarmsMany measures how quickly 100,000 alarms are made, and what an agent with a
// million of them needs to start and to hold them.
func alarmsMany(b *bench, tb parts.TB) {
	gnocchi, aodh := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(tb)), fmt.Sprintf("127.0.0.1:%d", parts.FreePort(tb))
	a := integration.StartAgent(tb, fmt.Sprintf(manyConfig, gnocchi, aodh))
	metrics, alarms := newStore("http://"+gnocchi), &alarmServer{newStore("http://" + aodh)}
	metrics.agent = a
	transport := &http.Transport{MaxIdleConnsPerHost: manyClients}
	metrics.client.Transport, alarms.client.Transport = transport, transport

	resources := makeResources(tb, metrics)
	makeMany(b, tb, a, alarms, resources)
	b.report("memory of the alarm plugin, 100,000 alarms", "MiB", goal{}, []float64{alarmPSS(tb, a)})
	a.Stop()
	begun := time.Now()
	fillAlarms(b, tb, a.Path("alarms.sqlite"), manyHeld-manyMade)
	if info, err := os.Stat(a.Path("alarms.sqlite")); err == nil {
		b.say("  the others were stored in %.0f s; on disk all take %.0f bytes each, with their history", time.Since(begun).Seconds(), float64(info.Size())/manyHeld)
	}
	holdMany(b, tb, metrics, alarms, resources)
}

// makeResources makes resources with their metrics, whose ids are in the store then.
func makeResources(tb parts.TB, metrics *store) []string {
	tb.Helper()
	resources := make([]string, manyMade/perResource)
	metrics.ids = make([]string, manyMade)
	var wanted []string
	for m := range perResource {
		wanted = append(wanted, fmt.Sprintf(`"m%d": {"archive_policy_name": "medium"}`, m))
	}
	shared(len(resources), func(i int) {
		resources[i] = uuid.NewString()
		body := fmt.Sprintf(`{"id": %q, "metrics": {%s}}`, resources[i], strings.Join(wanted, ", "))
		var made struct{ Metrics map[string]string }
		if err := json.Unmarshal(metrics.do(tb, http.MethodPost, "/v1/resource/generic", []byte(body), ""), &made); err != nil {
			tb.Fatalf("%v", err)
		}
		for m := range perResource {
			metrics.ids[i*perResource+m] = made.Metrics[fmt.Sprint("m", m)]
		}
	})
	return resources
}

// makeOne makes an alarm about a metric of a resource, with the actions of its state alarm and
// of its state ok as JSON.
func (s *alarmServer) makeOne(tb parts.TB, name, metric, resource, alarm, ok string) {
	tb.Helper()
	s.do(tb, http.MethodPost, "/v2/alarms", []byte(fmt.Sprintf(`{"name": %q, "type": "gnocchi_resources_threshold", "severity": "moderate", "alarm_actions": %s, "ok_actions": %s,
		"gnocchi_resources_threshold_rule": {"metric": %q, "resource_id": %q, "resource_type": "generic", "threshold": 90, "comparison_operator": "gt", "aggregation_method": "mean", "granularity": 60}}`,
		name, alarm, ok, metric, resource)), "")
}

// pager is the action of all alarms but one, of which one fires. Nothing listens there.
const pager = "http://127.0.0.1:9/pager"

// makeMany makes an alarm on each metric over HTTP, and reports the rates.
func makeMany(b *bench, tb parts.TB, a *integration.Agent, alarms *alarmServer, resources []string) {
	tb.Helper()
	const tenth = manyMade / 10
	start := agentUsage(tb, a)
	for part := range 10 {
		before, begun := agentUsage(tb, a), time.Now()
		shared(tenth, func(i int) {
			i += part * tenth
			alarms.makeOne(tb, fmt.Sprint("alarm ", i), fmt.Sprint("m", i%perResource), resources[i/perResource], `["`+pager+`"]`, `[]`)
		})
		rate := tenth / time.Since(begun).Seconds()
		used := agentUsage(tb, a).since(before)
		each := func(d time.Duration) float64 { return ms(d) / tenth }
		b.say("  tenth %d: %.0f alarms/s; CPU of each: plugin %.3f ms, host %.3f ms, storage %.3f ms (load average %s)", part+1, rate,
			each(used["alarm/evaluator"]), each(used["host"]), each(used["storage/aggregator"]), loadAverage())
		if name := map[int]string{0: "first", 5: "middle", 9: "last"}[part]; name != "" {
			b.report("alarms created, 16 clients, the "+name+" 10,000 of 100,000", "1/s", goal{must: 2000}, []float64{rate})
		}
	}
	b.report("alarms created, all processes", "1/CPU-s", goal{}, []float64{manyMade / agentUsage(tb, a).since(start).total().Seconds()})
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

// fillAlarms stores alarms without the API, as it stores them but for their events.
func fillAlarms(b *bench, tb parts.TB, file string, n int) {
	tb.Helper()
	s, err := alarmstore.Open(b.ctx, alarmstore.Options{URL: file})
	if err != nil {
		tb.Fatalf("%v", err)
	}
	const together = 256 // share a transaction
	var next atomic.Int64
	work, ctx := errgroup.WithContext(b.ctx)
	for range together {
		work.Go(func() error {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				now := time.Now().UTC()
				alarm := &alarmstore.Alarm{
					Alarm: definition.Alarm{
						ID: uuid.Must(uuid.NewV7()), Name: fmt.Sprintf("filled %d", i), Description: "gnocchi_resources_threshold alarm rule", Enabled: true,
						Rule: &definition.ResourceThreshold{
							Threshold: definition.Threshold{Threshold: 90, Comparison: "gt", Method: "mean", Periods: 1, Granularity: time.Minute},
							Metric:    fmt.Sprintf("m%d", i%perResource), Resource: uuid.NewString(), ResourceType: "generic",
						},
						Actions: [3][]string{definition.Alerting: {pager}}, User: "admin", Admin: true, Changed: now,
					},
					Status: definition.Status{Reason: definition.NotEvaluated, Since: now},
				}
				change := &alarmstore.Change{
					ID: uuid.New(), Alarm: alarm.ID, Kind: alarmstore.Creation, Who: alarmstore.Who{User: "admin"}, At: now,
					Detail: string(definition.AppendJSON(nil, alarm.Answer(&alarm.Status))),
				}
				if err := s.Create(ctx, alarm, alarmstore.Limits{Project: -1, User: -1}, change); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := errors.Join(work.Wait(), s.Close()); err != nil {
		tb.Fatalf("cannot store alarms: %v", err)
	}
}

// holdMany starts the agent with all alarms, and reports what they take.
func holdMany(b *bench, tb parts.TB, metrics *store, alarms *alarmServer, resources []string) {
	tb.Helper()
	a := metrics.agent
	plugin := func() int {
		own := slices.DeleteFunc(a.Processes(), func(pid int) bool { return role(pid) != "alarm/evaluator" })
		if len(own) != 1 {
			tb.Fatalf("%d processes have the alarms", len(own))
		}
		return own[0]
	}
	before, begun := len(a.Log()), time.Now()
	a.Start()
	a.AwaitReady()
	b.report("start with a million alarms, until the API answers", "s", goal{must: 10}, []float64{time.Since(begun).Seconds()})
	b.await(tb, 20*time.Millisecond, 10*time.Minute, "the alarms", func() bool { return strings.Contains(a.Log()[before:], "alarms: all are read") })
	b.report("start with a million alarms, until all are read", "s", goal{}, []float64{time.Since(begun).Seconds()})
	b.report("memory of the alarm plugin, a million alarms just read", "MiB", goal{must: 1024}, []float64{alarmPSS(tb, a)})

	// What data call for is looked at while all others are due.
	told := newReceiver(tb)
	last := metrics.ids[len(metrics.ids)-1]
	actions := fmt.Sprintf("[%q]", told.url)
	alarms.makeOne(tb, "among a million", fmt.Sprint("m", perResource-1), resources[len(resources)-1], actions, actions)
	wait := told.next(tb, func() { metrics.post(tb, pointOf(last, 1e6)) })
	b.report("point accepted to webhook told, while a million alarms are due", "ms", goal{}, []float64{ms(wait)})
	b.await(tb, 250*time.Millisecond, 10*time.Minute, "a look at all alarms", func() bool {
		return ownFigure(tb, a, "evaluations_total") >= manyHeld && ownFigure(tb, a, "alarms_waiting") == 0
	})
	b.report("start with a million alarms, until all were looked at", "s", goal{}, []float64{time.Since(begun).Seconds()})
	b.report("memory of the alarm plugin, a million alarms looked at", "MiB", goal{must: 1024}, []float64{alarmPSS(tb, a)})

	for round, name := range []string{"that changes their states", "that changes none"} {
		before, begun := agentUsage(tb, a), time.Now()
		for part := range slices.Chunk(metrics.ids[:len(metrics.ids)-1], 10_000) {
			metrics.post(tb, pointOfEach(part, 10))
		}
		metrics.post(tb, pointOf(last, []float64{-1e9, 1e12}[round])) // in the same window or not
		told.await(tb, 10*time.Minute)
		used := agentUsage(tb, a).since(before)
		b.say("  a point of 100,000 metrics %s: %.1f s until all were looked at, %.1f s of CPU in the plugin, %.1f s in all (load average %s)",
			name, time.Since(begun).Seconds(), used["alarm/evaluator"].Seconds(), used.total().Seconds(), loadAverage())
	}
	b.report("memory of the alarm plugin, a million alarms after two rounds of looks", "MiB", goal{must: 1024}, []float64{alarmPSS(tb, a)})
	b.report("most resident memory of the alarm plugin with a million alarms", "MiB", goal{must: 1024}, []float64{mostResident(tb, plugin())})
	a.Stop()
}

// ownFigure is what the alarm plugin tells about itself.
func ownFigure(tb parts.TB, a *integration.Agent, name string) (v float64) {
	tb.Helper()
	_, body, err := a.Get("/metrics")
	if err != nil {
		tb.Fatalf("%v", err)
	}
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, "nepho_evaluator_"+name+"{"); ok {
			if _, text, ok := strings.Cut(rest, "} "); ok {
				fmt.Sscan(text, &v) //nolint:errcheck // 0 then
			}
		}
	}
	return v
}

// mostResident is the most memory that a process ever had, in MiB.
func mostResident(tb parts.TB, pid int) float64 {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatalf("cannot measure process %d: %v", pid, err)
	}
	for line := range bytes.Lines(text) {
		var kib float64
		if n, _ := fmt.Sscanf(string(line), "VmHWM: %f kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	tb.Fatalf("/proc/%d/status has no VmHWM", pid)
	return 0
}
