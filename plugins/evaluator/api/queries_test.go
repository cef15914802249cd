package api_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// ownIn is a list of projects, of which Aodh refuses members even their own.
var ownIn = regexp.MustCompile(`(?i)in\\": {\\"project`)

// TestQueriesAreAodhs: see testdata/queries.py.
func TestQueriesAreAodhs(t *testing.T) {
	f, err := os.Open("testdata/queries.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	c := newCloud(t)
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	var rows []struct {
		ID                                 uuid.UUID `json:"alarm_id"`
		Name, Description, Severity, State string
		Project                            string `json:"project_id"`
		User                               string `json:"user_id"`
		Reason                             string `json:"state_reason"`
		Enabled                            bool
		Repeat                             bool      `json:"repeat_actions"`
		Changed                            time.Time `json:"timestamp"`
		Since                              time.Time `json:"state_timestamp"`
	}
	if err := json.Unmarshal(lines.Bytes(), &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		a := &store.Alarm{
			Alarm:  def.Alarm{ID: r.ID, Name: r.Name, Description: r.Description, Rule: &def.Event{EventType: "*"}, Enabled: r.Enabled, Repeat: r.Repeat, Project: r.Project, User: r.User, Changed: r.Changed},
			Status: def.Status{Reason: r.Reason, Since: r.Since},
		}
		a.State, _ = def.ParseState(r.State)
		a.Severity = def.Severity(slices.Index([]string{"low", "moderate", "critical"}, r.Severity))
		if err := c.store.Create(t.Context(), a, store.Limits{Project: -1, User: -1}, nil); err != nil {
			t.Fatal(err)
		}
	}
	statuses := map[int]int{}
	for lines.Scan() {
		var v struct {
			Query   json.RawMessage
			Project *string
			Status  int
			Alarms  []string
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		statuses[v.Status]++
		who := "root@p0/admin"
		if v.Project != nil {
			who = "joe@" + *v.Project + "/member"
		}
		status, text := c.ask(who, "POST", "/v2/query/alarms", string(v.Query))
		if v.Status == http.StatusUnauthorized && ownIn.Match(v.Query) && status != v.Status {
			continue
		}
		if status != v.Status {
			t.Errorf("%s\nis answered with %d: %s", lines.Bytes(), status, text)
			continue
		}
		if status != http.StatusOK {
			continue
		}
		var list []struct {
			ID string `json:"alarm_id"`
		}
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		got := make([]string, len(list))
		for i := range list {
			got[i] = list[i].ID
		}
		var q struct{ OrderBy string }
		if err := json.Unmarshal(v.Query, &q); err != nil {
			t.Fatal(err)
		}
		if q.OrderBy == "" || q.OrderBy == "[]" { // those of one moment are in any order
			slices.Sort(got)
			slices.Sort(v.Alarms)
		}
		if !slices.Equal(got, v.Alarms) {
			t.Errorf("%s\nfinds %d, %q", lines.Bytes(), len(got), got)
		}
	}
	if lines.Err() != nil || len(rows) < 40 || statuses[200] < 2000 || statuses[400] < 500 || statuses[401] < 200 {
		t.Errorf("of %d alarms, the queries' statuses are %v, %v", len(rows), statuses, lines.Err())
	}
}
