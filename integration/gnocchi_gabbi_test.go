package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
)

// gabbits is where Debian's package python3-gnocchi has Gnocchi's own functional
// tests: requests and what must be answered, for gabbi.
const gabbits = "/usr/lib/python3/dist-packages/gnocchi/tests/functional/gabbits"

// otherwise are those of Gnocchi's tests that are answered in another way on
// purpose, by file, and why.
var otherwise = map[string]map[string]string{
	"archive": {
		"get_archive_policy_list": "looks for JSON with a space behind the colon",
	},
	"resource": {
		"patch_generic_with_metrics": "looks for JSON with a space behind the colon",
		"list_all_resources":         "looks for JSON with a space behind the colon",
	},
	"search": {
		"typo_of_search_in_resource":    "405 for a known path, whatever the resource type",
		"search_invalid_query_string":   "a bare word is a value",
		"search_empty_in__query_string": "another text of the reason",
	},
	"batch-measures": {
		"push_measurements_to_two_metrics":                                         "202 tells which measures were late",
		"push_measurements_to_unknown_named_metrics_and_create_it_with_new_format": "202 tells which measures were late",
	},
	"aggregates-with-metric-ids": {
		"get_operations_without_list": "another text of the reason",
		"invalid_operations_string":   "the place is told as a character only",
	},
	"prometheus": {
		"ensure_one_resource_have_all_metrics_created": "every set of labels is a metric",
		"check_metrics": "every set of labels is a metric",
	},
	"aggregates-with-resources": {
		"batch_get_list":          "137.705, where Gnocchi's sum is off by a bit",
		"batch_get_solo":          "137.705, where Gnocchi's sum is off by a bit",
		"batch_get_wildcard_list": "137.705, where Gnocchi's sum is off by a bit",
		"batch_get_wildcard_solo": "137.705, where Gnocchi's sum is off by a bit",
		"aggregate_metric_with_groupby_on_project_id_and_user_id_with_aggregates_api": "137.705, where Gnocchi's sum is off by a bit",
		"aggregate_and_return_infinity_from_divide_by_zero":                           "infinities are null in JSON",
	},
	"resource-aggregation": {
		"aggregate_metric_with_groupby_on_project_id_with_filter": "137.705, where Gnocchi's sum is off by a bit",
		"aggregate_metric_with_groupby_on_project_id":             "137.705, where Gnocchi's sum is off by a bit",
		"aggregate_metric_with_groupby_on_project_id_and_user_id": "137.705, where Gnocchi's sum is off by a bit",
	},
}

// outcome is a line of gabbi's report: how a test ended, and its name.
var outcome = regexp.MustCompile(`(?m)^\.\.\. (\S+) gabbi-runner\.input_([^\s:]+)`)

// polls are the places where a test asks again until the answer is right.
var polls = regexp.MustCompile(`(?m)^ +poll:\n(?: +(?:count|delay): .*\n)+`)

// TestGnocchisOwnTests has gabbi run Gnocchi's functional tests, each file against
// an aggregator of its own that is set up as they expect.
func TestGnocchisOwnTests(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(gabbits, "*.yaml"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d of Gnocchi's tests in %s: install python3-gnocchi with scripts/install-parts.sh", len(files), gabbits)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runGabbi(t, file, otherwise[name])
		})
	}
}

func runGabbi(t *testing.T, file string, otherwise map[string]string) {
	listen, prefix := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t)), ""
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	script := string(text)
	if strings.Contains(script, "/gnocchi/v1/") {
		prefix = "/gnocchi" // this file expects Gnocchi's to be there
	}
	StartAgent(t, fmt.Sprintf(`[[pollster.internal]]
[[storage.aggregator]]
path = '${DIR}/aggregator'
listen = '%s'
url_prefix = '%s'
default_policies = false
unknown = 'drop'
definitions = []
max_limit = 7
proxy_headers = true
cors_origins = ["http://foobar.com"]
`, listen, prefix))
	// gabbi-run knows no fixtures, which start a server, and none of the tags that
	// Gnocchi's test runner adds; NaN is null here. Nothing has to be asked again until
	// it is there.
	script = polls.ReplaceAllString(script, "")
	script = strings.NewReplacer("fixtures:\n    - ConfigFixture\n", "", "!AssertNAN", "null").Replace(script)
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience) // up to a hundred requests
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", "/usr/bin/gabbi-run", "http://"+listen+prefix)
	cmd.Dir = gabbits // some tests send files
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdin = strings.NewReader(script)
	var report bytes.Buffer
	cmd.Stdout, cmd.Stderr = &report, &report
	err = cmd.Run()
	var passed int
	var failed []string
	for _, line := range outcome.FindAllStringSubmatch(report.String(), -1) {
		switch line[1] {
		case "✗", "E":
			failed = append(failed, line[2])
		default:
			passed++
		}
	}
	if passed == 0 {
		t.Fatalf("gabbi ran no test: %v\n%s", err, report.Bytes())
	}
	t.Logf("%d passed, %d are answered otherwise", passed, len(failed))
	for name, why := range otherwise {
		if !slices.Contains(failed, name) {
			t.Errorf("%s passes: it is not answered otherwise any more (%s)", name, why)
		}
	}
	if slices.ContainsFunc(failed, func(name string) bool { return otherwise[name] == "" }) {
		t.Errorf("failed: %v\n%s", failed, report.Bytes())
	}
}
