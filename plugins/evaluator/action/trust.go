package action

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/trusts"
	"golang.org/x/sync/singleflight"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// Trusts makes, uses and removes trusts of Keystone (OS-TRUST), by which the service user
// acts in the name of users. Its errors name no trust, for whoever knows one of theirs
// could use it. Its methods may be called concurrently.
type Trusts struct {
	keystone *auth.Keystone
	o        auth.KeystoneOptions

	calls singleflight.Group // one question a trust at a time
	mu    sync.Mutex
	known map[string]scoped // by trust
}

// scoped is a token that a trust gave.
type scoped struct {
	token string
	until time.Time
}

const (
	// maxScoped is how many tokens are kept.
	maxScoped = 10000
	// early is how long before its end a token is not used any more.
	early = time.Minute
)

// NewTrusts prepares to use the trusts of a service user. There can be none with an
// application credential, whose tokens Keystone binds to their own project.
func NewTrusts(k *auth.Keystone, o auth.KeystoneOptions) *Trusts {
	return &Trusts{keystone: k, o: o, known: map[string]scoped{}}
}

// Create makes a trust between the owner of a token and the service user, with all roles
// that the owner has. It ends when it is deleted.
func (t *Trusts) Create(ctx context.Context, who auth.Identity, token string) (id string, err error) {
	if who.Project == "" {
		return "", &auth.Refusal{Code: http.StatusForbidden, Reason: "A trust needs a token for a project."}
	}
	service, err := t.keystone.Service(ctx)
	if err != nil {
		return "", away(err)
	}
	result, ok := service.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return "", errors.New("the service user is not named by Keystone")
	}
	trustee, err := result.ExtractUser()
	if err != nil {
		return "", fmt.Errorf("cannot find out who the service user is: %w", err)
	}
	o := trusts.CreateOpts{Impersonation: true, TrustorUserID: who.User, TrusteeUserID: trustee.ID, ProjectID: who.Project}
	for _, role := range who.Roles {
		o.Roles = append(o.Roles, trusts.Role{Name: role})
	}
	made, err := trusts.Create(ctx, as(service, token), o).Extract()
	switch code := status(err); {
	case err == nil:
		return made.ID, nil
	case code/100 == 4 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests:
		return "", &auth.Refusal{Code: http.StatusForbidden, Reason: fmt.Sprintf("Keystone makes no trust with this token (%d): application credentials have to be unrestricted, and tokens of trusts can't be used.", code)}
	}
	return "", away(err)
}

// away is the answer to a user when Keystone gives none.
func away(err error) error {
	return fmt.Errorf("%w (%w)", &auth.Refusal{Code: http.StatusServiceUnavailable, Reason: "Keystone cannot be asked for a trust. Please try again.", RetryAfter: 5 * time.Second}, nameless(err))
}

// Delete removes a trust, in the name of the one who made it or, if that does not work any more,
// as the service user, who needs the role admin then: otherwise the error is a [*Refused]. One that
// is gone is no error.
func (t *Trusts) Delete(ctx context.Context, id string) error {
	service, err := t.keystone.Service(ctx)
	if err != nil {
		return nameless(err)
	}
	token, err := t.Token(ctx, id)
	if err == nil {
		err = trusts.Delete(ctx, as(service, token), id).ExtractErr()
	}
	t.forget(id, token)
	if err == nil {
		return nil
	}
	switch err := trusts.Delete(ctx, service, id).ExtractErr(); {
	case err == nil, status(err) == http.StatusNotFound:
		return nil
	case status(err) == http.StatusForbidden:
		return &Refused{Reason: "Keystone lets the service user remove the trust neither in its owner's name, who or whose roles may be gone, nor in its own: give it the role admin", Status: http.StatusForbidden}
	default:
		return nameless(err)
	}
}

// as gives a client that uses a token, and does not get another one.
func as(service *gophercloud.ServiceClient, token string) *gophercloud.ServiceClient {
	p := &gophercloud.ProviderClient{IdentityBase: service.IdentityBase, IdentityEndpoint: service.IdentityEndpoint, HTTPClient: service.HTTPClient, UserAgent: service.UserAgent}
	p.SetToken(token)
	return &gophercloud.ServiceClient{ProviderClient: p, Endpoint: service.Endpoint}
}

