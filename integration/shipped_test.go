package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
)

// shipped starts an agent on a configuration that ships, as it is but for its
// folder, its port, its pace and where the parts listen.
func shipped(t *testing.T, name string, broker *parts.Broker, influx *parts.InfluxServer, more ...string) *Agent {
	t.Helper()
	text, err := os.ReadFile("../conf/" + name)
	if err != nil {
		t.Fatal(err)
	}
	a := NewAgent(t, "")
	change := append(more,
		"/var/lib/nepho", a.Path("data"), "127.0.0.1:8790", a.Listen, `"60s"`, `"1s"`, `"30s"`, `"1s"`, `"10s"`, `"1s"`, `"5s"`, `"100ms"`)
	a.write("shipped.toml", strings.NewReplacer(change...).Replace(string(text)))
	a.Env = []string{"NEPHO_CONFIG=shipped.toml", "NEPHO_INFLUXDB_URL=" + influx.URL}
	if broker != nil {
		a.Env = append(a.Env, fmt.Sprintf("NEPHO_AMQP_URL=amqp://guest:guest@127.0.0.1:%d/", broker.AMQPPort))
	}
	a.Start()
	a.AwaitReady()
	return a
}

// awaitPoints waits until the measurements are in the database "nepho".
func awaitPoints(t *testing.T, influx *parts.InfluxServer, measurements ...string) {
	t.Helper()
	Eventually(t, "samples are in InfluxDB", func() error {
		if len(influx.Query("", `SHOW DATABASES`)[0].Values) == 0 {
			return fmt.Errorf("there is no database")
		}
		for _, m := range measurements {
			if len(influx.Query("nepho", fmt.Sprintf("SELECT value FROM %q", m))) == 0 {
				return fmt.Errorf("%s is not", m)
			}
		}
		return nil
	})
}

// undisturbed fails the test when anything was refused or dropped, and ends the
// agents.
func undisturbed(t *testing.T, agents ...*Agent) {
	t.Helper()
	for _, a := range agents {
		Eventually(t, "no publisher is in trouble", func() error { // after one that was short of time
			for _, k := range a.Status().Sinks {
				if k.Error != "" {
					return fmt.Errorf("%s/%s: %+v", k.Pipeline, k.Publisher, k)
				}
			}
			return nil
		})
		for _, k := range a.Status().Sinks {
			if k.Refused+k.DroppedFull+k.DroppedDisk+k.DroppedDamage > 0 {
				t.Errorf("%s/%s: %+v", k.Pipeline, k.Publisher, k)
			}
		}
		a.Stop()
	}
}

// A compute node's samples go over the bus to the central agent and its
// InfluxDB, rates go to the node's own as well.
func TestShippedComputeNodeAndCentral(t *testing.T) {
	broker := parts.RabbitMQ(t, parts.RabbitMQOptions{})
	hypervisor := parts.LibvirtTest(t, 3)
	near, far := parts.InfluxDB(t), parts.InfluxDB(t)
	central := shipped(t, "central.toml", broker, far)
	node := shipped(t, "compute-node.toml", broker, near,
		"[[pollster.libvirt]]\n", "[[pollster.libvirt]]\nuri = 'test:///default'\nsocket = '"+hypervisor.Socket+"'\n")
	awaitPoints(t, near, "cpu_util")
	awaitPoints(t, far, "cpu_util", "cpu", "power.state", "host.memory.used", "nepho.source.polls")
	undisturbed(t, node, central)
}

func TestShippedHost(t *testing.T) {
	influx := parts.InfluxDB(t)
	a := shipped(t, "host.toml", nil, influx)
	awaitPoints(t, influx, "host.cpu.util", "host.memory.used", "nepho.source.polls")
	undisturbed(t, a)
}

// The default configuration collects into a file.
func TestShippedDefault(t *testing.T) {
	a := shipped(t, "nepho.toml", nil, new(parts.InfluxServer))
	Eventually(t, "samples are in the file", func() error {
		if len(a.Samples("data/samples.json")) == 0 {
			return fmt.Errorf("none are")
		}
		return nil
	})
	undisturbed(t, a)
}
