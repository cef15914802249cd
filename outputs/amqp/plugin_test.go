package amqp

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/rabbitmq/amqp091-go"

	"github.com/nephoscope/nepho/sdk/config"
)

func check(t *testing.T, toml string) (*publisher, []config.Problem) {
	t.Helper()
	table, problems := config.Parse("test.toml", []byte(toml))
	p := &publisher{}
	return p, append(problems, table.Decode(p)...)
}

func TestValidate(t *testing.T) {
	f := func(toml string, want ...string) {
		t.Helper()
		_, problems := check(t, toml)
		if len(problems) != len(want) {
			t.Fatalf("%s: got %v, want %q", toml, problems, want)
		}
		for i, p := range problems {
			if !strings.Contains(p.Error(), want[i]) {
				t.Errorf("%s: got %v, want %q", toml, p, want[i])
			}
		}
	}
	f(``)
	f(`form = "ceilometer"`)
	f(`exchange_type = "x-consistent-hash"`)
	f(`routing_key = "a.{meter}.{type}.{host}"`)
	f(`routing_key = "{metre}"`, "routing_key: unknown placeholder {metre}")
	f(`routing_key = "{meter"`, "routing_key: unknown placeholder")
	f(`routing_key = "a}b"`, "routing_key: there is a }")
	f(`event_routing_key = "{}"`, "event_routing_key")
	f("exchange_type = 'x-consistent-hash'\nrouting_key = 'x'", "routing_key: it must hold {partition}")
	f("form = 'ceilometer'\ngzip = true", "gzip")
	f(`hash_header = "x"`, "hash_header")
	f(`exchange_type = "headers"`, "exchange_type")
	f(`max_message_size = "1GiB"`, "max_message_size")
	f(`urls = ["amqp://u:hush@x:y"]`, "urls[0]")
}

func TestDefaultRoutingKeys(t *testing.T) {
	f := func(toml, key, eventKey string) {
		t.Helper()
		p, _ := check(t, toml)
		if p.RoutingKey != key || p.EventRoutingKey != eventKey {
			t.Errorf("%s: got %q and %q, want %q and %q", toml, p.RoutingKey, p.EventRoutingKey, key, eventKey)
		}
	}
	f(``, "telemetry", "telemetry")
	f(`form = "ceilometer"`, "notifications.sample", "event.sample")
	f("form = 'ceilometer'\nexchange_type = 'x-consistent-hash'", "{partition}", "{partition}")
	f(`routing_key = "a"`, "a", "a")
	f("form = 'ceilometer'\nrouting_key = 'a'\nevent_routing_key = 'b'", "a", "b")
}

func TestExpand(t *testing.T) {
	p := &publisher{Partitions: 32, instance: "i", hostname: "h"}
	of := subject{resource: "r", project: "p", source: "s", meter: "m", typ: "gauge"}
	f := func(text, want string) {
		t.Helper()
		key, err := parseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.expand(key, of); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	f("", "")
	f("plain", "plain")
	f("{resource_id}.{project_id}.{source}.{meter}.{type}.{instance}.{host}x", "r.p.s.m.gauge.i.hx")
	f("a{partition}", "a21")
	of.resource = strings.Repeat("é", 200)
	key, _ := parseTemplate("{resource_id}")
	one := p.expand(key, of)
	of.resource += "x"
	if two := p.expand(key, of); len(one) > maxKey || len(two) > maxKey || one == two {
		t.Errorf("got %q and %q", one, two)
	}
}

func TestGroupsKeepOrder(t *testing.T) {
	p, problems := check(t, `routing_key = "{resource_id}"`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	b := withEvents(t) // b a b a b, and two events of a
	groups := p.groupEvents(p.groupSamples(nil, b), b, p.key)
	if len(groups) != 2 || groups[0].key != "b" || !reflect.DeepEqual(groups[0].Rows, []int{0, 2, 4}) ||
		groups[1].key != "a" || !reflect.DeepEqual(groups[1].Rows, []int{1, 3}) || !reflect.DeepEqual(groups[1].Events, []int{0, 1}) {
		t.Errorf("got %+v, %+v", groups[0], groups[1])
	}
	halves := groups[1].halves()
	if !reflect.DeepEqual(halves[0].Rows, []int{1}) || !reflect.DeepEqual(halves[0].Events, []int{0}) ||
		!reflect.DeepEqual(halves[1].Rows, []int{3}) || !reflect.DeepEqual(halves[1].Events, []int{1}) {
		t.Errorf("got halves %+v and %+v", halves[0], halves[1])
	}
}

func TestEventSubject(t *testing.T) {
	f := func(want string, names ...string) {
		t.Helper()
		e := sdk.Event{MessageID: "id"}
		for _, n := range names {
			e.Traits = append(e.Traits, sdk.Trait{Name: n, Type: sdk.Text, Value: "of " + n})
		}
		if got := eventSubject(e); got.resource != want {
			t.Errorf("%v: got %q, want %q", names, got.resource, want)
		}
	}
	f("id")
	f("of instance_id", "instance_id", "x")
	f("of resource_id", "instance_id", "resource_id")
	f("of resource_id", "resource_id", "instance_id")
}

// TestPublishEndsInTime has addresses that do not answer: the error comes when the
// time to publish is over, which TestTimeout has end before the host's patience does.
func TestPublishEndsInTime(t *testing.T) {
	var addresses []string
	for range 3 {
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		addresses = append(addresses, "amqp://"+silent.Addr().String())
	}
	p := start(t, fmt.Sprintf("urls = ['%s']\nconnection_timeout = '10m'", strings.Join(addresses, "', '")))
	// On a busy machine one address may use up the others' time, but not of more.
	for p.PublishTimeout = 2 * time.Second; ; p.PublishTimeout *= 4 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		err := p.Publish(ctx, batch(t, 0, 1, "a"))
		if ctx.Err() != nil {
			t.Error("Publish went on for as long as it could")
		}
		cancel()
		expectRetry(t, err, "no answer in time")
		if strings.Count(err.Error(), "no answer in time") == 3 {
			return
		}
		if p.PublishTimeout > time.Minute {
			t.Fatalf("got %v, want all three addresses tried", err)
		}
	}
}

// Who asks why a channel was closed waits for an answer no longer than allowed: the
// library may hang before it tells.
func TestReasonEndsInTime(t *testing.T) {
	s := &session{closes: make(chan *amqp091.Error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.reason(ctx); err == nil {
		t.Error("no error where nothing is known")
	}
	s.closes <- &amqp091.Error{Code: amqp091.NotFound, Reason: "no exchange"}
	close(s.closes)
	for range 2 { // it is known from then on
		if err := s.reason(t.Context()); err == nil || !strings.Contains(err.Error(), "no exchange") {
			t.Errorf("got %v", err)
		}
	}
}

func TestTimeout(t *testing.T) {
	p := &publisher{PublishTimeout: 30 * time.Second}
	f := func(patience, want time.Duration) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		got := p.timeout(ctx)
		deadline, _ := ctx.Deadline()
		if passed := patience - time.Until(deadline); got > want || got < want-passed {
			t.Errorf("%v: got %v, want %v, or less by up to %v", patience, got, want, passed)
		}
	}
	f(30*time.Second, 29500*time.Millisecond)
	f(2*time.Second, 1900*time.Millisecond)
	f(time.Minute, 30*time.Second)
	if got := p.timeout(context.Background()); got != p.PublishTimeout {
		t.Errorf("got %v without a deadline", got)
	}
}
