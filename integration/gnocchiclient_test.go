package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
)

// TestGnocchiClient runs every command of gnocchiclient. The commands and what
// they must give are in testdata/gnocchi_commands.txt; with GNOCCHI_ENDPOINT in
// the environment they are asked of that server, such as a real Gnocchi with no
// resources.
func TestGnocchiClient(t *testing.T) {
	t.Parallel()
	url, dir := os.Getenv("GNOCCHI_ENDPOINT"), t.TempDir()
	if url == "" {
		listen := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
		a := StartAgent(t, fmt.Sprintf("[[pollster.internal]]\ninterval = '1h'\nmeters = ['nepho.source.polls']\n[[storage.aggregator]]\npath = '${DIR}/aggregator'\nlisten = '%s'\nauth = 'basic'\n", listen))
		url, dir = "http://"+listen, a.Dir
	}
	c := startPythonClient(t, "gnocchi_commands", "OS_AUTH_TYPE=gnocchi-basic", "GNOCCHI_USER=admin", "GNOCCHI_ENDPOINT="+url)
	saved := map[string]string{"DIR": dir}
	c.runScript(t, saved, func(command string) {
		if strings.HasSuffix(command, "batch-metrics "+dir+"/metrics.json") {
			writeMeasures(t, dir, saved)
		}
	})
}

// writeMeasures writes the files that the script's batch commands read.
func writeMeasures(t *testing.T, dir string, saved map[string]string) {
	t.Helper()
	for name, content := range map[string]string{
		"metrics.json":   fmt.Sprintf(`{%q: [{"timestamp": "2026-01-01T12:05:00", "value": 5}, {"timestamp": "2026-01-01T12:05:10", "value": 6}]}`, saved["alone"]),
		"resources.json": fmt.Sprintf(`{%q: {"batched": {"archive_policy_name": "low", "measures": [{"timestamp": "2026-01-01T12:05:00", "value": 4}]}}}`, saved["web2"]),
		"unknown.json":   fmt.Sprintf(`{%q: {"absent": [{"timestamp": "2026-01-01T12:05:00", "value": 4}]}}`, saved["web2"]),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
