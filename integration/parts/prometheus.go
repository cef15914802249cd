package parts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"golang.org/x/crypto/bcrypt"
)

// PrometheusOptions say what a Prometheus does. The zero value scrapes nothing and
// lets everybody ask.
type PrometheusOptions struct {
	// Target is what is scraped each 200 ms: HOST:PORT; empty for nothing. Its samples have
	// no labels but their own, instance and job.
	Target string
	// Certificates make it speak https.
	Certificates *Certificates
	// ClientCertificate makes it refuse clients without one of the Certificates.
	ClientCertificate bool
	// User and Password are whom it believes, by HTTP basic authentication; anybody
	// without a User.
	User, Password string
}

// PrometheusServer is a Prometheus.
type PrometheusServer struct {
	*Process
	// URL has no path: http://127.0.0.1:PORT, or https.
	URL string
}

// Prometheus starts an empty server, to which samples may be written. It takes about 0.3 s and 45 MB.
func Prometheus(tb TB, o PrometheusOptions) *PrometheusServer {
	tb.Helper()
	dir := newDir(tb)
	address := fmt.Sprintf("127.0.0.1:%d", FreePort(tb))
	config, web := "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n", ""
	if o.Target != "" {
		config += fmt.Sprintf("scrape_configs:\n- {job_name: test, static_configs: [{targets: ['%s']}]}\n", o.Target)
	}
	s := &PrometheusServer{URL: "http://" + address}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if c := o.Certificates; c != nil {
		s.URL = "https://" + address
		own, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
		if err != nil {
			tb.Fatalf("cannot load the client's certificate: %v", err)
		}
		client.Transport = &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: c.Pool(tb), Certificates: []tls.Certificate{own}}}
		web += fmt.Sprintf("tls_server_config:\n  cert_file: %s\n  key_file: %s\n", c.Cert, c.Key)
		if o.ClientCertificate {
			web += fmt.Sprintf("  client_ca_file: %s\n  client_auth_type: RequireAndVerifyClientCert\n", c.CA)
		}
	}
	if o.User != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(o.Password), bcrypt.MinCost)
		if err != nil {
			tb.Fatalf("cannot hash the password: %v", err)
		}
		web += fmt.Sprintf("basic_auth_users:\n  %s: '%s'\n", o.User, hash)
	}
	file, webFile := filepath.Join(dir, "prometheus.yml"), filepath.Join(dir, "web.yml")
	writeFile(tb, file, config)
	writeFile(tb, webFile, web)
	s.Process = newProcess(tb, dir, spec{
		name: "prometheus",
		argv: []string{program(tb, "prometheus"), "--config.file=" + file, "--web.config.file=" + webFile,
			"--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address, "--web.enable-remote-write-receiver", "--log.level=warn"},
		ready: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/-/ready", nil)
			if err != nil {
				return err
			}
			if o.User != "" {
				r.SetBasicAuth(o.User, o.Password)
			}
			answer, err := client.Do(r)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return errors.New(answer.Status)
			}
			return nil
		},
	})
	s.Start()
	return s
}
