package events

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/plugins/events/chunk/chunktest"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// BenchmarkPlugin measures the plugin's own process while it is given events as the
// host gives them, in batches of some size, a million in all: its processor time, merges
// included, and its memory.
func BenchmarkPlugin(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			for range b.N {
				benchPlugin(b, size)
			}
		})
	}
}

func benchPlugin(b *testing.B, size int) {
	const total = 1_000_000
	dir := filepath.Join(b.TempDir(), "state")
	address := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(b))
	p := sdktest.StartWith(b, sdktest.Options{Config: "listen = '" + address + "'", StateDir: dir})
	idle := memory(b, p.PID(), "Pss_Anon")
	nova := chunktest.NewNova(1, time.Now().AddDate(0, 0, -10), 10*24*time.Hour/total)
	begun, cpu, most := time.Now(), processorTime(b, p.PID()), 0
	var sending time.Duration
	for n := 0; n < total; n += size {
		data, err := batch(b, 0, nova.Events(size)[:size]...).Encode()
		if err != nil {
			b.Fatal(err)
		}
		before := time.Now()
		if err := p.PublishBatch(b.Context(), data); err != nil {
			b.Fatal(err)
		}
		sending += time.Since(before)
		if n%50_000 == 0 {
			most = max(most, memory(b, p.PID(), "Pss_Anon"))
		}
	}
	b.ReportMetric(total/sending.Seconds(), "events/s")
	b.ReportMetric(total/(processorTime(b, p.PID())-cpu).Seconds(), "events/cpu-s")
	b.ReportMetric(float64(idle)/1024, "idle-MiB")
	b.ReportMetric(float64(most)/1024, "load-MiB")
	for range 200 {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+address+"/v2/events?q.field=project_id&q.value=0&limit=1000", nil)
		if err != nil {
			b.Fatal(err)
		}
		r.SetBasicAuth("admin", "")
		a, err := http.DefaultClient.Do(r)
		if err != nil || a.StatusCode != 200 {
			b.Fatal(a, err)
		}
		a.Body.Close()
	}
	b.ReportMetric(float64(memory(b, p.PID(), "Pss_Anon"))/1024, "queries-MiB")
	b.Logf("%v in all", time.Since(begun).Round(time.Second))
}

// memory is a field of a process's smaps_rollup, in KiB.
func memory(b *testing.B, pid int, field string) (n int) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fmt.Sscanf(line, field+": %d", &n)
	}
	return n
}

// processorTime is how much time of processors a process has used.
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// After the name in parentheses: state, and ten numbers more, then user and system
	// time in hundredths of a second.
	fields := strings.Fields(string(text)[strings.LastIndexByte(string(text), ')')+1:])
	var user, system int
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
