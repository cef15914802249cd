package parts

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// GnocchiServer is a Gnocchi with HTTP basic authentication, which believes any
// password and takes the user admin for an administrator. The process is that of
// its API.
type GnocchiServer struct {
	*Process
	// Workers is the daemon that aggregates measures, each second.
	Workers *Process
	// URL has no path: http://127.0.0.1:PORT.
	URL string
}

// gnocchiDefaults is where the package has the files that are usually in /etc/gnocchi.
const gnocchiDefaults = "/usr/lib/python3/dist-packages/gnocchi/rest"

// Gnocchi starts an empty server on files and on a PostgreSQL of its own. It takes
// about 5 s and 300 MB.
func Gnocchi(tb TB) *GnocchiServer {
	tb.Helper()
	database := PostgreSQL(tb).Database()
	dir := newDir(tb)
	config := filepath.Join(dir, "gnocchi.conf")
	// SQLAlchemy knows PostgreSQL by its whole name only.
	writeFile(tb, config, fmt.Sprintf(`[api]
auth_mode = basic
paste_config = %s/api-paste.ini
[oslo_policy]
policy_file = %[1]s/policy.yaml
[indexer]
url = %[2]s
[storage]
driver = file
file_basepath = %[3]s
[incoming]
driver = file
file_basepath = %[3]s
[metricd]
workers = 1
metric_processing_delay = 1
metric_reporting_delay = -1
`, gnocchiDefaults, strings.Replace(database, "postgres://", "postgresql://", 1), filepath.Join(dir, "data")))
	makeDirs(tb, dir, "data")
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	upgrade := exec.CommandContext(ctx, program(tb, "gnocchi-upgrade"), "--config-file", config)
	upgrade.Dir = dir
	if out, err := upgrade.CombinedOutput(); err != nil {
		tb.Fatalf("cannot set Gnocchi up: %v\n%s", err, out)
	}
	address := fmt.Sprintf("127.0.0.1:%d", FreePort(tb))
	s := &GnocchiServer{URL: "http://" + address}
	s.Process = newProcess(tb, dir, spec{
		name: "gnocchi",
		// What gnocchi-api calls, if Debian's uwsgi had its HTTP router built in.
		argv: []string{program(tb, "uwsgi_python3"), "--plugin", "http", "--http", address, "--so-keepalive", "--http-keepalive",
			"--add-header", "Connection: Keep-Alive", "--master", "--enable-threads", "--thunder-lock", "--die-on-term",
			"--processes", "1", "--threads", "4", "--lazy-apps", "--buffer-size", "65535",
			"--wsgi", "gnocchi.rest.wsgi", "--pyargv", "--config-file " + config},
		env:   []string{"HOME=" + dir},
		ready: answers(s.URL + "/"),
	})
	// Processes of one directory write one log each.
	s.Workers = newProcess(tb, newDir(tb), spec{
		name:  "gnocchi-metricd",
		argv:  []string{program(tb, "gnocchi-metricd"), "--config-file", config},
		env:   []string{"HOME=" + dir},
		ready: func(context.Context) error { return nil }, // it serves nobody
	})
	s.Workers.Start()
	s.Start()
	return s
}
