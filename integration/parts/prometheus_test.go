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
	trusting := &tls.Config{RootCAs: c.Pool(t)}
	s := Prometheus(t, PrometheusOptions{Certificates: &c, User: "u", Password: "p"})
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: trusting}
	answer, err := (&http.Client{Transport: transport}).Get(s.URL + "/api/v1/query?query=1")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a password: got %s", answer.Status)
	}

	s = Prometheus(t, PrometheusOptions{Certificates: &c, ClientCertificate: true})
	// Who writes may hear that the connection is closed before the reason is read.
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.URL, "https://"), trusting)
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
		conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "remote error: tls: ") {
		t.Errorf("without a certificate: got error %v", err)
	}
}
