package parts

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// RabbitMQOptions are what tests differ in. The zero value is a plain broker.
type RabbitMQOptions struct {
	// TLS adds a TLS listener.
	TLS bool
	// ClientCertificate makes the TLS listener refuse clients without one of
	// the broker's Certificates.
	ClientCertificate bool
	// Config holds more lines for rabbitmq.conf.
	Config []string
}

// Broker is a RabbitMQ server with the management API and the exchange type
// x-consistent-hash. User and password are guest; the virtual host is "/".
//
// After Stop or Kill9, Start brings it back with its durable queues and
// persistent messages.
type Broker struct {
	*Process
	// Node is the Erlang node name, unique among all brokers of the machine.
	Node string
	// AMQPPort and ManagementPort are ports of 127.0.0.1. AMQPSPort is 0 without TLS.
	AMQPPort, AMQPSPort, ManagementPort int
	// Certificates are set with TLS.
	Certificates Certificates

	env []string // of the server and of rabbitmqctl
}

const rabbitDir = "/usr/lib/rabbitmq/bin/" // the commands in /usr/sbin change user and directory

// RabbitMQ starts a broker. It takes about 3 s and 155 MB.
func RabbitMQ(tb TB, opts RabbitMQOptions) *Broker {
	tb.Helper()
	server := program(tb, rabbitDir+"rabbitmq-server")
	dir := newDir(tb)
	makeDirs(tb, dir, "mnesia", "log", "home")
	ports := FreePorts(tb, 10)
	b := &Broker{Node: fmt.Sprintf("nepho%d@localhost", ports[0]), AMQPPort: ports[0], ManagementPort: ports[2]}

	config := append([]string{
		fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d", b.AMQPPort),
		"management.tcp.ip = 127.0.0.1",
		fmt.Sprintf("management.tcp.port = %d", b.ManagementPort),
		"loopback_users = none",
		// The default of half a gigabyte or so stops publishers on a full machine.
		"disk_free_limit.absolute = 10MB",
	}, opts.Config...)
	if opts.TLS || opts.ClientCertificate {
		b.AMQPSPort = ports[4]
		b.Certificates = NewCertificates(tb)
		verify := "verify_none"
		if opts.ClientCertificate {
			verify = "verify_peer"
		}
		config = append(config,
			fmt.Sprintf("listeners.ssl.1 = 127.0.0.1:%d", b.AMQPSPort),
			"ssl_options.cacertfile = "+b.Certificates.CA,
			"ssl_options.certfile = "+b.Certificates.Cert,
			"ssl_options.keyfile = "+b.Certificates.Key,
			"ssl_options.verify = "+verify,
			fmt.Sprintf("ssl_options.fail_if_no_peer_cert = %v", opts.ClientCertificate))
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	writeFile(tb, file("rabbitmq.conf"), strings.Join(config, "\n")+"\n")
	writeFile(tb, file("env.conf"), "")
	writeFile(tb, file("enabled_plugins"), "[rabbitmq_management,rabbitmq_consistent_hash_exchange].\n")

	epmdPort := strconv.Itoa(ports[3])
	b.env = []string{
		"HOME=" + file("home"),
		"RABBITMQ_NODENAME=" + b.Node,
		"RABBITMQ_MNESIA_BASE=" + file("mnesia"),
		"RABBITMQ_LOG_BASE=" + file("log"),
		"RABBITMQ_CONFIG_FILE=" + file("rabbitmq.conf"),
		"RABBITMQ_CONF_ENV_FILE=" + file("env.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + file("enabled_plugins"),
		"RABBITMQ_PID_FILE=" + file("pid"),
		"RABBITMQ_DIST_PORT=" + strconv.Itoa(ports[1]),
		"RABBITMQ_CTL_DIST_PORT_MIN=" + strconv.Itoa(ports[5]),
		"RABBITMQ_CTL_DIST_PORT_MAX=" + strconv.Itoa(ports[9]),
		// Idle schedulers would spin and take processor time from what is tested.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"ERL_EPMD_PORT=" + epmdPort,
		// The server script then becomes the server, with nothing in between that
		// would answer our signals in its place.
		"RUNNING_UNDER_SYSTEMD=true",
		"NOTIFY_SOCKET=",
	}

	// Erlang starts its port mapper as a daemon that nobody ends, unless one runs.
	epmdDir := newDir(tb)
	epmd := newProcess(tb, epmdDir, spec{
		name:  "epmd",
		argv:  []string{program(tb, "epmd"), "-port", epmdPort, "-address", "127.0.0.1"},
		ready: accepts(ports[3]),
	})
	epmd.Start()

	b.Process = newProcess(tb, dir, spec{
		name:  "rabbitmq-server",
		argv:  []string{server},
		env:   b.env,
		ready: b.ready,
	})
	b.Start()
	return b
}

// Kill9 ends the broker at once. What was declared before is on disk then, for once in
// some hundred times RabbitMQ itself loses queues that were declared just before it is killed, with
// messages that it has confirmed; that is not what is tested here.
func (b *Broker) Kill9() {
	b.tb.Helper()
	if b.PID() != 0 {
		b.Ctl("eval", "mnesia:dump_log().")
	}
	b.Process.Kill9()
}

func (b *Broker) ready(ctx context.Context) error {
	if _, err := call(ctx, http.MethodGet, b.ManagementURL()+"/api/health/checks/local-alarms", "", nil); err != nil {
		return err
	}
	return accepts(b.AMQPPort)(ctx)
}

// URL is the broker's address for AMQP.
func (b *Broker) URL() string { return fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", b.AMQPPort) }

// TLSURL is the broker's address for AMQP over TLS.
func (b *Broker) TLSURL() string {
	if b.AMQPSPort == 0 {
		b.tb.Fatalf("the broker was started without TLS")
	}
	return fmt.Sprintf("amqps://guest:guest@localhost:%d/", b.AMQPSPort)
}

// ManagementURL is the address of the management API, user and password included.
func (b *Broker) ManagementURL() string {
	return fmt.Sprintf("http://guest:guest@127.0.0.1:%d", b.ManagementPort)
}

// Ctl runs rabbitmqctl and returns what it prints. A call takes 0.3 to 0.6 s.
func (b *Broker) Ctl(args ...string) string {
	b.tb.Helper()
	cmd := exec.Command(program(b.tb, rabbitDir+"rabbitmqctl"), append([]string{"--quiet"}, args...)...)
	cmd.Env = append(os.Environ(), b.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.tb.Fatalf("rabbitmqctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// QueueLength returns the numbers of messages of a queue that wait for delivery
// and for acknowledgement, as the queue itself counts them.
func (b *Broker) QueueLength(queue string) (ready, unacknowledged int) {
	b.tb.Helper()
	// rabbitmqctl leaves out a queue that cannot answer it just then, as one that
	// is still being recovered.
	for deadline := time.Now().Add(readyTimeout); ; {
		out := b.Ctl("list_queues", "--formatter", "json", "name", "messages_ready", "messages_unacknowledged")
		var queues []struct {
			Name           string `json:"name"`
			Ready          int    `json:"messages_ready"`
			Unacknowledged int    `json:"messages_unacknowledged"`
		}
		if err := json.Unmarshal([]byte(out), &queues); err != nil {
			b.tb.Fatalf("cannot decode list of queues %q: %v", out, err)
		}
		for _, q := range queues {
			if q.Name == queue {
				return q.Ready, q.Unacknowledged
			}
		}
		if time.Now().After(deadline) {
			b.tb.Fatalf("there is no queue %q after %v: %s", queue, readyTimeout, out)
		}
	}
}

// API calls the management API, as in API("PUT", "/api/users/anna", user), with
// in as JSON unless nil, and returns the answer's body.
func (b *Broker) API(method, path string, in any) []byte {
	b.tb.Helper()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			b.tb.Fatalf("cannot encode request: %v", err)
		}
	}
	out, err := call(context.Background(), method, b.ManagementURL()+path, "application/json", body)
	if err != nil {
		b.tb.Fatalf("cannot call the management API: %v", err)
	}
	return out
}
