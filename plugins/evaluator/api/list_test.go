package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/plugins/evaluator/api"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/evaluate"
	"github.com/nephoscope/nepho/plugins/evaluator/judge"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// piecewise is a client that notes how long the longest piece of an answer is.
type piecewise struct {
	*httptest.ResponseRecorder
	longest int
}

func (p *piecewise) Write(b []byte) (int, error) {
	p.longest = max(p.longest, len(b))
	return p.ResponseRecorder.Write(b)
}

// TestLongLists: a list is whole however long it is, and never in memory as a whole.
func TestLongLists(t *testing.T) {
	c := newCloud(t)
	const n = 250
	want := map[string]bool{}
	for i := range n {
		a := &store.Alarm{Alarm: def.Alarm{ID: uuid.New(), Name: fmt.Sprint("a", i), Description: strings.Repeat("d", 1000), Project: "p", Rule: &def.Event{EventType: "*"}}}
		line := &store.Change{ID: uuid.New(), Alarm: a.ID, Detail: strings.Repeat("d", 1000), OnBehalfOf: "p", At: time.Now()}
		if err := c.store.Create(t.Context(), a, store.Limits{Project: -1, User: -1}, line); err != nil {
			t.Fatal(err)
		}
		want[a.ID.String()] = true
	}
	for path, body := range map[string]string{
		"/v2/alarms": "", "/v2/query/alarms": `{"orderby": "[{\"name\": \"asc\"}]"}`, "/v2/query/alarms/history": `{}`,
	} {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Header = http.Header{"Content-Type": {"application/json"}, "X-User": {"u"}, "X-Project": {"p"}}
		w := &piecewise{ResponseRecorder: httptest.NewRecorder()}
		c.server.ServeHTTP(w, r)
		var list []struct {
			ID string `json:"alarm_id"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s: %d, %v", path, w.Code, err)
		}
		found := map[string]bool{}
		for _, a := range list {
			found[a.ID] = want[a.ID]
		}
		if len(list) != n || len(found) != n || w.longest > 100_000 {
			t.Errorf("%s has %d of %d, in pieces of up to %d bytes", path, len(found), n, w.longest)
		}
	}
	if status, text := c.ask("u@nobody/member", "GET", "/v2/alarms", ""); status != http.StatusOK || text != "[]" {
		t.Errorf("an empty list: %d %s", status, text)
	}
}

// past is an evaluator that knows what would have been.
type past struct {
	api.Evaluator
	r   *evaluate.Replayed
	err error
}

func (p past) Replay(context.Context, *def.Alarm, time.Time, time.Time) (*evaluate.Replayed, error) {
	return p.r, p.err
}

// TestReplayAnswers: what JSON has no numbers for is null; whoever sees an alarm may try it,
// whatever it would do; a storage that is away is not the client's fault.
func TestReplayAnswers(t *testing.T) {
	c := newCloud(t)
	at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	steps := []evaluate.Step{{At: at, State: def.Alerting, Values: []float64{math.NaN(), 1, math.Inf(1), math.Inf(-1)}}, {At: at}}
	change := evaluate.ReplayedTransition{At: at, Outcome: &judge.Outcome{State: def.Alerting, Reason: "r", Data: def.Object{{Name: "most_recent", Value: math.NaN()}}}}
	const body = `{"name": "a", "type": "event", "event_rule": {}, "alarm_actions": ["log:"], "ok_actions": ["trust+http://x"]}`
	for name, test := range map[string]struct {
		past past
		code int
		text string
	}{
		"numbers": {past{r: &evaluate.Replayed{Steps: steps, Transitions: []evaluate.ReplayedTransition{change, change}}}, 200,
			`{"steps": [{"at": "2026-01-05T00:00:00", "state": "alarm", "values": [null, 1.0, null, null]}, {"at": "2026-01-05T00:00:00", "state": "insufficient data", "values": []}], "transitions": [` +
				strings.Repeat(`, {"at": "2026-01-05T00:00:00", "previous": "insufficient data", "current": "alarm", "reason": "r", "reason_data": {"most_recent": null}}`, 2)[2:] + `]}`},
		"steps":   {past{r: &evaluate.Replayed{Steps: steps[1:]}}, 200, `{"steps": [{"at": "2026-01-05T00:00:00", "state": "insufficient data", "values": []}], "transitions": []}`},
		"nothing": {past{r: &evaluate.Replayed{}}, 200, `{"steps": [], "transitions": []}`},
		"wrong":   {past{err: &def.InputError{Message: "too long"}}, 400, "too long"},
		"away":    {past{err: errors.New("it is away")}, 503, "it is away"},
	} {
		t.Run(name, func(t *testing.T) {
			c.server = api.New(api.Options{Store: c.store, Evaluator: test.past, Web: web.Options{Auth: c, MaxBody: 1 << 20, Timeout: time.Minute}})
			if code, text := c.ask("u@p/member", "POST", "/v2/test", body); code != test.code || !strings.Contains(text, test.text) || code == 200 && text != test.text {
				t.Errorf("%d %s", code, text)
			}
		})
	}
}
