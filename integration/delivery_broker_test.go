package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
)

// chain is two agents with a RabbitMQ between them: numbers go in at one end and
// arrive in a file at the other.
type chain struct {
	t      *testing.T
	broker *parts.Broker
	sender *Agent
	taker  *Agent
}

const prefetch = 50

func newChain(t *testing.T, broker *parts.Broker, form string) *chain {
	taker := StartAgent(t, fmt.Sprintf(`
[[notification.amqp]]
urls = [%q]
queues = [%q]
prefetch = %d
secrets = ["chain"]
connection_timeout = "2s"
[[notification.amqp.bindings]]
exchange = %q
[[publisher.file]]
path = "${DIR}/out.json"
sync = "none"
`, broker.URL(), form, prefetch, form))
	// Before it is bound to the exchange, what comes there is lost.
	Eventually(t, "the queue is bound", func() error {
		var bindings []struct{ Source, Destination string }
		if err := json.Unmarshal(broker.API("GET", "/api/bindings", nil), &bindings); err != nil {
			return err
		}
		for _, b := range bindings {
			if b.Source == form && b.Destination == form {
				return nil
			}
		}
		return fmt.Errorf("there are %v", bindings)
	})
	sender := StartAgent(t, fmt.Sprintf(`
[[pollster.generator]]
numbered = true
samples = 50
interval = "50ms"
timeout = "60s"
[[publisher.amqp]]
urls = [%q]
exchange = %q
form = %q
secret = "chain"
connection_timeout = "2s"
retry_max = "500ms"
`, broker.URL(), form, form))
	return &chain{t, broker, sender, taker}
}

// flow waits until so many more numbers came out at the end.
func (c *chain) flow(n int) {
	c.t.Helper()
	n += last(c.t, c.sender, "generator")
	awaitNumber(c.t, c.sender, "generator", n)
	awaitArrival(c.t, c.taker, "out.json", n)
	addsUp(c.t, c.sender)
	addsUp(c.t, c.taker)
}

// finish stops both ends and compares. So many deliveries may have come again.
func (c *chain) finish(again int) {
	c.t.Helper()
	dry(c.t, c.sender)
	c.sender.Stop()
	upTo := last(c.t, c.sender, "generator")
	awaitArrival(c.t, c.taker, "out.json", upTo)
	c.taker.Stop()
	expectAll(c.t, arrived(c.taker.Samples("out.json")), upTo, again*50)
	if log := c.sender.Log() + c.taker.Log(); strings.Contains(log, "dead letters") {
		c.t.Errorf("there are dead letters")
	}
}

// Nothing is lost on the way, whatever is restarted or killed: the broker in
// order, the broker without, the agent that takes, the agent that sends.
func TestChainOverRabbitMQ(t *testing.T) {
	t.Parallel()
	broker := parts.RabbitMQ(t, parts.RabbitMQOptions{})
	chains := map[string]*chain{"nepho": newChain(t, broker, "nepho"), "ceilometer": newChain(t, broker, "ceilometer")}
	flow := func() {
		t.Helper()
		for _, c := range chains {
			c.flow(500)
		}
	}
	flow()
	for form, c := range chains { // a stop in order settles what was taken
		c.taker.Stop()
		c.taker.Start()
		c.flow(500)
		if n := repeated(arrived(c.taker.Samples("out.json"))); n > 0 {
			t.Errorf("%s: %d samples arrived again", form, n)
		}
	}
	broker.Restart()
	flow()
	broker.Kill9()
	broker.Start()
	flow()
	for _, c := range chains {
		c.taker.Kill9()
		awaitNumber(t, c.sender, "generator", last(t, c.sender, "generator")+500)
		c.taker.Start()
	}
	flow()
	for form, c := range chains {
		t.Log(form)
		c.finish(4 * 2 * prefetch)
	}
}
