package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// A stream gives all there is, in the form that events have everywhere.
func TestLines(t *testing.T) {
	k := newKit(t, nil)
	var want []sdk.Event
	for i := range 2500 {
		want = append(want, sdk.Event{MessageID: fmt.Sprintf("%05d", i), EventType: "a", Generated: start.Add(time.Duration(i)), Traits: []sdk.Trait{{Name: "n", Type: sdk.Integer, Value: int64(i)}}})
	}
	k.add(want...)
	a := k.do("GET", "/v2/events", "", append(admin, "Accept", "application/x-ndjson")...)
	if a.code != 200 || a.header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("got %d, %s", a.code, a.header)
	}
	n := 0
	for lines := bufio.NewScanner(strings.NewReader(a.body)); lines.Scan(); n++ {
		var e sdk.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || !reflect.DeepEqual(e, want[n]) {
			t.Fatalf("line %d is %s, %v", n, lines.Text(), err)
		}
	}
	if n != len(want) {
		t.Errorf("%d lines, want %d", n, len(want))
	}
	if got := len(k.list("/v2/events?limit=100000", admin...)); got != len(want) {
		t.Errorf("a long list has %d events", got)
	}
	lines := append(admin, "Accept", "text/html, application/x-ndjson;q=0.5")
	if a := k.do("GET", "/v2/events?limit=1001&sort=message_id:desc", "", lines...); strings.Count(a.body, "\n") != 1001 || !strings.Contains(a.body[:40], "02499") {
		t.Errorf("a limited stream has %d lines", strings.Count(a.body, "\n"))
	}
	k.do("GET", "/v2/events?sort=message_id", "", lines...).wantError(t, 400, streamOrder)
	a = k.do("GET", "/v2/status", "", admin...)
	var st struct {
		Events         int
		Oldest, Newest time.Time
	}
	if err := json.Unmarshal([]byte(a.body), &st); err != nil || st.Events != 2500 || !st.Oldest.Equal(start) || !st.Newest.Equal(start.Add(2499)) {
		t.Errorf("the status is %s", a.body)
	}
}

// A store that fails is told in the form of an error, and half an answer is not taken
// for a whole one.
func TestFailures(t *testing.T) {
	k := newKit(t, func(o *Options) { o.Web.Timeout = time.Nanosecond })
	k.add(foo()...)
	a := k.do("GET", "/v2/events", "", admin...)
	a.wantError(t, 503, "The request took longer than the server's operation_timeout: ask for less, or for a stream.")
	if a.header.Get("Retry-After") == "" {
		t.Error("nothing says when to try again")
	}
	// A stream in the order of ids costs as much as such a list.
	k.do("GET", "/v2/events?sort=message_id&limit=1", "", append(admin, "Accept", mediaLines)...).wantError(t, 503, "The request took longer than the server's operation_timeout: ask for less, or for a stream.")
	if a := k.do("HEAD", "/v2/events", "", append(admin, "Accept", mediaLines)...); a.code != 503 {
		t.Errorf("a stream that nobody reads: %d", a.code)
	}
	if a := k.do("GET", "/v2/events?limit=1", "", append(admin, "Accept", mediaLines)...); a.code != 200 {
		t.Errorf("a stream: %d %s", a.code, a.body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequest("GET", "/v2/events", nil).WithContext(ctx)
	recorder := httptest.NewRecorder()
	k.server.Config.Handler.ServeHTTP(recorder, r)
	if recorder.Code != 503 {
		t.Errorf("a request that was given up gets %d", recorder.Code)
	}
}

// A stream that fails after it has begun is cut off.
func TestCutOff(t *testing.T) {
	k := newKit(t, func(o *Options) { o.Web.Log = slog.New(slog.DiscardHandler) })
	for n := range 30 {
		var events []sdk.Event
		for i := range 1000 {
			events = append(events, sdk.Event{MessageID: fmt.Sprint(n, "-", i), EventType: "a", Generated: start, Raw: []byte(`"` + strings.Repeat("x", 1000) + `"`)})
		}
		k.add(events...)
	}
	for _, accept := range []string{"application/x-ndjson", "application/json"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", k.server.URL+"/v2/events?limit=1000000", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		a, err := k.server.Client().Do(r)
		if err != nil || a.StatusCode != 200 {
			t.Fatal(a, err)
		}
		if _, err := a.Body.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if accept == "application/json" {
			if err := k.store.Close(); err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, a.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes were read, then %v", n, err)
			}
		}
		a.Body.Close() // of the first the client goes away
	}
}
