package amqp

import (
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk/config"
)

func check(t *testing.T, toml string) []config.Problem {
	t.Helper()
	table, problems := config.Parse("test.toml", []byte(toml))
	return append(problems, table.Decode(&notification{})...)
}

func TestValidate(t *testing.T) {
	f := func(toml string, want ...string) {
		t.Helper()
		problems := check(t, toml)
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
	f(`queues = []`, "queues: at least one")
	f(`queues = ["a", "a", ""]`, "queues[1]: queue \"a\"", "queues[2]")
	f(`bindings = [{exchange = "e", queue = "other"}]`, "bindings[0].queue")
	f(`bindings = [{}]`, "bindings[0].exchange")
	f(`bindings = [{exchange = "e", type = "x-consistent-hash"}]`, "bindings[0].routing_key: with x-consistent-hash")
	f(`bindings = [{exchange = "e", type = "x-consistent-hash", routing_key = "10", hash_header = "h"}]`)
	f(`bindings = [{exchange = "e", hash_header = "h"}]`, "bindings[0].hash_header")
	f(`durable = false`)
	f("durable = false\nqueue_type = 'quorum'", "durable: quorum")
	f(`arguments = {x = [1]}`)
	f(`refused = "drop"`, "refused")
	f(`urls = ["x"]`, "urls[0]")
	f(`prefetch = 0`, "prefetch")
}

func TestPauseGrowsToItsLimit(t *testing.T) {
	var p pause
	for range 10 {
		p.last = min(max(2*p.last, firstPause), lastPause)
	}
	if p.last != lastPause {
		t.Errorf("got %v, want %v", p.last, lastPause)
	}
	p.reset()
	start := time.Now()
	p.wait(t.Context())
	if d := time.Since(start); d < firstPause/2 || p.last != firstPause {
		t.Errorf("the first pause took %v", d)
	}
}
