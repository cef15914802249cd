package broker

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk/config"
)

func TestValidate(t *testing.T) {
	f := func(toml string, want ...string) {
		t.Helper()
		table, problems := config.Parse("test.toml", []byte(toml))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		var o Options
		problems = table.Decode(&o)
		if len(problems) != len(want) {
			t.Fatalf("%s: got %v, want %q", toml, problems, want)
		}
		for i, p := range problems {
			if !strings.Contains(p.Error(), want[i]) || strings.Contains(p.Error(), "hush") {
				t.Errorf("%s: got %v, want %q", toml, p, want[i])
			}
		}
	}
	f(``)
	f(`urls = ["amqps://u:p@a:5671/vhost", "amqp://b"]`)
	f(`urls = []`, "urls: at least one address")
	f(`urls = ["amqp://ok", "http://u:hush@x"]`, "urls[1]: AMQP scheme")
	f(`urls = ["amqp://u:hush@x:port/"]`, "urls[0]: not an address")
	f(`urls = ["amqp://u:hush%zz@x/"]`, "urls[0]: not an address")
	f(`tls = {cert = "x"}`, "tls: cert and key")
	f(`heartbeat = "1ms"`, "heartbeat")
}

func TestCheckReadsCertificates(t *testing.T) {
	o := Options{TLS: TLS{CA: "/does/not/exist"}}
	if err := o.Check(); err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("got %v", err)
	}
}

func TestDialGivesUp(t *testing.T) {
	// A server that never says anything, and a port where nobody is.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	o := Options{
		URLs:              []string{"amqp://u:hush@" + gone.Addr().String(), "amqp://u:hush@" + silent.Addr().String()},
		Heartbeat:         10 * time.Second,
		ConnectionTimeout: 200 * time.Millisecond,
	}
	start := time.Now()
	_, err = o.Dial(context.Background(), "test")
	if err == nil || !strings.Contains(err.Error(), gone.Addr().String()) || !strings.Contains(err.Error(), silent.Addr().String()+": no answer in time") ||
		strings.Contains(err.Error(), "hush") {
		t.Errorf("got %v", err)
	}
	if d := time.Since(start); d > time.Minute {
		t.Errorf("took %v", d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := o.Dial(ctx, "test"); err == nil {
		t.Error("connected with an ended context")
	}
}

// TestDialShares has several addresses that do not answer take no longer together
// than the context allows, and leave time for the one that comes last. On a busy
// machine one may overrun its share and use up the others': then the same must hold
// for larger ones.
func TestDialShares(t *testing.T) {
	o := Options{Heartbeat: 10 * time.Second, ConnectionTimeout: 10 * time.Minute}
	for range 3 {
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		o.URLs = append(o.URLs, "amqp://"+silent.Addr().String())
	}
	for patience := 900 * time.Millisecond; ; patience *= 4 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err := o.Dial(ctx, "test")
		cancel()
		if err != nil && strings.Count(err.Error(), "no answer in time") == 3 {
			return
		}
		if patience > time.Minute {
			t.Fatalf("got %v, want all three addresses tried", err)
		}
	}
}
