package evaluator

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/plugins/evaluator/action"
	"github.com/nephoscope/nepho/plugins/evaluator/api"
	"github.com/nephoscope/nepho/plugins/evaluator/evaluate"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// evaluator is an instance: its options, and what Start makes of them.
type evaluator struct {
	options

	log     *slog.Logger
	store   *store.Store
	host    *hostHandle
	http    *action.HTTP
	trusts  *action.Trusts // nil without Keystone, and with an application credential
	queue   *action.Queue
	engine  *evaluate.Evaluator
	remotes []interface{ Close() } // servers that are asked by URL
	server  *web.Server            // nil without an API
	taken   atomic.Uint64          // events

	work sync.WaitGroup // what runs until end is called
	end  context.CancelFunc
}

// Start implements sdk.Starter. Its order is that in which the parts need each other;
// when one fails, those before it are closed again.
func (e *evaluator) Start(ctx context.Context, env sdk.Env) (err error) {
	if e.log = env.Log; e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	var background context.Context
	background, e.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Stop(ctx))
		}
	}()
	who, err := auth.New(e.Options, e.log)
	if err != nil {
		return err
	}
	where := e.Database
	if where == "" {
		if env.StateDir == "" {
			return errors.New("there is no folder to keep alarms in: set database")
		}
		where = filepath.Join(env.StateDir, "alarms.sqlite")
	}
	if e.store, err = store.Open(ctx, store.Options{URL: where, History: e.History, Log: e.log}); err != nil {
		return err
	}
	e.host = &hostHandle{}
	if e.http, err = action.NewHTTP(action.Target{TLS: e.Actions.TLS, Secret: e.Actions.Secret}, e.Targets); err != nil {
		return err
	}
	senders, err := e.senders(who)
	if err != nil {
		return err
	}
	e.queue = action.New(action.Options{
		Store: e.store, First: e.Actions.RetryMin, Longest: e.Actions.RetryMax, GiveUp: e.Actions.GiveUp, Timeout: e.Actions.Timeout, Log: e.log,
		Senders: senders, Events: e.host,
	})
	o := evaluate.Options{Store: e.store, Interval: e.Interval, Lag: e.Lag, Owe: e.owe, Record: e.record, Owed: e.queue.Owed, Log: e.log}
	if err := e.ask(who, &o); err != nil {
		return err
	}
	e.engine = evaluate.New(o)
	stamp := e.stamp()
	if err := e.reconcile(ctx); errors.As(err, new(*folderError)) {
		stamp = ""
		e.log.Error("the folder of alarms can't be taken over; those from it stay as they are, and it is tried again", "error", err)
	} else if err != nil {
		return err
	}
	e.work.Go(func() { _ = e.queue.Run(background) }) // ends with background only
	e.work.Go(func() { e.expire(background) })
	if e.RulesFrom != "" {
		e.work.Go(func() {
			tick := time.NewTicker(rescan)
			defer tick.Stop()
			e.followRules(background, tick.C, stamp)
		})
	}
	if e.Listen == "" {
		return nil
	}
	return e.serve(ctx, who)
}

// senders are the ways to do actions, by their schemes.
func (e *evaluator) senders(who auth.Authenticator) (map[string]action.Sender, error) {
	list := map[string]action.Sender{"http": e.http, "https": e.http, "log": action.Log{Log: e.log}, "test": &action.Test{}}
	if e.SMTP.Server != "" {
		mail, err := action.NewMail(e.SMTP)
		if err != nil {
			return nil, err
		}
		list["mailto"] = mail
	}
	if k, ok := who.(*auth.Keystone); ok {
		if e.Keystone.Username != "" {
			e.trusts = action.NewTrusts(k, e.Keystone)
			trusting := action.TrustHTTP{HTTP: e.http, Trusts: e.trusts}
			list["trust+http"], list["trust+https"] = trusting, trusting
			list["trust"] = action.Untrust{Store: e.store, Trusts: e.trusts}
		}
		zaqar := action.NewZaqar(k, e.trusts)
		list["zaqar"], list["trust+zaqar"] = zaqar, zaqar
	}
	return list, nil
}

// serve begins to serve the HTTP API.
func (e *evaluator) serve(ctx context.Context, who auth.Authenticator) (err error) {
	o := api.Options{
		Store: e.store, Evaluator: e.engine, Record: e.record, Owed: e.queue.Owed, Retry: e.queue.Retry, Log: e.log,
		Action: e.supports, MaxActions: max(0, e.MaxActions), Limits: store.Limits{Project: e.ProjectQuota, User: e.UserQuota},
		Web: e.Site(who, e.MaxBody, e.log),
	}
	if e.trusts != nil {
		o.Trusts = e.trusts
	}
	h := api.New(o)
	e.server, err = e.Serve(ctx, "the API of alarms", e.Listen, h, e.log)
	return err
}

// Stop implements sdk.Stopper.
func (e *evaluator) Stop(ctx context.Context) error {
	var errs []error
	if e.server != nil {
		errs = append(errs, e.server.Stop(ctx))
	}
	if e.end != nil {
		e.end()
	}
	e.work.Wait()
	if e.http != nil {
		e.http.Close()
	}
	for _, r := range e.remotes {
		r.Close()
	}
	if e.store != nil {
		errs = append(errs, e.store.Close())
	}
	return errors.Join(errs...)
}

// owe says what a notice makes necessary.
func (e *evaluator) owe(n *evaluate.Notice) []*store.Delivery {
	return action.Owed(n.Alarm, n.Previous, n.Outcome, n.ID, n.At)
}

// record says what a line of history makes necessary.
func (e *evaluator) record(c *store.Change) []*store.Delivery {
	if !e.Events {
		return nil
	}
	return []*store.Delivery{action.Event(c)}
}

// expire deletes what is kept for long enough, until ctx ends.
func (e *evaluator) expire(ctx context.Context) {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		if err := e.store.Expire(ctx, time.Now()); err != nil && ctx.Err() == nil {
			e.log.Warn("old history of alarms could not be deleted; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
