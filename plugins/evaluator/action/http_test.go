package action

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

func TestTargets(t *testing.T) {
	h, err := NewHTTP(Target{Secret: "all"}, []Target{
		{URL: "https://hooks.example.com", Secret: "host"}, {URL: "https://hooks.example.com:443/pager", Secret: "pager"}, {URL: "http://[::1]:8080/x/", Secret: "v6"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"https://hooks.example.com": "host", "https://hooks.example.com/a": "host", "https://HOOKS.example.com:443/a": "host", "https://u:p@hooks.example.com/a": "host",
		"https://hooks.example.com/pager": "pager", "https://hooks.example.com/pager/1?x=y": "pager", "https://hooks.example.com/pagers": "host",
		"https://hooks.example.com.evil.example.org/": "all", "https://hooks.example.com@evil.example.org/": "all", "http://hooks.example.com/": "all",
		"https://hooks.example.com:8443/": "all", "http://[::1]:8080/x/y": "v6", "http://[::1]:8080/x": "all",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.endpoint(u).secret; got != want {
			t.Errorf("%s is signed as %q, not %q", text, got, want)
		}
	}
}

func TestTargetOptions(t *testing.T) {
	for text, want := range map[string]string{
		"https://hooks.example.com/pager": "", "http://127.0.0.1:8080": "", "hooks.example.com": "no beginning of a URL", "https://": "no beginning of a URL",
		"https://u:p@hooks.example.com": "no beginning of a URL", "ftp://hooks.example.com": "no beginning of a URL",
	} {
		err := (&Target{URL: text}).Validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := (&Target{URL: "https://x", TLS: TLS{Key: "k"}}).Validate(); err == nil {
		t.Error("a key without a certificate is taken")
	}
}

// A webhook that redirects to another server has that one neither get what is meant for
// itself, nor believed without a look at its certificate.
func TestRedirectsElsewhere(t *testing.T) {
	heads := make(chan http.Header, 1)
	take := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heads <- r.Header })
	plain, secure := httptest.NewServer(take), httptest.NewTLSServer(take)
	defer plain.Close()
	defer secure.Close()
	var to string
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/here" {
			take(w, r)
			return
		}
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
	}))
	defer first.Close()
	h, err := NewHTTP(Target{}, []Target{{URL: first.URL, Secret: "s", TLS: TLS{Insecure: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	u, err := url.Parse(first.URL + "?aodh-alarm-ssl-verify=0")
	if err != nil {
		t.Fatal(err)
	}
	d := &store.Delivery{ID: uuid.New(), Body: "{}"}
	send := func() error { return h.Post(t.Context(), u, d, http.Header{"X-Auth-Token": {"t"}}) }
	for target, own := range map[string]bool{"/here": true, plain.URL: false} {
		to = target
		if err := send(); err != nil {
			t.Fatal(err)
		}
		head := <-heads
		if got := head.Get("X-Auth-Token") != "" && head.Get("X-Nepho-Signature") != ""; got != own {
			t.Errorf("%s gets %v", target, head)
		}
	}
	to = secure.URL + "?aodh-alarm-ssl-verify=0"
	if err := send(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("another server is believed: %v", err)
	}
}

// What a server calls its status may be any bytes, which a database does not take.
func TestStatusInOurWords(t *testing.T) {
	for code, want := range map[int]string{400: "it answers 400 Bad Request", 599: "it answers 599", 303: "", 200: ""} {
		err := verdict(&http.Response{StatusCode: code, Status: "\xff\x00"})
		if (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%d: %v", code, err)
		}
	}
}
