package events

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/plugins/events/api"
	"github.com/nephoscope/nepho/plugins/events/chunk"
	"github.com/nephoscope/nepho/plugins/events/store"
	"github.com/nephoscope/nepho/sdk"
)

// storage is an instance: its options, and what Start makes of them.
type storage struct {
	options

	log    *slog.Logger
	store  *store.Store
	server *web.Server // nil without an API

	samples sync.Once // tells of samples, which are left out

	work sync.WaitGroup // what runs until end is called
	end  context.CancelFunc
}

// Start implements sdk.Starter.
func (s *storage) Start(ctx context.Context, env sdk.Env) (err error) {
	s.log = env.Log
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var background context.Context
	background, s.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(ctx))
		}
	}()
	who, err := auth.New(s.Options, s.log)
	if err != nil {
		return err
	}
	where := s.Database
	if where == "" {
		if env.StateDir == "" {
			return errors.New("there is no folder to keep events in: set database")
		}
		where = filepath.Join(env.StateDir, "events.sqlite")
	}
	if s.store, err = store.Open(ctx, store.Options{URL: where, Retention: s.Retention, Log: s.log}); err != nil {
		return err
	}
	s.work.Go(func() { s.store.Run(background) })
	if s.Listen == "" {
		return nil
	}
	return s.serve(ctx, who)
}

// serve begins to serve the API.
func (s *storage) serve(ctx context.Context, who auth.Authenticator) (err error) {
	h := api.New(api.Options{
		Store: s.store, DefaultLimit: s.DefaultLimit,
		Web: s.Site(who, s.MaxBody, s.log),
	})
	s.server, err = s.Serve(ctx, "the API of events", s.Listen, h, s.log)
	return err
}

// drain is how long requests that are under way may take when the storage stops.
const drain = 3 * time.Second

// Stop implements sdk.Stopper.
func (s *storage) Stop(ctx context.Context) error {
	var errs []error
	if s.server != nil {
		ctx, cancel := context.WithTimeout(ctx, drain)
		if err := s.server.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) { // those that take longer are cut off
			errs = append(errs, err)
		}
		cancel()
	}
	if s.end != nil {
		s.end()
		s.work.Wait()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	s.server, s.end, s.store = nil, nil, nil
	return errors.Join(errs...)
}

// Publish implements sdk.Publisher. What it acknowledges is durable, and events that
// come twice are there once. Samples that a pipeline sends along are left out: nobody
// looks for them here.
func (s *storage) Publish(ctx context.Context, b *sdk.Batch) error {
	if b.Len() > 0 {
		s.samples.Do(func() {
			s.log.Warn("samples come to the storage of events, which leaves them out: give it a pipeline with meters = [\"!*\"]")
		})
	}
	if b.Events() == 0 {
		return nil
	}
	events := make([]sdk.Event, 0, b.Events())
	var long []int
	for e := range b.Events() {
		event := b.Event(e)
		if chunk.Size(&event) > chunk.MaxSize {
			long = append(long, b.Len()+e)
			continue
		}
		events = append(events, event)
	}
	if _, err := s.store.Add(ctx, events); err != nil {
		return fmt.Errorf("cannot store events: %w", err)
	}
	if len(long) > 0 {
		return sdk.RefuseRows(fmt.Errorf("events of more than %d MiB cannot be stored", chunk.MaxSize>>20), long)
	}
	return nil
}

// Query implements sdk.Storage: there are no samples to ask for.
func (s *storage) Query(context.Context, sdk.Query) iter.Seq2[*sdk.Batch, error] {
	return func(yield func(*sdk.Batch, error) bool) {
		yield(nil, errors.New("the storage events has no samples; ask its HTTP API for events"))
	}
}
