package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

const gnocchiName = "Gnocchi 4.4.2"

const gnocchiConfig = `[api]
auth_mode = basic
paste_config = /usr/share/gnocchi-common/api-paste.ini
[oslo_policy]
policy_file = /usr/lib/python3/dist-packages/gnocchi/rest/policy.yaml
[indexer]
url = %s
[storage]
driver = file
file_basepath = %[2]s
[incoming]
driver = file
file_basepath = %[2]s
[metricd]
workers = 2
metric_processing_delay = 1
`

// startGnocchi starts a Gnocchi with an API and two workers, on files and a
// PostgreSQL. The processor time counts both, but not the database's.
func (b *bench) startGnocchi(tb parts.TB) *store {
	tb.Helper()
	for _, part := range [][2]string{
		{"gnocchi-api", "/usr/bin/gnocchi-api"},
		{"gnocchi-metricd", "/usr/bin/gnocchi-metricd"},
		{"uwsgi-plugin-python3", "/usr/lib/uwsgi/plugins/python3_plugin.so"},
	} {
		if err := b.install(part[0], part[1]); err != nil {
			tb.Fatalf("%v", err)
		}
	}
	dir := b.scratch(tb)
	config := filepath.Join(dir, "gnocchi.conf")
	// SQLAlchemy knows PostgreSQL by its whole name only.
	database := strings.Replace(parts.PostgreSQL(tb).Database(), "postgres://", "postgresql://", 1)
	if err := os.WriteFile(config, []byte(fmt.Sprintf(gnocchiConfig, database, dir)), 0o600); err != nil {
		tb.Fatalf("%v", err)
	}
	if out, err := exec.CommandContext(b.ctx, "gnocchi-upgrade", "--config-file", config).CombinedOutput(); err != nil {
		tb.Fatalf("gnocchi-upgrade: %v: %.2000s", err, out)
	}
	address := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(tb))
	// What gnocchi-api would call, if Debian had uwsgi's HTTP router built in.
	api := b.start(tb, nil, "/usr/bin/uwsgi", "--plugin", "python3", "--plugin", "http", "--http", address, "--so-keepalive", "--http-keepalive",
		"--add-header", "Connection: Keep-Alive", "--master", "--enable-threads", "--thunder-lock", "--die-on-term",
		"--processes", "3", "--threads", "2", "--lazy-apps", "--buffer-size", "65535", "--chdir", "/",
		"--wsgi", "gnocchi.rest.wsgi", "--pyargv", "--config-file "+config)
	workers := b.start(tb, nil, "/usr/bin/gnocchi-metricd", "--config-file", config)

	s := newStore("http://" + address)
	s.cpu = func() time.Duration { return api.processorTime(tb) + workers.processorTime(tb) }
	s.pss = func() float64 { return memory(tb, append(api.processes(), workers.processes()...)) }
	b.await(tb, 200*time.Millisecond, 2*time.Minute, "Gnocchi", func() bool {
		request, _ := http.NewRequest(http.MethodGet, s.url+"/v1/archive_policy", nil)
		request.Header = s.headers
		answer, err := s.client.Do(request)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return s
}

// drained waits until Gnocchi has nothing left to aggregate.
func (s *store) drained(b *bench, tb parts.TB) {
	tb.Helper()
	b.await(tb, time.Second, 15*time.Minute, "Gnocchi to aggregate", func() bool {
		return strings.Contains(string(s.do(tb, http.MethodGet, "/v1/status?details=false", nil, "")), `"measures": 0`)
	})
}