// Token gives a token by which the service user acts for the one who made a trust. Its
// error is a [*Refused] if the trust is good for nothing any more.
func (t *Trusts) Token(ctx context.Context, trust string) (string, error) {
	t.mu.Lock()
	s, ok := t.known[trust]
	t.mu.Unlock()
	if ok && time.Now().Before(s.until) {
		return s.token, nil
	}
	// The answer is for all deliveries with this trust, so that the first one's end must not
	// end the question.
	answer := t.calls.DoChan(trust, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.o.Timeout)
		defer cancel()
		return t.ask(ctx, trust)
	})
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case a := <-answer:
		if a.Err != nil {
			return "", a.Err
		}
		return a.Val.(string), nil
	}
}

func (t *Trusts) ask(ctx context.Context, trust string) (string, error) {
	service, err := t.keystone.Service(ctx)
	if err != nil {
		return "", nameless(err)
	}
	o := tokens.AuthOptions{Username: t.o.Username, Password: t.o.Password, DomainName: t.o.UserDomain}
	trusted := o
	trusted.Scope.TrustID = trust
	made, err := tokens.Create(ctx, as(service, ""), &trusted).Extract()
	switch code := status(err); {
	case code == http.StatusUnauthorized && tokens.Create(ctx, as(service, ""), &o).Err != nil:
		return "", errors.New("the service user is not let in by Keystone any more")
	case code == http.StatusUnauthorized, code == http.StatusNotFound:
		// Keystone says of an unknown trust what it says of a wrong password.
		return "", &Refused{Reason: "Keystone does not know the alarm's trust any more: write the alarm's actions anew"}
	case code == http.StatusForbidden:
		return "", &Refused{Reason: "Keystone does not accept the alarm's trust any more, for its user or their roles are gone: write the alarm's actions anew"}
	case err != nil:
		return "", fmt.Errorf("there is no token for the alarm's trust: %w", nameless(err))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= maxScoped {
		clear(t.known) // rarely; they are got again
	}
	t.known[trust] = scoped{token: made.ID, until: made.ExpiresAt.Add(-early)}
	return made.ID, nil
}

// forget has the next token of a trust be a new one, if it would be this one.
func (t *Trusts) forget(trust, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known[trust].token == token {
		delete(t.known, trust)
	}
}

// with does something with a token of a trust, and once more with a new one if that is
// refused as 401: it may have been revoked.
func (t *Trusts) with(ctx context.Context, trust string, do func(token string) error) error {
	for again := false; ; again = true {
		token, err := t.Token(ctx, trust)
		if err != nil {
			return err
		}
		err = do(token)
		var refused *Refused
		if again || !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
			return err
		}
		t.forget(trust, token)
	}
}

// status is that of an answer of Keystone that was not expected; 0: there was none.
func status(err error) int {
	var e gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &e) {
		return e.Actual
	}
	return 0
}

// nameless makes an error without URLs and without what Keystone says, both of which may
// name a trust.
func nameless(err error) error {
	if code := status(err); code != 0 {
		return fmt.Errorf("the answer of Keystone is %d %s", code, http.StatusText(code))
	}
	var fault *url.Error
	if errors.As(err, &fault) {
		return fmt.Errorf("cannot ask Keystone: %w", fault.Err)
	}
	return fmt.Errorf("cannot ask Keystone: %w", err)
}

// TrustHTTP does actions trust+http and trust+https: it posts to webhooks with a token of the
// one who made the alarm.
type TrustHTTP struct {
	HTTP   *HTTP
	Trusts *Trusts
}

// Send implements [Sender].
func (s TrustHTTP) Send(ctx context.Context, u *url.URL, d *store.Delivery) error {
	trust, plain, err := untrusted(u)
	if err != nil {
		return err
	}
	return s.Trusts.with(ctx, trust, func(token string) error {
		return s.HTTP.Post(ctx, plain, d, http.Header{"X-Auth-Token": {token}})
	})
}

// Untrust does what is owed to [store.TrustTarget]: it removes trusts that are not needed any
// more.
type Untrust struct {
	Store  *store.Store
	Trusts *Trusts
}

// Send implements [Sender]. A trust that its alarm has after all stays: when the alarm was
// stored, the database may have gone before it could say so.
func (s Untrust) Send(ctx context.Context, u *url.URL, d *store.Delivery) error {
	switch a, err := s.Store.Alarm(ctx, d.Alarm); {
	case err == nil && a.Trust() == u.Opaque:
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	return s.Trusts.Delete(ctx, u.Opaque)
}

// untrusted takes an action apart: its trust, and the URL without it.
func untrusted(u *url.URL) (trust string, plain *url.URL, err error) {
	if u.User == nil || u.User.Username() == "" {
		return "", nil, &Refused{Reason: "the action has no trust: write the alarm's actions anew by the API"}
	}
	p := *u
	p.User, p.Scheme = nil, strings.TrimPrefix(u.Scheme, "trust+")
	return u.User.Username(), &p, nil
}
