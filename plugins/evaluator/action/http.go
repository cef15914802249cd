package action

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/plugins/evaluator/tlsclient"
	"github.com/nephoscope/nepho/sdk/config"
)

// Target says how to reach webhooks whose URL begins with URL.
type Target struct {
	URL string `toml:"url" required:"true" doc:"Beginning of the URLs that this is about, such as https://hooks.example.com/; the longest that fits counts."`
	TLS
	Secret string `toml:"secret" secret:"true" doc:"Key by which requests are signed, in the header X-Nepho-Signature; none if empty."`
}

// Validate implements the check of options.
func (t *Target) Validate() error {
	errs := []error{t.TLS.Validate()}
	if u, err := url.Parse(t.URL); err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, config.KeyError("url", "%q is no beginning of a URL such as https://hooks.example.com/pager", t.URL))
	}
	return errors.Join(errs...)
}

// TLS says whom to trust, and who one is.
type TLS struct {
	CA       string `toml:"ca" doc:"PEM file with authorities that are trusted besides the system's."`
	Cert     string `toml:"cert" doc:"PEM file with a client certificate, and those that vouch for it."`
	Key      string `toml:"key" doc:"PEM file with the certificate's key."`
	Insecure bool   `toml:"insecure" doc:"Believe any certificate. ?aodh-alarm-ssl-verify=0 or 1 in an action overrules it."`
}

// Validate implements the check of options.
func (t *TLS) Validate() error {
	if (t.Cert == "") != (t.Key == "") {
		return config.KeyError("cert", "cert and key belong together")
	}
	return nil
}

// HTTP posts to webhooks.
type HTTP struct {
	all     endpoint
	targets []endpoint
}

// endpoint is how some webhooks are reached.
type endpoint struct {
	url                  *url.URL // what theirs begin with
	secret               string
	insecure             bool
	verifying, believing *http.Client
}

// NewHTTP prepares to post: to webhooks that no target is about, as all says.
func NewHTTP(all Target, targets []Target) (*HTTP, error) {
	h := &HTTP{}
	var err error
	if h.all, err = newEndpoint(all); err != nil {
		return nil, err
	}
	for _, t := range targets {
		e, err := newEndpoint(t)
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", t.URL, err)
		}
		h.targets = append(h.targets, e)
	}
	return h, nil
}

func newEndpoint(t Target) (endpoint, error) {
	e := endpoint{secret: t.Secret, insecure: t.Insecure}
	var err error
	if e.url, err = url.Parse(t.URL); err != nil {
		return e, err
	}
	c, err := tlsclient.Config(t.CA, t.Cert, t.Key)
	if err != nil {
		return e, err
	}
	client := func(insecure bool) *http.Client {
		c := c.Clone()
		c.InsecureSkipVerify = insecure
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = c
		transport.MaxIdleConnsPerHost = 16
		return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	e.verifying, e.believing = client(false), client(true)
	return e, nil
}

// Close closes idle connections.
func (h *HTTP) Close() {
	for _, e := range append(h.targets, h.all) {
		e.verifying.CloseIdleConnections()
		e.believing.CloseIdleConnections()
	}
}

func (h *HTTP) endpoint(u *url.URL) *endpoint {
	best := &h.all
	for i := range h.targets {
		if e := &h.targets[i]; e.reaches(u) && (best == &h.all || len(e.url.Path) > len(best.url.Path)) {
			best = e
		}
	}
	return best
}

// reaches reports whether a URL is one that the endpoint is about: on the same server, and
// at its path or below. Texts are not compared, for https://hooks.example.com is also the
// beginning of https://hooks.example.com.evil.example.org, which must not get the secret.
func (e *endpoint) reaches(u *url.URL) bool {
	if server(e.url) != server(u) {
		return false
	}
	rest, ok := strings.CutPrefix(u.Path, e.url.Path)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(e.url.Path, "/"))
}

