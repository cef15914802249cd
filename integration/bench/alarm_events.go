package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/nephoscope/nepho/integration"
	"github.com/nephoscope/nepho/integration/parts"
)

// eventsConfig takes events where Aodh's listener takes them, and writes what becomes
// of alarms to a file.
const eventsConfig = `
[[notification.amqp]]
name    = "bus"
urls    = ["%s"]
queues  = ["alarm.all.sample"]
durable = false

[[alarm.evaluator]]
storage = ""
listen  = "%s"

[[publisher.file]]
path = "${DIR}/changes.json"

[[pipeline]]
name       = "events"
sources    = ["bus"]
meters     = ["!*"]
publishers = ["evaluator"]

[[pipeline]]
name       = "changes"
sources    = ["evaluator"]
publishers = ["file"]
`

const (
	eventAlarms   = 1000 // of them generalAlarms are about any instance, the others about one each
	generalAlarms = 50
	// One event of a stream in so many matches an alarm.
	rare        = 1000
	streamed    = 300_000
	eventsAtOne = 100 // in a message
)

// alarmEvents measures event alarms from a message that RabbitMQ gets to the request that a
// webhook gets.
func alarmEvents(b *bench, tb parts.TB) {
	broker := parts.RabbitMQ(tb, parts.RabbitMQOptions{})
	for _, repeat := range []bool{false, true} {
		var p50, p99, all, own, written, told []float64
		var aodh50, aodh99, aodhAll []float64
		var noAodh error
		for range b.runs {
			r := startAlarmEvents(tb, broker, repeat)
			times := r.single(tb, 200)
			p50, p99 = append(p50, quantile(times, 0.5)), append(p99, quantile(times, 0.99))
			cpu := r.stream(b, tb, streamed)
			all, own = append(all, streamed/cpu.total().Seconds()), append(own, streamed/cpu["alarm/evaluator"].Seconds())
			if repeat {
				file, webhook := r.burst(b, tb, 10_000)
				written, told = append(written, file), append(told, webhook)
			}
			nothingLost(tb, r.agent)
			r.end()
			if b.peers {
				noAodh = b.attempt(noAodh, func(tb parts.TB) {
					times, each := b.aodhEvents(tb, broker, repeat)
					aodh50, aodh99, aodhAll = append(aodh50, quantile(times, 0.5)), append(aodh99, quantile(times, 0.99)), append(aodhAll, each)
				})
			}
		}
		peers := func(values []float64) []peer {
			if !b.peers {
				return nil
			}
			return []peer{newPeer(aodhName, noAodh, values)}
		}
		what := ", 1,000 event alarms"
		if repeat {
			what = ", 1,000 event alarms with repeat_actions"
		}
		b.report("event published to webhook told"+what+", p50", "ms", goal{must: 5}, p50, peers(aodh50)...)
		b.report("event published to webhook told"+what+", p99", "ms", goal{}, p99, peers(aodh99)...)
		b.report("events, one in a thousand matches"+what+", all processes", "1/CPU-s", goal{must: 20_000}, all, peers(aodhAll)...)
		b.report("events, one in a thousand matches"+what+", the alarm plugin alone", "1/CPU-s", goal{}, own)
		if repeat {
			b.report("10,000 events that match at once, until a file has the changes as events", "1/s", goal{}, written)
			b.report("10,000 events that match at once, until one webhook is told of all", "1/s", goal{}, told)
		}
	}
}

// alarmEventsRun is somebody with event alarms, and the way to give them events.
type alarmEventsRun struct {
	agent      *integration.Agent // nil if it is a peer
	usage      func() usage
	stop       func()
	connection *amqp.Connection
	channel    *amqp.Channel
	told       *eventReceiver
	number     int // of the next event
	target     int // the alarm that the next event that matches is about
}

func newAlarmEventsRun(tb parts.TB, broker *parts.Broker) *alarmEventsRun {
	tb.Helper()
	r := &alarmEventsRun{told: newEventReceiver(tb)}
	var err error
	if r.connection, err = amqp.Dial(broker.URL()); err != nil {
		tb.Fatalf("cannot connect to RabbitMQ: %v", err)
	}
	if r.channel, err = r.connection.Channel(); err != nil {
		tb.Fatalf("cannot open a channel: %v", err)
	}
	// As who consumes does: what is published before it is there must not be lost.
	if _, err := r.channel.QueueDeclare("alarm.all.sample", false, false, false, false, nil); err != nil {
		tb.Fatalf("cannot declare a queue: %v", err)
	}
	return r
}

func (r *alarmEventsRun) end() {
	r.stop()
	_ = r.connection.Close() // nothing is under way
}

