package action

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
)

// queues is a Keystone and a Zaqar, as far as the tests need them: it gives tokens, takes
// messages and subscribers, and answers what Zaqar's version 2 answers.
type queues struct {
	*httptest.Server
	mu     sync.Mutex
	issued int
	wrong  []string       // tokens that are refused
	fail   map[string]int // statuses, by how a path ends
	got    []request
}

// request is what Zaqar was asked.
type request struct {
	path, body string
	headers    http.Header
}

func newQueues(t *testing.T) *queues {
	q := &queues{}
	q.Server = httptest.NewServer(q)
	t.Cleanup(q.Close)
	return q
}

func (q *queues) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	answer := func(status int, what any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(what)
	}
	type object = map[string]any
	switch path := r.URL.Path; {
	case path == "/v3/auth/tokens":
		q.issued++
		who := "service"
		if strings.Contains(string(body), "OS-TRUST:trust") {
			who = "trust"
		}
		w.Header().Set("X-Subject-Token", who+"-"+string(rune('0'+q.issued)))
		answer(http.StatusCreated, object{"token": object{
			"expires_at": time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z"), "user": object{"id": "u"},
			"catalog": []object{{"type": "messaging", "name": "zaqar", "endpoints": []object{{"interface": "public", "url": q.URL + "/zaqar", "region": "R", "region_id": "R"}}}},
		}})
	case !strings.HasPrefix(path, "/zaqar/v2/queues/"):
		answer(http.StatusNotFound, object{})
	default:
		q.got = append(q.got, request{strings.TrimPrefix(path, "/zaqar"), string(body), r.Header})
		switch {
		case r.Method != http.MethodPost || r.Header.Get("Client-Id") == "" || r.Header.Get("Content-Type") != "application/json":
			answer(http.StatusBadRequest, object{"title": "Bad request"})
			return
		case r.Header.Get("Url-Signature") == "" && (r.Header.Get("X-Auth-Token") == "" || slices.Contains(q.wrong, r.Header.Get("X-Auth-Token"))):
			answer(http.StatusUnauthorized, object{})
			return
		}
		for end, status := range q.fail {
			if strings.HasSuffix(path, end) {
				answer(status, object{})
				return
			}
		}
		answer(http.StatusCreated, object{})
	}
}