// server is whom a URL is about: its scheme, host and port.
func server(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// maxRedirects is how many redirections are followed.
const maxRedirects = 5

// Send implements [Sender].
func (h *HTTP) Send(ctx context.Context, u *url.URL, d *store.Delivery) error {
	return h.Post(ctx, u, d, nil)
}

// Post posts a delivery, with more headers. Unlike browsers it posts again where it is
// redirected to, for a transition that arrives as GET without a body tells nothing.
func (h *HTTP) Post(ctx context.Context, u *url.URL, d *store.Delivery, headers http.Header) error {
	verify := u.Query().Get("aodh-alarm-ssl-verify")
	for range maxRedirects + 1 {
		e := h.endpoint(u)
		client := e.verifying
		if verify == "0" || verify == "" && e.insecure {
			client = e.believing
		}
		next, err := post(ctx, client, u, d, e.secret, headers)
		if err != nil || next == nil {
			return err
		}
		if server(next) != server(u) {
			headers, verify = nil, "" // tokens, and what is believed, are for the one they were meant for
		}
		u = next
	}
	return fmt.Errorf("it redirects more than %d times", maxRedirects)
}

// post posts once. It gives where to go next if that is elsewhere.
func post(ctx context.Context, client *http.Client, u *url.URL, d *store.Delivery, secret string, headers http.Header) (next *url.URL, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader([]byte(d.Body)))
	if err != nil {
		return nil, &Refused{Reason: err.Error()}
	}
	for name, values := range headers {
		r.Header[name] = values
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "nepho")
	r.Header.Set("X-Openstack-Request-Id", "req-"+uuid.NewString())
	r.Header.Set("X-Nepho-Delivery-Id", d.ID.String())
	r.Header.Set("X-Nepho-Timestamp", now)
	if secret != "" {
		r.Header.Set("X-Nepho-Signature", "sha256="+Sign(secret, d.ID.String(), now, d.Body))
	}
	answer, err := client.Do(r)
	if err != nil {
		var fault *url.Error
		if errors.As(err, &fault) {
			err = fault.Err // without the URL, which may have a password
		}
		return nil, err
	}
	defer answer.Body.Close()
	drain(answer.Body)
	switch answer.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		next, err := answer.Location()
		if err != nil {
			return nil, fmt.Errorf("it answers %s without saying where to", answered(answer))
		}
		if next.Scheme != "http" && next.Scheme != "https" {
			return nil, &Refused{Reason: fmt.Sprintf("it redirects to %s", next.Scheme)}
		}
		return next, nil
	}
	return nil, verdict(answer)
}

// drain reads a little, so that the connection can be used again.
func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, 64<<10) }

// verdict is what an answer says about a delivery; nil: it was taken.
func verdict(answer *http.Response) error {
	switch code := answer.StatusCode; {
	case code/100 == 2, code == http.StatusSeeOther: // which says where to read what became of it
		return nil
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		if n, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && n > 0 {
			return &Later{After: time.Duration(min(n, 86400)) * time.Second, Reason: "it answers " + answered(answer)}
		}
		return fmt.Errorf("it answers %s", answered(answer))
	case code >= 500, code == http.StatusRequestTimeout:
		return fmt.Errorf("it answers %s", answered(answer))
	default:
		return &Refused{Reason: "it answers " + answered(answer), Status: code}
	}
}

// answered is the status of an answer in words that are ours: those of the answer may be any bytes.
func answered(answer *http.Response) string {
	return strings.TrimSpace(fmt.Sprint(answer.StatusCode, " ", http.StatusText(answer.StatusCode)))
}

// Sign gives the signature of a request: the HMAC-SHA256, in hexadecimal digits, of its
// delivery's id, its timestamp and its body, with full stops between them, as Standard
// Webhooks has it.
func Sign(secret, delivery, timestamp, body string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(delivery + "." + timestamp + "." + body))
	return hex.EncodeToString(m.Sum(nil))
}
