package auth

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"golang.org/x/sync/singleflight"
)

// Keystone knows users by their tokens, which it has OpenStack's Keystone check.
// What Keystone says of a token is remembered for a while. Without an answer
// nobody is let in, and nobody is told that their token is wrong.
type Keystone struct {
	o         KeystoneOptions
	log       *slog.Logger
	now       func() time.Time
	transport http.RoundTripper
	challenge string

	calls  singleflight.Group // one question a token at a time
	mu     sync.Mutex
	known  cache
	client *gophercloud.ServiceClient // of the service user; nil until it is authenticated
	// silentUntil is when Keystone is asked again after it gave no answer.
	silentUntil time.Time
	silent      error
	told        bool      // that it gives no answer
	stumbled    time.Time // when the log was told that it failed about a token
}

const (
	// maxToken is the longest token in bytes. Those of Fernet have some 300, of JWS some
	// 1,000. Servers in front of Keystone do not let much longer headers through, in ways
	// that look as if Keystone were away: uwsgi has 4 KiB for the whole head of a request.
	maxToken = 2 << 10
	// rejected is how long a token that Keystone does not know is refused without
	// asking again.
	rejected = 30 * time.Second
	// silence is how long Keystone is not asked after it gave no answer, so that
	// requests do not all wait for it.
	silence = time.Second
	// retryAfter is when clients may ask again after that.
	retryAfter = 5 * time.Second
)

// NewKeystone prepares to ask Keystone. It is asked for the first time when the
// first request comes, so that it may start later.
func NewKeystone(o KeystoneOptions, log *slog.Logger) (*Keystone, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("cannot read keystone.ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("keystone.ca: there is no certificate in %s", o.CA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &Keystone{
		o: o, log: log, now: time.Now, transport: transport,
		challenge: fmt.Sprintf("Keystone uri=%q", o.AuthURL),
		known:     newCache(o.CacheSize),
	}, nil
}

// Close closes idle connections.
func (k *Keystone) Close() { k.transport.(*http.Transport).CloseIdleConnections() }

// Identify checks the token of a request.
func (k *Keystone) Identify(r *http.Request) (Identity, error) {
	token := strings.TrimSpace(r.Header.Get("X-Auth-Token"))
	if token == "" || len(token) > maxToken || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return Identity{}, k.refuse("A token of Keystone is needed in the header X-Auth-Token.")
	}
	// Tokens are secrets: their digests are kept.
	id := sha256.Sum256([]byte(token))
	k.mu.Lock()
	e, ok := k.known.get(id, k.now())
	silent := k.silent
	if k.now().After(k.silentUntil) {
		silent = nil
	}
	k.mu.Unlock()
	switch {
	case ok:
		return e.who, e.refusal()
	case silent != nil:
		return Identity{}, unavailable()
	}
	// The answer is for all requests with this token, so that the first one's end
	// must not end the question.
	answer := k.calls.DoChan(string(id[:]), func() (any, error) {
		// Another request's question may have been answered since this one looked.
		k.mu.Lock()
		e, ok := k.known.get(id, k.now())
		k.mu.Unlock()
		if ok {
			return e, nil
		}
		return k.ask(token, id)
	})
	select {
	case <-r.Context().Done():
		return Identity{}, r.Context().Err()
	case a := <-answer:
		if a.Err != nil {
			return Identity{}, unavailable()
		}
		e := a.Val.(entry)
		return e.who, e.refusal()
	}
}

func (k *Keystone) refuse(reason string) *Refusal {
	return &Refusal{Code: http.StatusUnauthorized, Reason: reason, Challenge: k.challenge}
}

func unavailable() *Refusal {
	return &Refusal{
		Code: http.StatusServiceUnavailable, RetryAfter: retryAfter,
		Reason: "Keystone cannot be asked whether the token is valid. Please try again.",
	}
}

// ask asks Keystone about a token. The error means that there is no answer.
func (k *Keystone) ask(token string, id [sha256.Size]byte) (entry, error) {
	ctx, cancel := context.WithTimeout(context.Background(), k.o.Timeout)
	defer cancel()
	e, err := k.validate(ctx, token)
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.silent, k.silentUntil = err, now.Add(silence)
		if !k.told {
			k.log.Error("Keystone cannot be asked about tokens; requests are answered with 503", "url", k.o.AuthURL, "error", err)
			k.told = true
		}
		return entry{}, err
	}
	if k.told {
		k.log.Info("Keystone answers again", "url", k.o.AuthURL)
	}
	k.silent, k.told = nil, false
	if until := now.Add(k.o.Cache); e.why == nil && until.Before(e.until) {
		e.until = until
	}
	k.known.put(id, e)
	return e, nil
}

