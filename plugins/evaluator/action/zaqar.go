package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// Zaqar does actions zaqar and trust+zaqar: it posts to queues of OpenStack's Zaqar (API
// version 2), whose URL is that of the public service messaging in Keystone's catalogue.
//
//	zaqar://?topic=T&subscriber=S&ttl=3600   queue ALARM-T of the service user's project, with subscribers
//	zaqar://?queue_name=Q&project_id=P&paths=/messages&methods=POST&expires=E&signature=S
//	trust+zaqar://?queue_name=Q              queue of the project of the one who made the alarm
type Zaqar struct {
	keystone *auth.Keystone
	trusts   *Trusts // nil without trusts
	client   string  // an id, which Zaqar asks for
}

// NewZaqar prepares to post to queues.
func NewZaqar(k *auth.Keystone, t *Trusts) *Zaqar {
	return &Zaqar{keystone: k, trusts: t, client: uuid.NewString()}
}

// noTrusts is why there are none.
const noTrusts = "trusts need a service user with a password, not an application credential"

// queueName is how queues may be called.
var queueName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// posting is an action, taken apart.
type posting struct {
	queue       string
	signed      http.Header // of a URL that was signed beforehand; nil: it needs a token
	subscribers []string
	ttl         int // of subscriptions, in seconds
}

// CheckZaqar says why a URL zaqar or trust+zaqar is none.
func CheckZaqar(u *url.URL) error {
	_, err := readPosting(u, &store.Delivery{})
	return err
}

// readPosting takes an action apart.
func readPosting(u *url.URL, d *store.Delivery) (*posting, error) {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("what is behind the question mark can't be understood")
	}
	p := &posting{queue: q.Get("queue_name")}
	switch {
	case strings.HasPrefix(u.Scheme, "trust+"):
		if p.queue == "" {
			return nil, errors.New("queue_name is missing")
		}
	case p.queue != "":
		p.signed = http.Header{
			"Url-Expires": {q.Get("expires")}, "Url-Methods": {q.Get("methods")}, "Url-Paths": {q.Get("paths")}, "Url-Signature": {q.Get("signature")},
		}
		if project := q.Get("project_id"); project != "" {
			p.signed.Set("X-Project-Id", project)
		}
		for _, values := range p.signed {
			if strings.ContainsAny(values[0], "\r\n\x00") {
				return nil, errors.New("it has characters that no header can have")
			}
		}
	case q.Get("topic") == "":
		return nil, errors.New("topic, or queue_name of a signed URL, is missing")
	default:
		p.queue = d.Alarm.String() + "-" + last(q["topic"])
	}
	if !queueName.MatchString(p.queue) {
		return nil, fmt.Errorf("a queue can't be called %q: at most 64 letters, digits, _ and -", p.queue)
	}
	if strings.HasPrefix(u.Scheme, "trust+") {
		return p, nil
	}
	p.subscribers, p.ttl = q["subscriber"], 3600
	if ttl := last(q["ttl"]); ttl != "" {
		if p.ttl, err = strconv.Atoi(ttl); err != nil {
			return nil, fmt.Errorf("ttl %q is no number of seconds", ttl)
		}
	}
	return p, nil
}

func last(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

// Send implements [Sender].
func (z *Zaqar) Send(ctx context.Context, u *url.URL, d *store.Delivery) error {
	p, err := readPosting(u, d)
	if err != nil {
		return &Refused{Reason: "the action can't be understood: " + err.Error()}
	}
	service, err := z.keystone.Service(ctx)
	if err != nil {
		return nameless(err)
	}
	where, err := service.EndpointLocator(gophercloud.EndpointOpts{Type: "messaging", Availability: gophercloud.AvailabilityPublic})
	if err != nil {
		return fmt.Errorf("there is no public service of the type messaging in Keystone's catalogue: %w", err)
	}
	where = strings.TrimSuffix(strings.TrimSuffix(where, "/"), "/v2") + "/v2/queues/" + p.queue
	do := func(headers http.Header) error { return z.post(ctx, service.HTTPClient, where, p, d, headers) }
	switch {
	case p.signed != nil:
		return do(p.signed)
	case strings.HasPrefix(u.Scheme, "trust+"):
		if z.trusts == nil {
			return &Refused{Reason: noTrusts}
		}
		trust, _, err := untrusted(u)
		if err != nil {
			return err
		}
		return z.trusts.with(ctx, trust, func(token string) error { return do(http.Header{"X-Auth-Token": {token}}) })
	}
	token := service.Token()
	err = do(http.Header{"X-Auth-Token": {token}})
	var refused *Refused
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		if err := service.Reauthenticate(ctx, token); err != nil {
			return nameless(err)
		}
		return do(http.Header{"X-Auth-Token": {service.Token()}})
	}
	return err
}

// post adds the subscribers of a queue, and a message to it. A queue is made by that.
func (z *Zaqar) post(ctx context.Context, client http.Client, where string, p *posting, d *store.Delivery, headers http.Header) error {
	for _, s := range p.subscribers {
		body, err := json.Marshal(map[string]any{"subscriber": s, "ttl": p.ttl, "options": struct{}{}})
		if err != nil {
			return &Refused{Reason: err.Error()}
		}
		err = z.call(ctx, client, where+"/subscriptions", string(body), headers)
		var refused *Refused
		if errors.As(err, &refused) && refused.Status == http.StatusConflict {
			continue // it subscribes already
		}
		if err != nil {
			return err
		}
	}
	// The body may have numbers as Python writes them, which are no JSON.
	return z.call(ctx, client, where+"/messages", `{"messages": [{"body": `+d.Body+`}]}`, headers)
}

func (z *Zaqar) call(ctx context.Context, client http.Client, where, body string, headers http.Header) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, where, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("the URL of Zaqar in Keystone's catalogue can't be used: %w", err)
	}
	r.Header = headers.Clone()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Client-Id", z.client)
	r.Header.Set("User-Agent", "nepho")
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	drain(answer.Body)
	return verdict(answer)
}
