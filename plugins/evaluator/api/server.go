// Package api is the alarm plugin's HTTP API: version 2 of Aodh's, and what goes
// beyond it. Handlers are in files by what they are about; who may do what is in
// access.go, what errors become in errors.go.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/web"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/evaluate"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// Evaluator is told of changes, and judges past data.
type Evaluator interface {
	Put(a *store.Alarm)
	Remove(id uuid.UUID)
	// Doubt: nobody knows whether a change of an alarm was stored.
	Doubt(id uuid.UUID)
	Replay(ctx context.Context, a *def.Alarm, from, to time.Time) (*evaluate.Replayed, error)
}

// Trusts makes the trusts by which actions of users are done in their name. Those that are
// not needed any more are owed to [store.TrustTarget].
type Trusts interface {
	// Create makes a trust of the one who makes a request, whose token is given.
	Create(ctx context.Context, who auth.Identity, token string) (id string, err error)
}

// Options of [New].
type Options struct {
	Store     *store.Store
	Evaluator Evaluator
	// Trusts is nil where there is no Keystone; actions that need one are refused then.
	Trusts Trusts
	// Record writes a change into the pipelines besides the history: deliveries that
	// are stored with it. Owed is told of their targets.
	Record func(c *store.Change) []*store.Delivery
	Owed   func(targets []string)
	// Retry has the deliveries of a target tried again soon.
	Retry func(target string)
	// Action says why an action can't be done here, beyond its scheme; nil: all can.
	Action func(u *url.URL) error
	// MaxActions is the most actions of a state; 0: any number.
	MaxActions int
	// Limits are the most alarms of a project and a user that have no quota; below 0: any
	// number.
	Limits store.Limits
	Web    web.Options
	Log    *slog.Logger
	// Now is the time, [time.Now] if nil.
	Now func() time.Time
}

// Server answers requests. It is an [http.Handler] that may be called concurrently.
type Server struct {
	o    Options
	site *web.Site
}

// New makes a server.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o}
	o.Web.Fail = s.fail
	s.site = web.New(o.Web)
	s.site.Handle("GET /{$}", s.getVersions, web.Public)
	s.site.Handle("GET /healthcheck", func(http.ResponseWriter, *http.Request) error { return nil }, web.Public)
	s.site.Handle("GET /v2/capabilities", s.getCapabilities, web.Public)
	s.handle("GET /v2/alarms", s.listAlarms, web.Unlimited)
	s.handle("POST /v2/alarms", s.postAlarm)
	s.handle("GET /v2/alarms/{id}", s.getAlarm)
	s.handle("PUT /v2/alarms/{id}", s.putAlarm)
	s.handle("DELETE /v2/alarms/{id}", s.deleteAlarm)
	s.handle("GET /v2/alarms/{id}/state", s.getState)
	s.handle("PUT /v2/alarms/{id}/state", s.putState)
	s.handle("GET /v2/alarms/{id}/history", s.getHistory, web.Unlimited)
	s.handle("POST /v2/query/alarms", s.queryAlarms, web.Unlimited)
	s.handle("POST /v2/query/alarms/history", s.queryHistory, web.Unlimited)
	s.handle("GET /v2/quotas", s.getQuotas)
	s.handle("POST /v2/quotas", s.postQuotas)
	s.handle("DELETE /v2/quotas/{project}", s.deleteQuotas)
	s.handle("POST /v2/test", s.postTest)
	s.handle("GET /v2/deliveries", s.getDeliveries)
	s.handle("POST /v2/deliveries/{ref}/retry", s.retryDelivery)
	return s
}

// handle answers a request of those who are somebody: who has a token of Keystone without
// a project may not see what belongs to none.
func (s *Server) handle(pattern string, h web.Handler, options ...web.Option) {
	s.site.Handle(pattern, func(w http.ResponseWriter, r *http.Request) error {
		if who := askerOf(r); who.Tenant && who.Project == "" && !who.admin {
			return errForbidden
		}
		return h(w, r)
	}, options...)
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-Openstack-Request-Id")
	if len(id) != len("req-")+36 {
		id = "req-" + uuid.NewString()
	}
	w.Header().Set("X-Openstack-Request-Id", id)
	s.site.ServeHTTP(w, r)
}

// write answers with JSON.
func write(w http.ResponseWriter, status int, value any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(def.AppendJSON(nil, value)) // if the client went away, nothing can be told it
	return nil
}

func (s *Server) getVersions(w http.ResponseWriter, r *http.Request) error {
	url := s.site.Base(r) + "/v2"
	media := func(base string) def.Object {
		return def.Object{{Name: "base", Value: "application/" + base}, {Name: "type", Value: "application/vnd.openstack.telemetry-v2+" + base}}
	}
	return write(w, http.StatusOK, def.Object{{Name: "versions", Value: def.Object{{Name: "values", Value: []def.Object{{
		{Name: "id", Value: "v2"},
		{Name: "links", Value: []def.Object{
			{{Name: "href", Value: url}, {Name: "rel", Value: "self"}},
			{{Name: "href", Value: "https://docs.openstack.org/"}, {Name: "rel", Value: "describedby"}, {Name: "type", Value: "text/html"}},
		}},
		{Name: "media-types", Value: []def.Object{media("json")}},
		{Name: "status", Value: "stable"},
		{Name: "updated", Value: "2013-02-13T00:00:00Z"},
	}}}}}})
}

func (s *Server) getCapabilities(w http.ResponseWriter, _ *http.Request) error {
	return write(w, http.StatusOK, def.Object{
		{Name: "api", Value: def.Object{
			{Name: "alarms:query:simple", Value: true}, {Name: "alarms:query:complex", Value: true},
			{Name: "alarms:history:query:simple", Value: true}, {Name: "alarms:history:query:complex", Value: true},
		}},
		{Name: "alarm_storage", Value: def.Object{{Name: "storage:production_ready", Value: true}}},
	})
}