// validate asks Keystone about a token, as the service user.
func (k *Keystone) validate(ctx context.Context, token string) (entry, error) {
	client, err := k.Service(ctx)
	if err != nil {
		return entry{}, fmt.Errorf("cannot authenticate the service user: %w", err)
	}
	var valid struct {
		tokens.Token
		User    tokens.User    `json:"user"`
		Roles   []tokens.Role  `json:"roles"`
		Project tokens.Project `json:"project"`
		Domain  tokens.Domain  `json:"domain"`
	}
	result := tokens.Get(ctx, client, token)
	switch err := result.ExtractInto(&valid); {
	case isNone(result.Err):
		return entry{why: k.refuse("The token is not valid: it has expired, was revoked, or never was one."), until: k.now().Add(min(rejected, k.o.Cache))}, nil
	case gophercloud.ResponseCodeIs(result.Err, http.StatusInternalServerError):
		// It may be this token that Keystone stumbles over, which must not keep out others.
		k.stumbles(err)
		return entry{why: unavailable(), until: k.now().Add(silence)}, nil
	case err != nil:
		return entry{}, err
	case !valid.ExpiresAt.After(k.now()):
		return entry{why: k.refuse("The token has expired."), until: k.now().Add(min(rejected, k.o.Cache))}, nil
	}
	who := Identity{User: valid.User.ID, Project: valid.Project.ID, Domain: valid.Domain.ID, Tenant: true}
	for _, role := range valid.Roles {
		who.Roles = append(who.Roles, role.Name)
	}
	return entry{who: who, until: valid.ExpiresAt}, nil
}

// stumbles tells the log, once a minute at most, that Keystone failed about a token.
func (k *Keystone) stumbles(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.now(); now.Sub(k.stumbled) >= time.Minute {
		k.stumbled = now
		k.log.Warn("Keystone failed when it was asked about a token; the request is answered with 503", "url", k.o.AuthURL, "error", err)
	}
}

// isNone reports whether an answer of Keystone, or of a server in front of it, says that a
// token is none: anything else about the request is the same for all tokens. 401 and 403
// are about the service user, and some others about the time.
func isNone(err error) bool {
	var e gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &e) {
		return false
	}
	switch e.Actual {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.Actual >= 400 && e.Actual < 500
}

// Service is a client that has authenticated the service user, and does so again
// when its own token has expired. It may be used concurrently.
func (k *Keystone) Service(ctx context.Context) (*gophercloud.ServiceClient, error) {
	k.mu.Lock()
	client := k.client
	k.mu.Unlock()
	if client != nil {
		return client, nil
	}
	made, err, _ := k.calls.Do("service user", func() (any, error) {
		provider, err := openstack.NewClient(k.o.AuthURL)
		if err != nil {
			return nil, err
		}
		provider.HTTPClient = http.Client{Transport: k.transport, Timeout: k.o.Timeout}
		provider.UserAgent.Prepend("nepho")
		options := gophercloud.AuthOptions{IdentityEndpoint: k.o.AuthURL, AllowReauth: true}
		if k.o.ApplicationCredentialID != "" {
			options.ApplicationCredentialID, options.ApplicationCredentialSecret = k.o.ApplicationCredentialID, k.o.ApplicationCredentialSecret
		} else {
			options.Username, options.Password, options.DomainName = k.o.Username, k.o.Password, k.o.UserDomain
			options.Scope = &gophercloud.AuthScope{ProjectName: k.o.Project, DomainName: k.o.ProjectDomain}
		}
		if err := openstack.Authenticate(ctx, provider, options); err != nil {
			return nil, err
		}
		client, err := openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
		if err != nil {
			return nil, err
		}
		// The URL that is configured is the one that can be reached; that of the
		// catalogue may be for others.
		client.Endpoint = strings.TrimSuffix(strings.TrimSuffix(k.o.AuthURL, "/"), "/v3") + "/v3/"
		k.mu.Lock()
		k.client = client
		k.mu.Unlock()
		return client, nil
	})
	if err != nil {
		return nil, err
	}
	return made.(*gophercloud.ServiceClient), nil
}

// entry is what Keystone said of a token.
type entry struct {
	who   Identity
	why   *Refusal // nil if the token is valid
	until time.Time
}

// refusal is why the token is refused, as an error.
func (e entry) refusal() error {
	if e.why != nil {
		return e.why
	}
	return nil
}

// cache keeps entries in two generations: when the young one is full, it becomes
// the old one, which goes. So it is bounded, and what is asked for stays.
type cache struct {
	size       int // of a generation
	young, old map[[sha256.Size]byte]entry
}

func newCache(size int) cache {
	return cache{size: max(1, size/2), young: map[[sha256.Size]byte]entry{}}
}

// get is the entry of a token that still counts.
func (c *cache) get(id [sha256.Size]byte, now time.Time) (entry, bool) {
	e, ok := c.young[id]
	if !ok {
		if e, ok = c.old[id]; ok {
			c.put(id, e)
		}
	}
	return e, ok && now.Before(e.until)
}

func (c *cache) put(id [sha256.Size]byte, e entry) {
	if _, ok := c.young[id]; !ok && len(c.young) >= c.size {
		c.young, c.old = map[[sha256.Size]byte]entry{}, c.young
	}
	c.young[id] = e
}
