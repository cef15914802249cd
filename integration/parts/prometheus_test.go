package parts

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPrometheusScrapes(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("run", func(t *testing.T) {
		target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, `load{project="p"} 1.5`)
		}))
		t.Cleanup(target.Close)
		s := Prometheus(t, PrometheusOptions{Target: strings.TrimPrefix(target.URL, "http://")})
		dir = s.Dir
		for range 2 {
			awaitTrue(t, "what is scraped can't be asked for", func() bool {
				answer, err := call(t.Context(), http.MethodGet, s.URL+"/api/v1/query?query=load", "", nil)
				return err == nil && strings.Contains(string(answer), `"project":"p"`) && strings.Contains(string(answer), `"1.5"`)
			})
			s.Kill9()
			s.Start()
		}
	})
	expectNothingLeft(t, dir)
}

// Who has no certificate, or no password, is refused.
func TestPrometheusRefuses(t *testing.T) {
	t.Parallel()
	c := NewCertificates(t)
	for _, f := range []struct {
		o    PrometheusOptions
		want string
	}{
		{PrometheusOptions{Certificates: &c, User: "u", Password: "p"}, "401 Unauthorized"},
		{PrometheusOptions{Certificates: &c, ClientCertificate: true}, "remote error: tls: "},
	} {
		s := Prometheus(t, f.o)
		transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: c.Pool(t)}}
		answer, err := (&http.Client{Transport: transport}).Get(s.URL + "/api/v1/query?query=1")
		got := fmt.Sprint(err)
		if err == nil {
			got = answer.Status
			answer.Body.Close()
		}
		if !strings.Contains(got, f.want) {
			t.Errorf("got %s, want %s", got, f.want)
		}
	}
}