// startAlarmEvents starts an agent with event alarms.
func startAlarmEvents(tb parts.TB, broker *parts.Broker, repeat bool) *alarmEventsRun {
	tb.Helper()
	r := newAlarmEventsRun(tb, broker)
	listen := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(tb))
	r.agent = integration.StartAgent(tb, fmt.Sprintf(eventsConfig, broker.URL(), listen))
	r.usage, r.stop = func() usage { return agentUsage(tb, r.agent) }, r.agent.Stop
	api := newStore("http://" + listen)
	var work sync.WaitGroup
	numbers := make(chan int)
	for range 16 {
		work.Go(func() {
			for i := range numbers {
				api.do(tb, http.MethodPost, "/v2/alarms", eventAlarm(i, repeat, r.told.url), "")
			}
		})
	}
	for i := range eventAlarms {
		numbers <- i
	}
	close(numbers)
	work.Wait()
	return r
}

// eventAlarm is the body of alarm i. The first ones are about any instance, half of them
// about a state that none has, half about a number that all have to be compared with.
func eventAlarm(i int, repeat bool, url string) []byte {
	rule := map[string]any{"event_type": "compute.instance.update", "query": []any{map[string]string{"field": "traits.instance_id", "value": instanceID(i)}}}
	switch {
	case i < generalAlarms/2:
		rule = map[string]any{"event_type": "compute.instance.*", "query": []any{map[string]string{"field": "traits.state", "value": fmt.Sprint("error ", i)}}}
	case i < generalAlarms:
		rule = map[string]any{"event_type": "compute.instance.*", "query": []any{map[string]any{"field": "traits.memory_mb", "type": "integer", "op": "gt", "value": fmt.Sprint(1_000_000 + i)}}}
	}
	body, _ := json.Marshal(map[string]any{ // plain values can be encoded
		"name": fmt.Sprint("alarm ", i), "type": "event", "event_rule": rule, "repeat_actions": repeat, "project_id": "7d3e1c3a5f7b4d0f8a1e2c3b4d5e6f70", "alarm_actions": []string{url},
	})
	return body
}

func instanceID(i int) string { return fmt.Sprintf("5a1d8a1e-1b2c-4d3e-8f4a-%012d", i) }

// next makes an event as Ceilometer has it, about the instance of an alarm or about one
// that none is about.
func (r *alarmEventsRun) next(matches bool) (id string, event map[string]any) {
	n := r.number
	r.number++
	instance := eventAlarms + n%100_000
	if matches {
		instance = generalAlarms + r.target%(eventAlarms-generalAlarms)
		r.target++
	}
	id = fmt.Sprintf("c0ffee00-0000-4000-8000-%012d", n)
	text := func(name, value string) []any { return []any{name, 1, value} }
	return id, map[string]any{
		"message_id": id, "event_type": "compute.instance.update", "generated": time.Now().UTC().Format("2006-01-02T15:04:05.000000"), "raw": map[string]any{},
		"message_signature": "5b1f0e6c7d8a9b0c1d2e3f405162738495a6b7c8d9eaf0b1c2d3e4f506172839",
		"traits": []any{
			text("project_id", "7d3e1c3a5f7b4d0f8a1e2c3b4d5e6f70"), text("user_id", "1a2b3c4d5e6f708192a3b4c5d6e7f809"), text("instance_id", instanceID(instance)),
			text("resource_id", instanceID(instance)), text("display_name", fmt.Sprint("web-", instance)), text("service", "compute"), text("host", fmt.Sprint("node-", n%500)),
			text("request_id", "req-"+id), text("state", "active"), text("instance_type", "m1.large"),
			[]any{"memory_mb", 2, 8192}, []any{"vcpus", 2, 4}, []any{"launched_at", 4, "2026-01-02T03:04:05.000000"},
		},
	}
}

// publish sends events in one message of oslo.messaging.
func (r *alarmEventsRun) publish(tb parts.TB, events ...map[string]any) {
	tb.Helper()
	inner, _ := json.Marshal(map[string]any{ // plain values can be encoded
		"message_id": fmt.Sprint("envelope", r.number), "publisher_id": "ceilometer", "event_type": "event", "priority": "SAMPLE", "timestamp": "2026-01-01 00:00:00.000000", "payload": events,
	})
	outer, _ := json.Marshal(map[string]string{"oslo.version": "2.0", "oslo.message": string(inner)})
	err := r.channel.PublishWithContext(context.Background(), "", "alarm.all.sample", false, false, amqp.Publishing{ContentType: "application/json", ContentEncoding: "utf-8", Body: outer})
	if err != nil {
		tb.Fatalf("cannot publish: %v", err)
	}
}

