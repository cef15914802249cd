package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/nephoscope/nepho/sdk"
)

// many gives numbers to n metrics.
func many(g *Gnocchi, n int) (ids []string, numbers []uint64) {
	for range n {
		id := uuid.New()
		ids, numbers = append(ids, id.String()), append(numbers, g.numbers.of(id))
	}
	return ids, numbers
}

func minutes(numbers []uint64) []sdk.WindowQuery {
	from := time.Unix(1_700_000_040, 0)
	return []sdk.WindowQuery{{Series: numbers, Granularity: time.Minute, Aggregation: "mean", From: from, To: from.Add(time.Hour)}}
}

// One metric that makes Gnocchi fail costs no other its windows, and a question is of
// many metrics.
func TestDamagedMetric(t *testing.T) {
	var bad string
	requests := 0
	g := newGnocchi(t, serve(t, func(w http.ResponseWriter, r *http.Request, body string) {
		if r.URL.Path != "/v1/aggregates" || r.FormValue("start") != "2023-11-14T22:14:00.000000Z" || r.FormValue("granularity") != "60" {
			t.Errorf("%s", r.URL)
		}
		if got := r.Header.Get("Accept"); got != "application/json" { // Gnocchi's errors are pages otherwise
			t.Errorf("taken is %q", got)
		}
		if strings.Contains(body, bad) {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		requests++
		var list []string
		for part := range strings.SplitSeq(body, `["`) {
			if id, _, ok := strings.Cut(part, `","mean"]`); ok {
				list = append(list, fmt.Sprintf(`%q: {"mean": [["2023-11-14T22:14:00+00:00", 60.0, 2.5]]}`, id))
			}
		}
		fmt.Fprintf(w, `{"measures": {%s}}`, strings.Join(list, ","))
	}))
	g.server.client.Transport.(*http.Transport).MaxConnsPerHost = 1 // for the counter
	ids, numbers := many(g, 1000)
	bad = ids[517]
	w, err := g.Windows(t.Context(), minutes(numbers))
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range w.All() {
		switch {
		case i == 517:
			if !errors.Is(row.Err, sdk.Unreadable) {
				t.Errorf("the damaged one has %v", row)
			}
		case row.Err != nil || len(row.Values) != 1 || row.Values[0] != 2.5 || row.Times[0] != 1_700_000_040e9:
			t.Errorf("row %d is %v", i, row)
		}
	}
	if requests > 20 {
		t.Errorf("%d requests went well", requests)
	}
}

// That the windows of a metric can't be had is told once, until they can be had.
func TestDamagedIsToldOnce(t *testing.T) {
	bad := true
	url := serve(t, func(w http.ResponseWriter, _ *http.Request, body string) {
		if bad {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		id := strings.Split(body, `"`)[5]
		fmt.Fprintf(w, `{"measures": {%q: {"mean": []}}}`, id)
	})
	var log strings.Builder
	g, err := NewGnocchi(GnocchiOptions{URL: url, Auth: "none", Timeout: time.Minute}, nil, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	_, numbers := many(g, 2)
	for _, f := range []struct {
		bad   bool
		of    []uint64
		lines int
	}{
		{true, numbers[:1], 1}, {true, numbers[:1], 1}, {true, numbers, 2}, {true, numbers[1:], 2},
		{false, numbers[:1], 2}, {true, numbers[1:], 2}, {true, numbers[:1], 3},
	} {
		bad = f.bad
		want := "[] []"
		if bad {
			want = sdk.NoSeries.Error() + strings.Repeat("\n"+sdk.NoSeries.Error(), len(f.of)-1)
		}
		if got := rows(g.Windows(t.Context(), minutes(f.of))); got != want {
			t.Errorf("got %s", got)
		}
		if n := strings.Count(log.String(), "\n"); n != f.lines {
			t.Errorf("the log has %d lines, not %d: %s", n, f.lines, log.String())
		}
	}
	if !strings.Contains(log.String(), "somebody who sees everything") {
		t.Error(log.String())
	}
}

// When all metrics make Gnocchi fail, it is not asked for each of them.
func TestBrokenGnocchi(t *testing.T) {
	requests := make(chan struct{}, 10_000)
	g := newGnocchi(t, serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		requests <- struct{}{}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	_, numbers := many(g, 1000)
	w, err := g.Windows(t.Context(), minutes(numbers))
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range w.All() {
		if !errors.Is(row.Err, sdk.Unreadable) {
			t.Fatalf("row %d is %v", i, row)
		}
	}
	if n := len(requests); n > 2*maxSplits+1000/together {
		t.Errorf("%d requests", n)
	}
}

// What a server answers decides whether a question makes sense again.
func TestFaults(t *testing.T) {
	const unknown = `{"code": 404, "description": {"cause": "Unknown metrics", "reason": "Provided metrics don't exists", "detail": ["x"]}}`
	for _, f := range []struct {
		status                          int
		body                            string
		find, windows, compute, follows string
	}{
		{401, "", "error", "error", "error", "error"},
		{403, "", "refused", "there is no such series any more", "refused", "error"},
		{404, "", "refused", "the storage cannot read the windows of the series", "refused", "unsupported"},
		{404, unknown, "refused", "the storage cannot read the windows of the series", "refused", "unsupported"},
		{400, `{"code": 400, "description": "no"}`, "refused", "the storage cannot read the windows of the series", "refused", "error"},
		{400, "<html>", "error", "error", "error", "error"}, // a proxy says so
		{405, "", "refused", "the storage cannot read the windows of the series", "refused", "unsupported"},
		{429, "", "error", "error", "error", "error"},
		{500, "", "error", "the storage cannot read the windows of the series", "error", "error"},
		{503, "", "error", "error", "error", "error"},
		{302, "", "error", "error", "error", "error"},
		{200, "<html>hello</html>", "error", "error", "error", "error"},
		{200, `{"measures": {}}`, "error", "error", "", "error"},
		{200, `{"measures": {"aggregated": [["2026", 60.0, 1.0]]}}`, "error", "error", "error", "error"},
		{200, `{"measures": {"aggregated": [["2026-01-01T00:00:00+00:00", 60.0, null]]}}`, "error", "error", "error", "error"},
		{200, `{"measures": {"aggregated": [["2026-01-01T00:00:00+00:00", 60.0, 1.0], ["2026-01-01T00:00:00+00:00", 60.0, 1.0]]}}`, "error", "error", "error", "error"},
		{200, "[]", "", "error", "error", "error"},
	} {
		g := newGnocchi(t, serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
			if f.status == http.StatusFound {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(f.status)
			fmt.Fprint(w, f.body)
		}))
		_, numbers := many(g, 1)
		if got, _ := found(t, g, sdk.SeriesQuery{Scope: everything, Names: []sdk.SeriesName{{Resource: "a", Meter: "b"}}}); got != f.find {
			t.Errorf("%d %s: find: %s", f.status, f.body, got)
		}
		if got := rows(g.Windows(t.Context(), minutes(numbers))); got != f.windows {
			t.Errorf("%d %s: windows: %s", f.status, f.body, got)
		}
		compute := sdk.ComputeQuery{Scope: everything, Language: "operations", Expression: "(metric x mean)", Granularity: time.Minute}
		if got := computedText(g.Compute(t.Context(), compute)); got != f.compute {
			t.Errorf("%d %s: compute: %s", f.status, f.body, got)
		}
		for _, err := range g.Follow(t.Context(), sdk.FollowQuery{}) {
			if err == nil || problem(err) != f.follows {
				t.Errorf("%d %s: follow: %v", f.status, f.body, err)
			}
		}
	}
}

// What goes wrong is told with what to do about it.
func TestErrorsTell(t *testing.T) {
	for _, f := range []struct {
		failure failure
		want    string
	}{
		{failure{status: 401}, "Gnocchi answers 401: Unauthorized; set who asks in the options"},
		{failure{status: 403, body: []byte(`{"code": 403, "description": "Insufficient privileges"}`)}, `Gnocchi answers 403: Insufficient privileges; it has to be somebody who sees everything there`},
		{failure{status: 404, body: []byte("404 page\n not found")}, "Gnocchi answers 404: 404 page not found; look whether url is right"},
		{failure{status: 400, body: []byte("Client sent an HTTP request to an HTTPS server.\n")}, "Gnocchi answers 400: Client sent an HTTP request to an HTTPS server.; look whether url is right"},
		{failure{status: 302, location: "https://elsewhere/"}, "Gnocchi answers 302: Found; it points to https://elsewhere/: set url to where it is"},
		{failure{status: 400, body: []byte(`{"code": 400, "description": {"cause": "Resource type does not exist", "detail": "x"}}`)}, `Gnocchi answers 400: Resource type does not exist: "x"`},
		{failure{status: 404, body: []byte(`{"code": 404, "description": {"cause": "Unknown metrics", "reason": "why", "detail": ["x"]}}`)}, `Gnocchi answers 404: Unknown metrics: why: ["x"]`},
		{failure{status: 422, body: []byte(`{"status": "error", "errorType": "execution", "error": "too many samples"}`)}, "Gnocchi answers 422: too many samples"},
		{failure{status: 500, body: []byte(strings.Repeat("é", maxTold))}, "Gnocchi answers 500: " + strings.Repeat("é", maxTold/2) + "..."},
	} {
		f.failure.server = "Gnocchi"
		if got := f.failure.Error(); got != f.want {
			t.Errorf("got  %s\nwant %s", got, f.want)
		}
	}
}

// A server that can't be reached, or does not answer in time, may be asked again.
func TestSilence(t *testing.T) {
	hang := serve(t, func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() })
	for _, url := range []string{hang, "http://127.0.0.1:1"} {
		g := newGnocchiWith(t, GnocchiOptions{URL: url, Auth: "none", Timeout: 50 * time.Millisecond}, nil)
		_, numbers := many(g, 1)
		if got := rows(g.Windows(t.Context(), minutes(numbers))); got != "error" {
			t.Errorf("%s: %s", url, got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	g := newGnocchi(t, serve(t, func(_ http.ResponseWriter, r *http.Request, _ string) { cancel(); <-r.Context().Done() }))
	for _, err := range g.Follow(ctx, sdk.FollowQuery{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("follow: %v", err)
		}
	}
}

// A feed that ends is an error, and so are lines that are none.
func TestFeedEnds(t *testing.T) {
	const now = `{"now":"2026-11-21T10:00:00.123456+00:00"}` + "\n"
	for _, f := range []struct{ feed, want string }{
		{now, "advance error"},
		{now + `{"metric":"2cfdc9ae-8e6a-4b1c-9d5e-0f2a7c1b3d4e","timestamp":"2026-11-21T09:59:50+00:00"}` + "\n", "advance advance error"},
		{now + "<html>\n", "error"},
		{now + strings.Repeat("x", longestLine), "advance error"},
		{"", "error"},
	} {
		g := newGnocchi(t, serve(t, func(w http.ResponseWriter, r *http.Request, _ string) { fmt.Fprint(w, f.feed) }))
		var got []string
		for _, err := range g.Follow(t.Context(), sdk.FollowQuery{Undescribed: true}) {
			if err != nil {
				got = append(got, problem(err))
			} else {
				got = append(got, "advance")
			}
		}
		if text := strings.Join(got, " "); text != f.want {
			t.Errorf("%.60s: %s", f.feed, text)
		}
	}
}

// Who asks is said in each way, and a token that is refused is renewed once.
func TestWhoAsks(t *testing.T) {
	var tokens []string
	client := &gophercloud.ProviderClient{}
	client.UseTokenLock()
	client.ReauthFunc = func(context.Context) error {
		token := fmt.Sprint("t", len(tokens))
		tokens = append(tokens, token)
		client.SetToken(token)
		return nil
	}
	client.SetToken("old")
	service := Service(func(context.Context) (*gophercloud.ServiceClient, error) {
		return &gophercloud.ServiceClient{ProviderClient: client}, nil
	})
	var asked []string
	good := "t1"
	url := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		asked = append(asked, r.Header.Get("X-Auth-Token")+r.Header.Get("Authorization"))
		if token := r.Header.Get("X-Auth-Token"); token != "" && token != good {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "[]")
	})
	ask := func(g *Gnocchi) string {
		got, _ := found(t, g, sdk.SeriesQuery{Scope: everything, Search: &sdk.ResourceSearch{Type: "generic"}})
		return got
	}
	g := newGnocchiWith(t, GnocchiOptions{URL: url, Auth: "keystone", Timeout: time.Minute}, service)
	if got := ask(g); got != "error" {
		t.Error(got)
	}
	if got := ask(g); got != "" {
		t.Error(got)
	}
	if got := ask(newGnocchiWith(t, GnocchiOptions{URL: url, Auth: "none", Timeout: time.Minute}, nil)); got != "" {
		t.Error(got)
	}
	if got := ask(newGnocchi(t, url)); got != "" {
		t.Error(got)
	}
	if want := []string{"old", "t0", "t0", "t1", "", "Basic YWRtaW46"}; !slices.Equal(asked, want) {
		t.Errorf("asked by %q", asked)
	}
}
