// Package remote asks about series over HTTP: a Gnocchi, which may be another Nepho's
// aggregator, for thresholds and operations, and a server that speaks Prometheus's API for
// PromQL. Either is a sdk.SeriesReader, and tries nothing twice: that is for those who ask.
//
// What both share: http.go (requests), errors.go, options.go. Gnocchi: gnocchi.go (names and
// numbers), find.go, windows.go, compute.go, follow.go. Prometheus: prometheus.go.
package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/nephoscope/nepho/plugins/evaluator/tlsclient"
)

const (
	// maxAnswer is the longest answer in bytes.
	maxAnswer = 64 << 20
	// connections is how many requests go to a server at once.
	connections = 4
)

// server is where requests go.
type server struct {
	name    string // of what it is, as errors have it
	base    string // URL without a slash at its end
	client  *http.Client
	timeout time.Duration // of a request; that of a stream ends with its context only
	who     credentials
}

func newServer(name, address string, timeout time.Duration, t TLS, who credentials) (*server, error) {
	c, err := tlsclient.Config(t.CA, t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", name, err)
	}
	c.InsecureSkipVerify = t.Insecure
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = c
	transport.MaxIdleConnsPerHost = connections
	// Where a server points to may be nobody who ought to get the credentials.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &server{
		name: name, base: strings.TrimSuffix(address, "/"), timeout: timeout, who: who,
		client: &http.Client{Transport: transport, CheckRedirect: stay},
	}, nil
}

func (s *server) close() { s.client.CloseIdleConnections() }

// credentials say in a request who asks.
type credentials interface {
	apply(ctx context.Context, r *http.Request) error
	// renew is called when those of a request were refused, and tells whether there
	// are others now.
	renew(ctx context.Context, r *http.Request) (bool, error)
}

// header is a header that stays the same; nobody without a name.
type header struct{ name, value string }

func (h header) apply(_ context.Context, r *http.Request) error {
	if h.name != "" {
		r.Header.Set(h.name, h.value)
	}
	return nil
}

func (header) renew(context.Context, *http.Request) (bool, error) { return false, nil }

// basic is HTTP basic authentication.
func basic(user, password string) header {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return header{"Authorization", r.Header.Get("Authorization")}
}

// Service gives a client of Keystone that has authenticated a service user.
type Service func(context.Context) (*gophercloud.ServiceClient, error)

const tokenHeader = "X-Auth-Token"

func (s Service) apply(ctx context.Context, r *http.Request) error {
	c, err := s(ctx)
	if err != nil {
		return fmt.Errorf("cannot authenticate the service user: %w", err)
	}
	r.Header.Set(tokenHeader, c.Token())
	return nil
}

func (s Service) renew(ctx context.Context, r *http.Request) (bool, error) {
	c, err := s(ctx)
	if err == nil {
		err = c.Reauthenticate(ctx, r.Header.Get(tokenHeader))
	}
	if err != nil {
		return false, fmt.Errorf("cannot authenticate the service user again: %w", err)
	}
	return true, nil
}

// request is a question to a server.
type request struct {
	method, path string
	query        url.Values
	kind         string // of the body
	body         []byte
	stream       bool // the answer is lines, which come when they come
}

// open sends a request and gives the answer, whose body is to be closed. The error may be
// a *failure.
func (s *server) open(ctx context.Context, q request) (*http.Response, error) {
	for again := false; ; again = true {
		address := s.base + q.path
		if len(q.query) > 0 {
			address += "?" + q.query.Encode()
		}
		r, err := http.NewRequestWithContext(ctx, q.method, address, bytes.NewReader(q.body))
		if err != nil {
			return nil, err
		}
		if q.kind != "" {
			r.Header.Set("Content-Type", q.kind)
		}
		// Gnocchi tells of errors in JSON only to those who take nothing else.
		r.Header.Set("Accept", "application/json")
		if q.stream {
			r.Header.Set("Accept", "*/*")
		}
		r.Header.Set("User-Agent", "nepho")
		if err := s.who.apply(ctx, r); err != nil {
			return nil, err
		}
		resp, err := s.client.Do(r)
		if err != nil {
			return nil, s.unreached(err)
		}
		if resp.StatusCode >= 200 && resp.StatusCode < 300 {
			return resp, nil
		}
		f := &failure{server: s.name, status: resp.StatusCode, location: resp.Header.Get("Location")}
		f.body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return nil, fmt.Errorf("%w; its body ends early: %w", f, err)
		}
		if f.status != http.StatusUnauthorized || again {
			return nil, f
		}
		switch renewed, err := s.who.renew(ctx, r); {
		case err != nil:
			return nil, err
		case !renewed:
			return nil, f
		}
	}
}

// ask sends a request and gives the body of the answer and its header.
func (s *server) ask(ctx context.Context, q request) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	resp, err := s.open(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // all that counts was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("the answer of %s ends early: %w", s.name, err)
	case len(body) > maxAnswer:
		return nil, nil, fmt.Errorf("the answer of %s is longer than %d MiB: ask for fewer series, or for a shorter time", s.name, maxAnswer>>20)
	}
	return body, resp.Header, nil
}
