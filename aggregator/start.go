package aggregator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/promql"
	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

// store is an instance: its options, and what Start makes of them.
type store struct {
	options

	instance string
	log      *slog.Logger
	objects  objects.Store
	index    *index.Index
	engine   *engine.Engine
	intake   *intake
	shipper  *shipper // nil without S3 or SQLite

	// expressions evaluates what other plugins ask, beside the HTTP API.
	expressions *promql.Server

	server  *web.Server // nil without an API
	address string      // where it listens

	work sync.WaitGroup // what runs until end is called
	end  context.CancelFunc
}

// gcPercent is how much garbage, in percent of what is in use, waits for the next
// collection. The points in memory are most of what is in use, and have no pointers, so collections
// are cheap, and half the usual garbage saves a quarter of the memory.
const gcPercent = 50

// Start implements sdk.Starter. Its order is that in which the parts need each
// other; when one fails, those before it are closed again.
func (s *store) Start(ctx context.Context, env sdk.Env) (err error) {
	debug.SetGCPercent(gcPercent)
	s.instance, s.log = env.Instance, env.Log
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
	defined, problems := s.define()
	if len(problems) > 0 {
		return config.Join(problems)
	}
	who, err := auth.New(s.Options, s.log)
	if err != nil {
		return err
	}
	if s.Path == "" {
		s.Path = env.StateDir
	}
	if s.Path == "" {
		return errors.New("there is no folder to keep anything in: set path")
	}
	if err := os.MkdirAll(s.Path, 0o750); err != nil {
		return fmt.Errorf("cannot make the folder of the aggregator: %w", err)
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	applied, err := defined.Apply(ctx, s.index, s.log)
	if err != nil {
		return err
	}
	s.intake = &intake{
		x: s.index, engine: s.engine, creator: s.Creator, tell: newTeller(s.log, time.Now),
		known: newKnown(applied, s.index, s.CacheResources, s.Unknown == "drop"),
	}
	s.index.OnChange(s.intake.known.change)
	if s.sharedIndex() {
		s.intake.known.fresh = index.Staleness
	}
	s.expressions = s.newPromQL(nil)
	s.work.Go(func() { s.purge(background) })
	if s.shipper != nil {
		s.work.Go(func() { s.shipper.run(background, s.S3.ShipIndex) })
	}
	if s.Listen == "" {
		return nil
	}
	return s.serve(ctx, who)
}

// inTime is a context that ends a little earlier than another. What is told after a
// deadline of the host's is not heard: why an S3 server or a database does not answer
// would be in the log only.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Second, time.Until(deadline)/10)))
}

// openIndex opens the objects and the index.
func (s *store) openIndex(ctx context.Context) (err error) {
	ctx, cancel := inTime(ctx)
	defer cancel()
	if s.objects, err = s.openObjects(ctx); err != nil {
		return err
	}
	if s.S3 != nil && !s.sharedIndex() {
		s.shipper = &shipper{s: s, path: s.indexPath()}
		if _, err = s.shipper.restore(ctx, s.objects); err != nil {
			return err
		}
	}
	s.index, err = index.Open(ctx, index.Options{URL: s.indexPath(), DefaultPolicies: s.DefaultPolicies, CacheSize: s.CacheMetrics, Log: s.log})
	return err
}

// open opens the objects, the index and the engine.
func (s *store) open(ctx context.Context) error {
	if err := s.openIndex(ctx); err != nil {
		return err
	}
	if err := s.bind(ctx); err != nil {
		return err
	}
	policies, err := s.index.Policies(ctx)
	if err != nil {
		return err
	}
	o := engine.Options{
		Dir: filepath.Join(s.Path, engineFolder), Objects: s.objects, Sync: s.Sync, Checkpoint: s.Checkpoint, HeadLimit: int64(s.HeadLimit),
		MaxFuture: s.MaxFuture, Alive: s.index.Alive, Log: s.log,
	}
	if s.S3 != nil {
		o.Ship, o.CacheLimit = s.S3.Ship, int64(s.S3.Cache)
	}
	if s.engine, err = engine.Open(ctx, o, policies); err != nil {
		return fmt.Errorf("cannot open the measures in %s: %w", s.Path, err)
	}
	s.index.OnPolicy(s.engine.SetPolicy)
	// An index that was restored from a copy, or made anew, does not have all metrics that
	// the engine has measures of; new ones must not get theirs.
	if err := s.index.Reserve(ctx, s.engine.Highest()); err != nil || s.shipper == nil {
		return err
	}
	return s.shipper.follow(ctx, s.engine)
}

// Where in path the objects are, and where the engine has its log and its cache.
const (
	objectFolder = "objects"
	engineFolder = "data"
)

func (s *store) openObjects(ctx context.Context) (objects.Store, error) {
	if s.S3 == nil {
		return objects.Local(filepath.Join(s.Path, objectFolder))
	}
	return objects.S3(ctx, objects.S3Options{
		Endpoint: s.S3.Endpoint, Region: s.S3.Region, Bucket: s.S3.Bucket, Prefix: s.S3.Prefix, AccessKey: s.S3.AccessKey,
		SecretKey: s.S3.SecretKey, CAFile: s.S3.CA, Addressing: s.S3.Addressing, Log: s.log,
	})
}

// drain is how long requests that are under way may take when the store stops.
const drain = 3 * time.Second

// Stop implements sdk.Stopper. What was acknowledged is in the log, so nothing is
// lost if it is not let finish.
func (s *store) Stop(ctx context.Context) error {
	var errs []error
	if s.server != nil {
		ctx, cancel := context.WithTimeout(ctx, drain)
		errs = append(errs, s.server.Stop(ctx))
		cancel()
	}
	if s.end != nil {
		s.end()
		s.work.Wait()
	}
	if s.engine != nil {
		err := s.engine.Close(ctx)
		if err != nil && ctx.Err() != nil {
			s.log.Info("there was no time for a checkpoint; the next start reads the log instead")
			err = nil
		}
		errs = append(errs, err)
	}
	if s.index != nil {
		if s.shipper != nil && s.shipper.owner != nil {
			if err := s.shipper.ship(ctx); !errors.As(err, new(*engine.FencedError)) {
				errs = append(errs, err)
			}
		}
		errs = append(errs, s.index.Close())
	}
	s.server, s.end, s.engine, s.index, s.shipper = nil, nil, nil, nil, nil
	return errors.Join(errs...)
}
