package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

const (
	collectd     = "/usr/sbin/collectd"
	collectdName = "collectd 5.12"
)

const collectdBase = `
BaseDir "%[1]s"
PIDFile "%[1]s/pid"
Hostname "bench"
FQDNLookup false
Interval 1
`

const collectdThroughput = collectdBase + `
LoadPlugin unixsock
<Plugin unixsock>
  SocketFile "%[1]s/sock"
  DeleteSocket true
</Plugin>
LoadPlugin write_graphite
<Plugin write_graphite>
  <Node "bench">
    Host "127.0.0.1"
    Port "%[2]d"
    Protocol "tcp"
  </Node>
</Plugin>
`

// collectdValues is how many values collectd gets: its queue has no limit.
const collectdValues = 1_000_000

// runCollectd measures collectd: values from a Unix socket, to carbon's port.
func (b *bench) runCollectd(tb parts.TB) throughput {
	tb.Helper()
	carbon, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("cannot listen: %v", err)
	}
	tb.Cleanup(func() { carbon.Close() })
	var lines atomic.Int64
	go countLines(carbon, &lines)
	dir := b.scratch(tb)
	port := carbon.Addr().(*net.TCPAddr).Port
	p := b.startCollectd(tb, dir, fmt.Sprintf(collectdThroughput, dir, port))
	var conn net.Conn
	b.await(tb, 10*time.Millisecond, 20*time.Second, "collectd", func() bool {
		conn, err = net.Dial("unix", filepath.Join(dir, "sock"))
		return err == nil
	})
	tb.Cleanup(func() { conn.Close() })
	go io.Copy(io.Discard, conn) //nolint:errcheck // what it answers
	begun, cpu := time.Now(), p.processorTime(tb)
	go func() {
		w := bufio.NewWriterSize(conn, 64<<10)
		at := time.Now().Unix()
		for i := range collectdValues {
			fmt.Fprintf(w, "PUTVAL host-%06d/generator/counter-%02d interval=1 %d:%d.5\n", i/20%250, i%20, at+int64(i/5000), 1000000000+i)
		}
		w.Flush() //nolint:errcheck // what does not arrive is waited for
	}()
	// It keeps the last values back to fill a packet.
	const enough = collectdValues * 99 / 100
	b.await(tb, 50*time.Millisecond, 5*time.Minute, "all values", func() bool { return lines.Load() >= enough })
	took := time.Since(begun)
	cpu = p.processorTime(tb) - cpu
	n := float64(lines.Load())
	p.stop(tb)
	r := throughput{rate: n / took.Seconds(), cpu: cpu.Seconds() / n * 1e6}
	b.say("  %s: %.0f k/s, %.3f CPU-s per million (load average %s)", collectdName, r.rate/1e3, r.cpu, loadAverage())
	return r
}

func (b *bench) startCollectd(tb parts.TB, dir, config string) *program {
	tb.Helper()
	path := filepath.Join(dir, "collectd.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		tb.Fatalf("cannot write: %v", err)
	}
	return b.start(tb, nil, collectd, "-f", "-C", path)
}

// countLines counts what is sent to a listener, until that is closed.
func countLines(l net.Listener, n *atomic.Int64) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			buf := make([]byte, 256<<10)
			for {
				got, err := conn.Read(buf)
				for _, c := range buf[:got] {
					if c == '\n' {
						n.Add(1)
					}
				}
				if err != nil {
					return
				}
			}
		}()
	}
}
