package api

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// listen follows the change feed as a user; it gives lines, and EOF when the feed ends.
func listen(t *testing.T, server *httptest.Server, user, method, path, body string) func() (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(user, "")
	r.Header.Set("Content-Type", "application/json")
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%s %s", answer.Status, answer.Header)
	}
	lines := bufio.NewReader(answer.Body)
	first, err := lines.ReadString('\n')
	var now struct{ Now string }
	if err != nil || json.Unmarshal([]byte(first), &now) != nil || now.Now != "2026-11-22T12:00:00+00:00" {
		t.Fatalf("%q %v", first, err)
	}
	return func() (string, error) {
		for {
			line, err := lines.ReadString('\n')
			if err != nil || line != first { // which comes again when nothing happens for a while
				return line, err
			}
		}
	}
}

func TestChanges(t *testing.T) {
	p := newPlane(t)
	a, b := p.metric("alice", "coarse"), p.metric("bob", "coarse")
	server := httptest.NewServer(p.s)
	t.Cleanup(server.Close)
	server.Config.RegisterOnShutdown(p.s.EndStreams)
	all := listen(t, server, "admin", "GET", "/v1/changes", "")
	hers := listen(t, server, "alice", "GET", "/v1/changes", "")
	named := listen(t, server, "admin", "GET", "/v1/changes?metric="+b, "")
	listed := listen(t, server, "bob", "POST", "/v1/changes", `["`+b+`"]`)
	expect := func(next func() (string, error), id, time string) {
		t.Helper()
		if got, err := next(); got != `{"metric":"`+id+`","timestamp":"`+time+`+00:00"}`+"\n" {
			t.Fatalf("got %q %v, want %s %s", got, err, id, time)
		}
	}
	p.ask(202, "POST", "/v1/metric/"+a+"/measures", []measure{{today("10:00:00"), 1}, {today("10:00:05"), 1}})
	expect(all, a, today("10:00:05"))
	expect(hers, a, today("10:00:05"))
	// An older measure is no news.
	p.ask(202, "POST", "/v1/metric/"+a+"/measures", []measure{{today("10:00:01"), 1}})
	p.ask(202, "POST", "/v1/metric/"+b+"/measures", []measure{{today("10:00:07.5"), 1}})
	expect(all, b, today("10:00:07.500000"))
	expect(named, b, today("10:00:07.500000"))
	expect(listed, b, today("10:00:07.500000"))
	p.ask(202, "POST", "/v1/metric/"+a+"/measures", []measure{{today("10:00:09"), 1}})
	expect(hers, a, today("10:00:09"))

	p.ask(404, "GET", "/v1/changes?metric=foo", nil)
	p.ask(404, "POST", "/v1/changes", `["a0000000-0000-0000-0000-000000000000"]`)
	p.ask(400, "POST", "/v1/changes", `["foo"]`)
	if w := p.request("alice", "GET", "/v1/changes?metric="+b, nil); w.Code != 403 {
		t.Errorf("%d %s", w.Code, w.Body)
	}

	// The feeds do not hold up the end of the server.
	if err := server.Config.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := named(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
