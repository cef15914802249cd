package integration

import (
	"errors"
	"testing"
)

// healthy is a flow that no misbehaving plugin may disturb: it has a process of
// each kind to itself.
const healthy = `
[[pollster.host]]
interval = "200ms"
timeout = "60s"
meters = ["host.memory.*"]
[[publisher.file]]
path = "${DIR}/healthy.json"
[[pipeline]]
name = "healthy"
sources = ["host"]
publishers = ["file"]
`

func TestSamplesFlow(t *testing.T) {
	a := StartAgent(t, healthy)
	Eventually(t, "samples arrive", func() error {
		if len(a.Samples("healthy.json")) == 0 {
			return errors.New("none has")
		}
		return nil
	})
	a.Stop()
}