func (q *queues) sender(t *testing.T) *Zaqar {
	o := auth.KeystoneOptions{AuthURL: q.URL + "/v3", Username: "nepho", Password: "x", UserDomain: "Default", Project: "service", ProjectDomain: "Default", Timeout: time.Minute, CacheSize: 1}
	k, err := auth.NewKeystone(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return NewZaqar(k, NewTrusts(k, o))
}

const message = `{"messages": [{"body": `

// TestZaqar: the requests are those that Aodh's notifier makes by python-zaqarclient, but
// for its reading of each new subscription.
func TestZaqar(t *testing.T) {
	d := delivery()
	queue := "/v2/queues/" + d.Alarm.String() + "-example"
	posted := message + d.Body + `}]}`
	for what, c := range map[string]struct {
		action string
		want   []request
	}{
		"a queue of the alarm": {"zaqar://?topic=example", []request{{queue + "/messages", posted, http.Header{"X-Auth-Token": {"service-1"}}}}},
		"with subscribers": {"zaqar://?topic=example&subscriber=mailto%3A//test%40example.com&subscriber=http%3A//x&ttl=60", []request{
			{queue + "/subscriptions", `{"options":{},"subscriber":"mailto://test@example.com","ttl":60}`, http.Header{"X-Auth-Token": {"service-1"}}},
			{queue + "/subscriptions", `{"options":{},"subscriber":"http://x","ttl":60}`, http.Header{"X-Auth-Token": {"service-1"}}},
			{queue + "/messages", posted, http.Header{"X-Auth-Token": {"service-1"}}},
		}},
		"signed": {"zaqar://?queue_name=q&project_id=foo&paths=/messages&methods=POST,GET&expires=1970-01-01T00:00Z&signature=abcdefg", []request{{"/v2/queues/q/messages", posted, http.Header{
			"Url-Paths": {"/messages"}, "Url-Methods": {"POST,GET"}, "Url-Expires": {"1970-01-01T00:00Z"}, "Url-Signature": {"abcdefg"}, "X-Project-Id": {"foo"}, "X-Auth-Token": nil,
		}}}},
		"by a trust": {"trust+zaqar://abc@?queue_name=q&subscriber=x", []request{{"/v2/queues/q/messages", posted, http.Header{"X-Auth-Token": {"trust-2"}}}}},
	} {
		t.Run(what, func(t *testing.T) {
			q := newQueues(t)
			if err := q.sender(t).Send(t.Context(), parse(t, c.action), d); err != nil {
				t.Fatal(err)
			}
			if len(q.got) != len(c.want) {
				t.Fatalf("the requests are %+v", q.got)
			}
			for i, want := range c.want {
				got := q.got[i]
				if got.path != want.path || got.body != want.body {
					t.Errorf("got %s %s\nwant %s %s", got.path, got.body, want.path, want.body)
				}
				for name, values := range want.headers {
					if !slices.Equal(got.headers[name], values) {
						t.Errorf("%s is %q, not %q", name, got.headers[name], values)
					}
				}
			}
		})
	}
}

func TestZaqarFaults(t *testing.T) {
	const ok, again, never = "ok", "again", "never"
	for what, c := range map[string]struct {
		action string
		wrong  []string
		fail   map[string]int
		want   string
	}{
		"subscribed already":                  {"zaqar://?topic=t&subscriber=x", nil, map[string]int{"subscriptions": 409}, ok},
		"wrong subscriber":                    {"zaqar://?topic=t&subscriber=x", nil, map[string]int{"subscriptions": 400}, never},
		"away":                                {"zaqar://?topic=t", nil, map[string]int{"messages": 503}, again},
		"too much":                            {"zaqar://?topic=t", nil, map[string]int{"messages": 429}, again},
		"refused":                             {"zaqar://?topic=t", nil, map[string]int{"messages": 403}, never},
		"a token of the service that ended":   {"zaqar://?topic=t", []string{"service-1"}, nil, ok},
		"tokens of the service that are none": {"zaqar://?topic=t", []string{"service-1", "service-2"}, nil, never},
		"a token of a trust that ended":       {"trust+zaqar://abc@?queue_name=q", []string{"trust-2"}, nil, ok},
		"tokens of a trust that are none":     {"trust+zaqar://abc@?queue_name=q", []string{"trust-2", "trust-3"}, nil, never},
		"no trust":                            {"trust+zaqar://?queue_name=q", nil, nil, never},
		"no queue":                            {"trust+zaqar://abc@?topic=q", nil, nil, never},
		"no topic":                            {"zaqar://", nil, nil, never},
		"a queue elsewhere":                   {"trust+zaqar://abc@?queue_name=../../x", nil, nil, never},
		"a topic that is none":                {"zaqar://?topic=a/b", nil, nil, never},
		"a time that is none":                 {"zaqar://?topic=t&ttl=x", nil, nil, never},
		"a header more":                       {"zaqar://?queue_name=q&signature=a%0D%0Ab", nil, nil, never},
		"no query":                            {"zaqar://?topic=%zz", nil, nil, never},
	} {
		t.Run(what, func(t *testing.T) {
			q := newQueues(t)
			q.wrong, q.fail = c.wrong, c.fail
			u, err := url.Parse(c.action)
			if err != nil {
				t.Fatal(err)
			}
			err = q.sender(t).Send(t.Context(), u, delivery())
			got := again
			if _, no := errors.AsType[*Refused](err); no {
				got = never
			} else if err == nil {
				got = ok
			}
			if got != c.want {
				t.Errorf("it is %s: %v; want %s", got, err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "abc") {
				t.Errorf("the error names the trust: %v", err)
			}
		})
	}
}