// single gives how long events took, one after the other, from before they were given to
// RabbitMQ.
func (r *alarmEventsRun) single(tb parts.TB, n int) (times []time.Duration) {
	tb.Helper()
	for i := range n + n/10 {
		id, event := r.next(true)
		begun := time.Now()
		r.publish(tb, event)
		if took := r.told.await(tb, id).Sub(begun); i >= n/10 { // the first ones make connections
			times = append(times, took)
		}
	}
	return times
}

// stream gives the processor time of n events, until the webhook is told of those that
// match, of which the last is one.
func (r *alarmEventsRun) stream(b *bench, tb parts.TB, n int) usage {
	tb.Helper()
	const ahead = 50_000 // of the agent, so that RabbitMQ need not keep many
	before, from, begun := r.usage(), uint64(0), time.Now()
	if r.agent != nil {
		from = r.published()
	}
	var wanted []string
	for sent := 0; sent < n; {
		var events []map[string]any
		for range eventsAtOne {
			matches := sent%rare == rare-1
			id, event := r.next(matches)
			if matches {
				wanted = append(wanted, id)
			}
			events = append(events, event)
			sent++
		}
		r.publish(tb, events...)
		if r.agent != nil && sent%10_000 == 0 {
			b.await(tb, 10*time.Millisecond, time.Minute, "events to be taken", func() bool { return r.published()-from+ahead > uint64(sent) })
		}
	}
	for _, id := range wanted {
		r.told.await(tb, id)
	}
	spent := r.usage().since(before)
	b.say("  %.0f events/s, CPU-s: %v, %d webhooks were told, %d of them twice (load average %s)", float64(n)/time.Since(begun).Seconds(), spent, len(wanted), r.told.repeats(), loadAverage())
	return spent
}

func (r *alarmEventsRun) published() uint64 { return r.agent.Sink("events", "evaluator").Published }

// burst gives how many changes of states a second get into the file, and to the webhook,
// when n events that match come at once.
func (r *alarmEventsRun) burst(b *bench, tb parts.TB, n int) (written, told float64) {
	tb.Helper()
	lines := func() int {
		text, err := os.ReadFile(r.agent.Path("changes.json"))
		if err != nil {
			tb.Fatalf("cannot read what the file publisher wrote: %v", err)
		}
		return bytes.Count(text, []byte(`"alarm.state_transition"`))
	}
	b.await(tb, 20*time.Millisecond, time.Minute, "earlier changes to be in the file", func() bool { return lines() >= r.target })
	begun := time.Now()
	var last string
	for range n / eventsAtOne {
		var events []map[string]any
		for range eventsAtOne {
			id, event := r.next(true)
			last, events = id, append(events, event)
		}
		r.publish(tb, events...)
	}
	b.await(tb, 50*time.Millisecond, 5*time.Minute, "all changes to be in the file", func() bool { return lines() >= r.target })
	took := time.Since(begun)
	b.await(tb, 20*time.Millisecond, 5*time.Minute, "the webhook to be told of all", func() bool { return r.told.count() >= r.target })
	return float64(n) / took.Seconds(), float64(n) / r.told.await(tb, last).Sub(begun).Seconds()
}

// eventReceiver is a webhook that notes when it was told of which event.
type eventReceiver struct {
	url   string
	mu    sync.Mutex
	told  map[string]time.Time
	twice int
	more  chan struct{} // closed with the next one
}

func newEventReceiver(tb parts.TB) *eventReceiver {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("%v", err)
	}
	r := &eventReceiver{url: "http://" + l.Addr().String() + "/", told: map[string]time.Time{}, more: make(chan struct{})}
	server := &http.Server{Handler: r}
	go func() { _ = server.Serve(l) }()
	tb.Cleanup(func() { _ = server.Close() })
	return r
}

// ServeHTTP implements http.Handler.
func (r *eventReceiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	now := time.Now()
	var told struct {
		Data struct {
			Event struct {
				ID string `json:"message_id"`
			} `json:"event"`
		} `json:"reason_data"`
	}
	body, err := io.ReadAll(q.Body)
	if err != nil || json.Unmarshal(body, &told) != nil || told.Data.Event.ID == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.told[told.Data.Event.ID]; ok {
		r.twice++
		return
	}
	r.told[told.Data.Event.ID] = now
	close(r.more)
	r.more = make(chan struct{})
}

// count is of how many events it was told, repeats how often of one again.
func (r *eventReceiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.told)
}

func (r *eventReceiver) repeats() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.twice
}

// await gives when it was told of an event.
func (r *eventReceiver) await(tb parts.TB, id string) time.Time {
	tb.Helper()
	for late := time.After(2 * time.Minute); ; {
		r.mu.Lock()
		at, ok := r.told[id]
		more := r.more
		r.mu.Unlock()
		if ok {
			return at
		}
		select {
		case <-more:
		case <-late:
			tb.Fatalf("no webhook is told of event %s", id)
		}
	}
}
