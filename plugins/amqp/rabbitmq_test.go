package amqp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/outputs/amqp/message"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func full(t *testing.T) *sdk.Batch {
	t.Helper()
	batches, err := sdk.Build("origin", func(out *sdk.Builder) error {
		for _, s := range batch(t, 0, 3, "a", "b").Samples() {
			out.Add(s)
		}
		out.Add(sdk.Sample{Name: "little", ResourceID: "c", Volume: -1e-5, Timestamp: at})
		out.AddEvent(sdk.Event{MessageID: "e", EventType: "x", Generated: at, Raw: []byte(`{"a":1.5}`), Traits: []sdk.Trait{
			{Name: "text", Type: sdk.Text, Value: "é"}, {Name: "integer", Type: sdk.Integer, Value: int64(7)},
			{Name: "float", Type: sdk.Float, Value: 1.0}, {Name: "time", Type: sdk.Datetime, Value: at},
		}})
		return nil
	})
	if err != nil || len(batches) != 1 {
		t.Fatal(batches, err)
	}
	return batches[0]
}

// expectNext expects the next delivery to be exactly the samples first to last-1
// of a batch, and its events if it has some.
func expectNext(t *testing.T, l *sdktest.Listener, want *sdk.Batch, first, last, events int) {
	t.Helper()
	d, err := l.Next()
	if err != nil {
		t.Fatal(err)
	}
	if d.Len() != last-first || d.Events() != events {
		t.Fatalf("got %d samples and %d events, want %d and %d", d.Len(), d.Events(), last-first, events)
	}
	for i := range d.Len() {
		if got, want := d.Sample(i), want.Sample(first+i); !reflect.DeepEqual(got, want) {
			t.Errorf("sample %d:\n got %+v\nwant %+v", i, got, want)
		}
	}
	for e := range events {
		if got, want := d.Event(e), want.Event(e); !reflect.DeepEqual(got, want) {
			t.Errorf("event %d:\n got %+v\nwant %+v", e, got, want)
		}
	}
	if err := l.Settle(d, nil); err != nil {
		t.Fatal(err)
	}
}

