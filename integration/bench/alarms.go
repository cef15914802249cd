package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nephoscope/nepho/integration"
	"github.com/nephoscope/nepho/integration/parts"
)

// watched is how many alarms there are, one on each of as many metrics.
const watched = 10_000

const alarmsConfig = `
[[pollster.internal]]
interval = "1h"

[[storage.aggregator]]
path   = '${DIR}/aggregator'
listen = '%s'

[[alarm.evaluator]]
listen = '%s'
`

// alarms measures the alarm plugin over the aggregator: how many alarms can be made, what
// looking at them costs, and how long it takes until a webhook is told.
func alarms(b *bench, tb parts.TB) {
	var made, late, looks, moves, p50, p99, small, large []float64
	for range b.runs {
		s, alarmAPI := startAlarms(tb)
		s.makeMetrics(tb, "watched", watched, "medium")
		told := newReceiver(tb)
		cycles := func(n int) {
			for i := range n {
				s.post(tb, pointOfEach(s.ids[1:], 10))
				s.post(tb, pointOf(s.ids[0], 100*float64(i%2))) // a mean of 50, which is far from 90
			}
		}
		before := s.cpu()
		cycles(20)
		base := s.cpu() - before

		alarmAPI.create(tb, 0, 1, told.url) // it tells when a cycle was looked at
		rate := alarmAPI.create(tb, 1, 1000, "")
		small = append(small, alarmPSS(tb, s.agent))
		alarmAPI.create(tb, 1000, watched-1000, "")
		made, late = append(made, rate), append(late, alarmAPI.create(tb, watched-1000, watched, ""))
		large = append(large, alarmPSS(tb, s.agent))

		before = s.cpu()
		for i := range 20 {
			s.post(tb, pointOfEach(s.ids[1:], 10))
			told.next(tb, func() { s.post(tb, pointOf(s.ids[0], 1e6*float64(1-2*(i%2)))) })
		}
		looks = append(looks, 20*watched/(s.cpu()-before-base).Seconds())

		var waits []time.Duration
		for i := range 200 {
			waits = append(waits, told.next(tb, func() { s.post(tb, pointOf(s.ids[0], 1e9*float64(1-2*(i%2))*float64(i+1))) }))
		}
		slices.Sort(waits)
		p50, p99 = append(p50, ms(waits[len(waits)/2])), append(p99, ms(waits[len(waits)*99/100]))

		s.post(tb, pointOf(s.ids[0], 1e15))
		before = s.cpu()
		s.post(tb, pointOfEach(s.ids, 1e6))
		alarmAPI.awaitAll(tb, "alarm")
		moves = append(moves, watched/(s.cpu()-before).Seconds())
		s.agent.Stop()
	}
	b.report("alarms created, 16 clients, the first thousand", "1/s", goal{must: 2000}, made)
	b.report("alarms created, 16 clients, the tenth thousand", "1/s", goal{must: 2000}, late)
	b.report("alarms looked at, 10,000 on as many metrics, all processes", "1/CPU-s", goal{must: 20_000}, looks)
	b.report("alarms that change their state, all processes", "1/CPU-s", goal{}, moves)
	b.report("point accepted to webhook told, 10,000 alarms, p50", "ms", goal{must: 100}, p50)
	b.report("point accepted to webhook told, 10,000 alarms, p99", "ms", goal{must: 1000}, p99)
	b.report("memory of the alarm plugin, 1,000 alarms", "MiB", goal{must: 40}, small)
	b.report("memory of the alarm plugin, 10,000 alarms", "MiB", goal{}, large)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// alarmServer is a server with Aodh's API.
type alarmServer struct {
	*store
}

func startAlarms(tb parts.TB) (*store, *alarmServer) {
	tb.Helper()
	gnocchi, aodh := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(tb)), fmt.Sprintf("127.0.0.1:%d", parts.FreePort(tb))
	a := integration.StartAgent(tb, fmt.Sprintf(alarmsConfig, gnocchi, aodh))
	s := newStore("http://" + gnocchi)
	s.agent = a
	s.cpu = func() time.Duration { return agentUsage(tb, a).total() }
	return s, &alarmServer{newStore("http://" + aodh)}
}

// alarmPSS is the memory of the alarm plugin's process.
func alarmPSS(tb parts.TB, a *integration.Agent) float64 {
	tb.Helper()
	return memory(tb, slices.DeleteFunc(a.Processes(), func(pid int) bool { return role(pid) != "alarm/evaluator" }))
}

// create makes alarms on metrics by their numbers, and gives the rate.
func (s *alarmServer) create(tb parts.TB, from, to int, action string) float64 {
	tb.Helper()
	var work sync.WaitGroup
	numbers := make(chan int)
	began := time.Now()
	for range 16 {
		work.Go(func() {
			for i := range numbers {
				actions := "[]"
				if action != "" {
					actions = fmt.Sprintf("[%q]", action)
				}
				s.do(tb, http.MethodPost, "/v2/alarms", []byte(fmt.Sprintf(`{"name": "alarm %d", "type": "gnocchi_resources_threshold", "alarm_actions": %s, "ok_actions": %s,
					"gnocchi_resources_threshold_rule": {"metric": "m%d", "resource_id": "watched", "resource_type": "generic", "threshold": 90, "comparison_operator": "gt", "aggregation_method": "mean", "granularity": 60}}`,
					i, actions, actions, i)), "")
			}
		})
	}
	for i := from; i < to; i++ {
		numbers <- i
	}
	close(numbers)
	work.Wait()
	return float64(to-from) / time.Since(began).Seconds()
}

// awaitAll waits until all alarms are in a state.
func (s *alarmServer) awaitAll(tb parts.TB, state string) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var list []json.RawMessage
		body := fmt.Sprintf(`{"filter": "{\"!=\": {\"state\": \"%s\"}}", "limit": 1}`, state)
		if err := json.Unmarshal(s.do(tb, http.MethodPost, "/v2/query/alarms", []byte(body), ""), &list); err != nil {
			tb.Fatalf("%v", err)
		}
		if len(list) == 0 {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("not all alarms are in state %s", state)
		}
	}
}

func pointOfEach(ids []string, value float64) []byte {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	var body bytes.Buffer
	body.WriteByte('{')
	for i, id := range ids {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `%q:[{"timestamp":%q,"value":%v}]`, id, now, value)
	}
	body.WriteByte('}')
	return body.Bytes()
}

func pointOf(id string, value float64) []byte { return pointOfEach([]string{id}, value) }

// receiver is a webhook.
type receiver struct {
	url  string
	told chan time.Time
}

func newReceiver(tb parts.TB) *receiver {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("%v", err)
	}
	r := &receiver{url: "http://" + l.Addr().String() + "/", told: make(chan time.Time, 1000)}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		r.told <- time.Now()
	})}
	go func() { _ = server.Serve(l) }()
	tb.Cleanup(func() { _ = server.Close() })
	return r
}

// next does something that the receiver is told of, and gives how long that took from when
// it was done.
func (r *receiver) next(tb parts.TB, do func()) time.Duration {
	tb.Helper()
	for len(r.told) > 0 {
		<-r.told
	}
	do()
	accepted := time.Now()
	return max(0, r.await(tb, 30*time.Second).Sub(accepted))
}

// await gives when the receiver was told, or is.
func (r *receiver) await(tb parts.TB, within time.Duration) time.Time {
	tb.Helper()
	select {
	case t := <-r.told:
		return t
	case <-time.After(within):
		tb.Fatalf("no webhook is told")
		return time.Time{}
	}
}
