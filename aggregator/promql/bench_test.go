package promql

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkQueryRange is a day by minutes of 100 metrics: their sum, and all of them.
func BenchmarkQueryRange(b *testing.B) {
	r := newRig(b, Options{})
	r.now = start.Add(25 * time.Hour)
	for n := range 100 {
		r.metric("admin", fmt.Sprint("vm-", n), "instance", "p", map[string]any{"host": fmt.Sprint("c", n%10)}, "cpu.util", "counter", every(60, 1440, func(i int) float64 { return float64(i%100) * 0.25 }))
	}
	for name, query := range map[string]string{"sum": "sum(cpu_util)", "all": "cpu_util", "host": `cpu_util{host="c1"}`, "instant": "count(cpu_util)"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				path := "query_range"
				if name == "instant" {
					path = "query"
				}
				if code, a := r.ask(path, "query", query, "start", at(0), "end", at(86340), "step", "60", "time", at(86340)); code != 200 {
					b.Fatal(code, a.Error)
				}
			}
		})
	}
}
