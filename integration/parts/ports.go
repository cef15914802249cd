package parts

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below the range from which the kernel picks the local
// ports of outgoing connections, so that a stopped part finds its port free when
// it starts again.
const (
	firstPort = 20000
	lastPort  = 32000
)

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on. No other
// caller of this package, in whatever process, gets it before tb ends.
func FreePort(tb TB) int {
	tb.Helper()
	return FreePorts(tb, 1)[0]
}

// FreePorts returns n ports like [FreePort]'s, in ascending order and without
// gaps.
func FreePorts(tb TB, n int) []int {
	tb.Helper()
	for range 1000 {
		base := firstPort + rand.IntN(lastPort-firstPort-n)
		if reserve(tb, base, n) {
			ports := make([]int, n)
			for i := range ports {
				ports[i] = base + i
			}
			return ports
		}
	}
	tb.Fatalf("cannot find %d free ports in a row between %d and %d", n, firstPort, lastPort)
	return nil
}

func reserve(tb TB, base, n int) bool {
	var marks []net.Listener
	for port := base; port < base+n; port++ {
		mark := markPort(port)
		if mark == nil {
			for _, m := range marks {
				m.Close()
			}
			return false
		}
		marks = append(marks, mark)
	}
	tb.Cleanup(func() {
		for _, m := range marks {
			m.Close()
		}
	})
	return true
}

// markPort holds a port for this process without listening on it: a socket in
// Linux's abstract namespace has a name that one process can own, needs no file
// and goes when the process does.
func markPort(port int) net.Listener {
	mark, err := net.Listen("unix", fmt.Sprintf("@nepho-test-port-%d", port))
	if err != nil {
		return nil
	}
	probe, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		mark.Close()
		return nil
	}
	probe.Close()
	return mark
}