// testForms goes from the publisher through the broker and the plugin's protocol.
func testForms(t *testing.T, b *parts.Broker) {
	ch := channel(t, b)
	declare(t, ch, "forms", nil)
	in := sdktest.Start(t, urls(b)+`
		queues   = ["forms"]
		declare  = false
		secrets  = ["new", "s"]
	`)
	l, err := in.Listen(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	want := full(t)
	send := func(options string) {
		t.Helper()
		out := publisher(t, urls(b)+"exchange = ''\nsecret = 's'\nrouting_key = 'forms'\nevent_routing_key = 'forms'\n"+options)
		if err := out.Publish(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	send(``)
	expectNext(t, l, want, 0, 7, 1)
	send(`gzip = true`)
	expectNext(t, l, want, 0, 7, 1)
	send(`form = "ceilometer"`)
	expectNext(t, l, want, 0, 7, 0)
	expectNext(t, l, want, 0, 0, 1)
	send("form = 'ceilometer'\nmax_message_samples = 4")
	expectNext(t, l, want, 0, 4, 0)
	expectNext(t, l, want, 4, 7, 0)
	expectNext(t, l, want, 0, 0, 1)
	expectEmpty(t, b, "forms")
	if log := in.Stderr(); strings.Contains(log, "refused") {
		t.Errorf("got log\n%s", log)
	}
}

func testTLS(t *testing.T, b *parts.Broker) {
	tls := fmt.Sprintf("urls = [%q]\ntls = {ca = %q}\n", b.TLSURL(), b.Certificates.CA)
	s := &sink{}
	listen(t, s, t.TempDir(), tls+`queues = ["tls"]`)
	p := publisher(t, tls+"exchange = ''\nrouting_key = 'tls'")
	expectConsumers(t, b, "tls", 1)
	if err := p.Publish(t.Context(), batch(t, 0, 1, "a")); err != nil {
		t.Fatal(err)
	}
	expectVolumes(t, s, "a", []float64{0})
}

// batches makes messages with numbered samples, one in each.
func batches(t *testing.T, first, n int, resource string) []message.Message {
	t.Helper()
	var list []message.Message
	for i := range n {
		list = append(list, message.EncodeBatch(encode(t, batch(t, first+i, 1, resource)), "", false))
	}
	return list
}

func declare(t *testing.T, ch *amqp091.Channel, queue string, args amqp091.Table) {
	t.Helper()
	if _, err := ch.QueueDeclare(queue, true, false, false, false, args); err != nil {
		t.Fatal(err)
	}
}

func testPrefetch(t *testing.T, b *parts.Broker) {
	ch := channel(t, b)
	declare(t, ch, "prefetch", nil)
	send(t, ch, "prefetch", batches(t, 0, 50, "a")...)
	s := &sink{manual: true}
	stop := listen(t, s, t.TempDir(), urls(b)+"queues = ['prefetch']\ndeclare = false\nprefetch = 7")
	eventually(t, "seven deliveries", func() bool { return s.deliveries() == 7 })
	eventually(t, "the broker counts seven", func() bool {
		ready, unacknowledged := b.QueueLength("prefetch")
		return ready == 43 && unacknowledged == 7
	})
	if n := s.deliveries(); n != 7 {
		t.Fatalf("got %d deliveries, want 7", n)
	}
	s.mu.Lock()
	for _, settled := range s.waiting[:5] {
		settled(nil)
	}
	s.mu.Unlock()
	eventually(t, "five more", func() bool { return s.deliveries() == 12 })
	stop()
	expectReady(t, b, "prefetch", 45)
}

// bad makes messages that are refused as a whole, and one of which a part is.
func bad(t *testing.T) (whole []message.Message, partly message.Message) {
	t.Helper()
	body := encode(t, batch(t, 0, 1, "a"))
	form := message.Telemetry{Secret: "s", MaxItems: 10, MaxBytes: 1 << 20}
	partly = form.Samples(batch(t, 0, 3, "good"), []int{0, 1, 2})[0]
	partly.Body = bytes.Replace(partly.Body, []byte(`counter_volume\":1`), []byte(`counter_volume\":7`), 1)
	return []message.Message{
		{Body: []byte("garbage\xff")},
		{ContentType: message.JSONType, Body: []byte(`{"oslo.version": "2.0", "oslo.message": "{"}`)},
		message.EncodeBatch(body, "", false),
		message.EncodeBatch(body, "other", false),
	}, partly
}

func testKept(t *testing.T, b *parts.Broker) {
	ch := channel(t, b)
	declare(t, ch, "kept", nil)
	whole, partly := bad(t)
	send(t, ch, "kept", append(whole, partly, message.EncodeBatch(encode(t, batch(t, 9, 1, "good")), "s", false))...)
	s, dir := &sink{}, t.TempDir()
	stop := listen(t, s, dir, urls(b)+"queues = ['kept']\ndeclare = false\nsecrets = ['s']")
	expectVolumes(t, s, "good", []float64{0, 2, 9})
	expectEmpty(t, b, "kept")
	stop()
	data, err := os.ReadFile(filepath.Join(dir, refusedFile))
	if err != nil {
		t.Fatal(err)
	}
	var got []line
	for text := range strings.Lines(string(data)) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil || l.Queue != "kept" || l.RoutingKey != "kept" || l.Reason == "" {
			t.Fatalf("got line %q, %v", text, err)
		}
		got = append(got, l)
	}
	if len(got) != 5 {
		t.Fatalf("got %d lines, want 5:\n%s", len(got), data)
	}
	if !bytes.Equal(got[0].Binary, whole[0].Body) || got[1].Body != string(whole[1].Body) || !bytes.Equal(got[3].Binary, whole[3].Body) {
		t.Errorf("bodies are not those of the messages:\n%s", data)
	}
	if got[3].Headers[message.SignatureHeader] != whole[3].Headers[message.SignatureHeader] || got[3].ContentType != message.BatchType {
		t.Errorf("got %+v", got[3])
	}
	if part := string(got[4].Part); !strings.Contains(part, `"counter_volume":7`) || got[4].Body != "" {
		t.Errorf("got part %+v", got[4])
	}
	for _, reason := range []string{"bad_signature_all=4", "undecodable_all=1"} {
		if s.log.count(reason) == 0 {
			t.Errorf("the log has no %s:\n%s", reason, s.log.text.String())
		}
	}
	if n := s.log.count("were refused"); n > 3 {
		t.Errorf("%d lines of the log tell of refusals", n)
	}
}

// testFull has more to refuse than the file takes: the rest stays in the queue
// until there is room, and nothing is lost.
func testFull(t *testing.T, b *parts.Broker) {
	const n = 10
	ch := channel(t, b)
	declare(t, ch, "full", nil)
	for range n {
		send(t, ch, "full", message.Message{Body: bytes.Repeat([]byte("x"), 100)})
	}
	send(t, ch, "full", batches(t, 0, 1, "a")...)
	s, dir := &sink{}, t.TempDir()
	stop := listen(t, s, dir, urls(b)+"queues = ['full']\ndeclare = false\nrefused_max_size = '2KiB'\nprefetch = 1")
	path := filepath.Join(dir, refusedFile)
	eventually(t, "a full file", func() bool { return s.log.count("is full") > 0 })
	lines := func(path string) int {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil || len(data) > 2<<10 {
			t.Fatalf("got %d bytes, %v", len(data), err)
		}
		return bytes.Count(data, []byte("\n"))
	}
	first := lines(path)
	if first == 0 || first >= n {
		t.Fatalf("%d messages were kept, want some of %d", first, n)
	}
	eventually(t, "the others in the queue", func() bool {
		ready, unacknowledged := b.QueueLength("full")
		return ready+unacknowledged == n-first+1
	})
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	expectVolumes(t, s, "a", []float64{0})
	expectEmpty(t, b, "full")
	stop()
	if second := lines(path); first+second != n {
		t.Errorf("%d and %d messages were kept, want %d", first, second, n)
	}
	if s.log.count("is full") != 1 || s.log.count("undecodable_all=10") != 1 {
		t.Errorf("got log\n%s", s.log.text.String())
	}
}

func testRejected(t *testing.T, b *parts.Broker) {
	ch := channel(t, b)
	declare(t, ch, "dead", nil)
	s, dir := &sink{}, t.TempDir()
	stop := listen(t, s, dir, urls(b)+`
		queues     = ["rejected"]
		queue_type = "quorum"
		arguments = { x-dead-letter-exchange = "", x-dead-letter-routing-key = "dead", x-max-length = 1000 }
		refused   = "reject"
		secrets   = ["s"]
	`)
	expectConsumers(t, b, "rejected", 1)
	whole, partly := bad(t)
	send(t, ch, "rejected", append(whole, partly)...)
	expectVolumes(t, s, "good", []float64{0, 2})
	expectReady(t, b, "dead", 5)
	stop()
	expectReady(t, b, "rejected", 0)
	if _, err := os.Stat(filepath.Join(dir, refusedFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
	d, _, err := ch.Get("dead", true)
	if err != nil || !bytes.Equal(d.Body, whole[0].Body) {
		t.Errorf("got %q, %v", d.Body, err)
	}
}

// testTrial has no state folder: nothing that is refused may go.
func testTrial(t *testing.T, b *parts.Broker) {
	ch := channel(t, b)
	declare(t, ch, "trial", nil)
	send(t, ch, "trial", message.Message{Body: []byte("x")})
	send(t, ch, "trial", batches(t, 0, 1, "a")...)
	s := &sink{}
	stop := listen(t, s, "", urls(b)+"queues = ['trial']\ndeclare = false")
	expectVolumes(t, s, "a", []float64{0})
	eventually(t, "one is acknowledged", func() bool {
		ready, unacknowledged := b.QueueLength("trial")
		return ready == 0 && unacknowledged == 1
	})
	stop()
	expectReady(t, b, "trial", 1)
}

// testNotTaken has some deliveries fail: they come back, in order and not at once.
func testNotTaken(t *testing.T, b *parts.Broker) {
	ch := channel(t, b)
	declare(t, ch, "nottaken", nil)
	s := &sink{fate: func(n int) error {
		if n == 4 || n == 5 || n > 8 && n < 11 {
			return errors.New("no room")
		}
		return nil
	}}
	listen(t, s, t.TempDir(), urls(b)+"queues = ['nottaken']\ndeclare = false\nprefetch = 1")
	send(t, ch, "nottaken", batches(t, 0, 20, "a")...)
	expectVolumes(t, s, "a", numbers(0, 20))
	expectEmpty(t, b, "nottaken")
	if n := s.deliveries(); n != 24 {
		t.Errorf("got %d deliveries, want 24", n)
	}
	if n := s.log.count("no room"); n < 1 || n > 3 {
		t.Errorf("%d lines of the log tell of it:\n%s", n, s.log.text.String())
	}
}

// testUnsettled ends a notification that has unsettled messages. They come again
// as what they were.
func testUnsettled(t *testing.T, b *parts.Broker) {
	ch := channel(t, b)
	declare(t, ch, "unsettled", nil)
	source := batch(t, 0, 10, "a")
	form := message.Telemetry{MaxItems: 2, MaxBytes: 1 << 20}
	messages := form.Samples(source, []int{0, 1, 2, 3})
	send(t, ch, "unsettled", append(messages, message.EncodeBatch(encode(t, source), "", false))...)
	first := &sink{manual: true}
	stop := listen(t, first, t.TempDir(), urls(b)+"queues = ['unsettled']\ndeclare = false")
	eventually(t, "three deliveries", func() bool { return first.deliveries() == 3 })
	first.waiting[0](nil)
	eventually(t, "one is acknowledged", func() bool {
		_, unacknowledged := b.QueueLength("unsettled")
		return unacknowledged == 2
	})
	stop()
	first.waiting[1](nil) // too late
	p := sdktest.Start(t, urls(b)+"queues = ['unsettled']\ndeclare = false")
	for range 2 {
		// The second time it is killed before anything is settled.
		l, err := p.Listen(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		var batches []sdktest.Delivery
		for range 2 {
			d, err := l.Next()
			if err != nil {
				t.Fatal(err)
			}
			batches = append(batches, d)
		}
		if got := batches[0]; got.Len() != 2 || got.SampleID(0) != source.SampleID(2) || got.SampleID(1) != source.SampleID(3) {
			t.Errorf("got %d samples, the first %+v", got.Len(), got.Sample(0))
		}
		if got := batches[1]; got.Len() != 10 || got.ID() != source.ID() {
			t.Errorf("got %d samples, the first %+v", got.Len(), got.Sample(0))
		}
		p.Kill()
		p.Restart()
	}
}

func testSingleActive(t *testing.T, b *parts.Broker) {
	options := urls(b) + "queues = ['single']\nsingle_active_consumer = true"
	one, two := &sink{}, &sink{}
	stop := listen(t, one, t.TempDir(), options)
	ch := channel(t, b)
	expectConsumers(t, b, "single", 1)
	send(t, ch, "single", batches(t, 0, 5, "a")...)
	expectVolumes(t, one, "a", numbers(0, 5))
	listen(t, two, t.TempDir(), options)
	eventually(t, "the second is connected", func() bool { return two.log.count("connected to RabbitMQ") == 1 })
	send(t, ch, "single", batches(t, 5, 5, "a")...)
	expectVolumes(t, one, "a", numbers(0, 10))
	expectEmpty(t, b, "single")
	stop()
	send(t, ch, "single", batches(t, 10, 5, "a")...)
	expectVolumes(t, two, "a", numbers(10, 5))
}

// testConsistentHash spreads resources over queues of two agents.
func testConsistentHash(t *testing.T, b *parts.Broker) {
	var agents []*sink
	for a := range 2 {
		s := &sink{}
		listen(t, s, t.TempDir(), urls(b)+fmt.Sprintf(`
			queues   = ["hash.%d", "hash.%d"]
			bindings = [{exchange = "hash", type = "x-consistent-hash", routing_key = "10"}]
		`, 2*a, 2*a+1))
		agents = append(agents, s)
	}
	for q := range 4 {
		expectConsumers(t, b, fmt.Sprint("hash.", q), 1)
	}
	p := publisher(t, urls(b)+"exchange = 'hash'\nexchange_type = 'x-consistent-hash'")
	var resources []string
	for r := range 40 {
		resources = append(resources, fmt.Sprint("vm-", r))
	}
	for i := range 5 {
		if err := p.Publish(t.Context(), batch(t, 2*i, 2, resources...)); err != nil {
			t.Fatal(err)
		}
	}
	count := func(s *sink) int {
		samples, _ := s.get()
		return len(samples)
	}
	eventually(t, "all samples", func() bool { return count(agents[0])+count(agents[1]) == 400 })
	for _, r := range resources {
		zero, one := agents[0].volumes(r), agents[1].volumes(r)
		if want := numbers(0, 10); !reflect.DeepEqual(append(zero, one...), want) || len(zero) > 0 && len(one) > 0 {
			t.Errorf("%s: got %v and %v", r, zero, one)
		}
	}
	if count(agents[0]) == 0 || count(agents[1]) == 0 {
		t.Error("one agent got nothing")
	}
}

func testQueueDeleted(t *testing.T, b *parts.Broker) {
	ch := channel(t, b)
	s := &sink{}
	listen(t, s, t.TempDir(), urls(b)+"queues = ['deleted']")
	expectConsumers(t, b, "deleted", 1)
	if _, err := ch.QueueDelete("deleted", false, false, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told", func() bool { return s.log.count("was the queue deleted?") == 1 })
	expectConsumers(t, b, "deleted", 1)
	send(t, ch, "deleted", batches(t, 0, 1, "a")...)
	expectVolumes(t, s, "a", []float64{0})
}

// testAsked has an instance that is not asked for all meters, and adds tags.
func testAsked(t *testing.T, b *parts.Broker) {
	ch := channel(t, b)
	declare(t, ch, "asked", nil)
	p := sdktest.StartWith(t, sdktest.Options{
		Config: urls(b) + "queues = ['asked']\ndeclare = false", Meters: []string{"*", "!little"}, Tags: map[string]string{"site": "here"},
	})
	l, err := p.Listen(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	source := full(t)
	form := message.Telemetry{MaxItems: 100, MaxBytes: 1 << 20}
	send(t, ch, "asked", message.EncodeBatch(encode(t, source), "", false), form.Samples(source, []int{0, 6})[0])
	for _, n := range []int{6, 1} {
		d, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		if s := d.Sample(0); d.Len() != n || s.ID != source.SampleID(0) || s.Metadata["site"] != "here" {
			t.Errorf("got %d samples, the first %+v", d.Len(), s)
		}
		if err := l.Settle(d, nil); err != nil {
			t.Fatal(err)
		}
	}
	expectEmpty(t, b, "asked")
}

// testKilled kills the broker in the middle of a stream.
func testKilled(t *testing.T, b *parts.Broker) {
	s := &sink{}
	listen(t, s, t.TempDir(), urls(b)+`
		queues   = ["killed"]
		bindings = [{exchange = "killed"}]
	`)
	expectConsumers(t, b, "killed", 1)
	const last = 300
	publishing := make(chan error, 1)
	half := make(chan struct{})
	go func() {
		p := publisher(t, urls(b)+"exchange = 'killed'\npublish_timeout = '5s'")
		for i := range last {
			if i == last/2 {
				close(half)
			}
			// As the host does: the same batch until it is taken.
			numbered := batch(t, i, 1, "a", "b")
			for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
				err := p.Publish(t.Context(), numbered)
				if err == nil {
					break
				}
				if time.Since(begin) > 5*time.Minute {
					publishing <- err
					return
				}
			}
		}
		publishing <- nil
	}()
	select {
	case <-half:
	case err := <-publishing:
		t.Fatalf("publishing ended too early: %v", err)
	}
	b.Kill9()
	b.Start()
	if err := <-publishing; err != nil {
		t.Fatal(err)
	}
	for _, r := range []string{"a", "b"} {
		eventually(t, "all samples of "+r, func() bool {
			distinct := slices.Clone(s.volumes(r))
			slices.Sort(distinct)
			return len(slices.Compact(distinct)) == last
		})
		t.Logf("%d samples for %d", len(s.volumes(r)), last)
	}
	expectEmpty(t, b, "killed")
}
