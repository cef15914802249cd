package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

const aodhName = "Aodh 15.0.0"

const aodhConfig = `[DEFAULT]
transport_url = rabbit://guest:guest@127.0.0.1:%d/
default_log_levels = aodh=WARN
[database]
connection = %s
`

// startAodh starts Aodh's listener and notifier, on a PostgreSQL, with event alarms
// whose webhook is the one of what it gives.
func (b *bench) startAodh(tb parts.TB, broker *parts.Broker, repeat bool) *alarmEventsRun {
	tb.Helper()
	for _, part := range [][2]string{
		{"python3-aodh", "/usr/lib/python3/dist-packages/aodh/event.py"},
		{"python3-psycopg2", "/usr/lib/python3/dist-packages/psycopg2/__init__.py"},
	} {
		if err := b.install(part[0], part[1]); err != nil {
			tb.Fatalf("%v", err)
		}
	}
	r := newAlarmEventsRun(tb, broker)
	dir := b.scratch(tb)
	config := filepath.Join(dir, "aodh.conf")
	// SQLAlchemy knows PostgreSQL by its whole name only.
	database := strings.Replace(parts.PostgreSQL(tb).Database(), "postgres://", "postgresql://", 1)
	if err := os.WriteFile(config, []byte(fmt.Sprintf(aodhConfig, broker.AMQPPort, database)), 0o600); err != nil {
		tb.Fatalf("%v", err)
	}
	var alarms bytes.Buffer
	for i := range eventAlarms {
		alarms.Write(eventAlarm(i, repeat, r.told.url))
		alarms.WriteByte('\n')
	}
	made := exec.CommandContext(b.ctx, "/usr/bin/python3", filepath.Join(b.root, "integration", "bench", "testdata", "aodh", "alarms.py"), config)
	made.Stdin = &alarms
	if out, err := made.CombinedOutput(); err != nil {
		tb.Fatalf("Aodh's alarms can't be made: %v: %.2000s", err, out)
	}
	var all []*program
	for _, service := range []string{"listener", "notifier"} {
		all = append(all, b.start(tb, nil, "/usr/bin/python3", "-c", fmt.Sprintf("from aodh.cmd.alarm import %[1]s; %[1]s()", service), "--config-file", config))
	}
	r.usage = func() usage {
		sum := usage{}
		for _, p := range all {
			sum[aodhName] += p.processorTime(tb)
		}
		return sum
	}
	r.stop = func() {
		for _, p := range all {
			p.stop(tb)
		}
	}
	return r
}

// aodhEvents measures Aodh as alarmEvents does Nepho, with fewer events.
func (b *bench) aodhEvents(tb parts.TB, broker *parts.Broker, repeat bool) (times []time.Duration, each float64) {
	tb.Helper()
	const n = 2 * rare
	r := b.startAodh(tb, broker, repeat)
	times = r.single(tb, 100)
	cpu := r.stream(b, tb, n)
	r.end()
	return times, n / cpu.total().Seconds()
}
