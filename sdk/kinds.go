package sdk

import (
	"context"
	"iter"
	"time"
)

// Pollster measures something each time the host asks.
//
// Poll is called at the instance's interval, never while a call to the same
// instance is under way, and with a context that ends shortly before the
// instance's timeout, so that what was added by then still counts. It adds what it measured to out. An error is logged and counted;
// samples added before it count as measured all the same.
type Pollster interface {
	Poll(ctx context.Context, out *Builder) error
}

// ResourcePollster is a Pollster's counterpart for plugins that measure many
// resources one by one: machines, volumes, switches. Give it to
// [Plugin].ResourcePollster.
//
// The SDK discovers at the start of each poll and then polls up to `concurrency`
// resources at once, each for at most `resource_timeout`; both are options that
// operators set. One that hangs delays no other, and is not polled again
// before its call has returned.
type ResourcePollster interface {
	Discover(ctx context.Context) ([]Resource, error)
	PollResource(ctx context.Context, r Resource, out *Builder) error
}

// Notification waits for what others send.
//
// Listen is called once per instance and runs until ctx ends; if it returns
// earlier, the host calls it again after a pause. It hands each message's
// samples and events to deliver, which blocks while too many are unsettled.
type Notification interface {
	Listen(ctx context.Context, deliver Deliver) error
}

// Deliver takes what fill adds to its builder as one delivery. settled is called
// once, from another goroutine, when the delivery's fate is known: with nil when
// everything made from it is durable, so that its origin may forget it; with an
// error when it must be delivered again; it must not block. Deliver returns an
// error, and settled is not called, when fill does or when ctx ended.
type Deliver func(ctx context.Context, fill func(out *Builder) error, settled func(error)) error

// Transformer makes samples of samples.
//
// Transform is called with one batch at a time per instance, in the order of the
// source. It adds to out what shall go on in the place of in, either row by row,
// or by changing in and handing it to [Builder.Forward], which is much faster.
// What it does not hand on is gone. An error puts the batch aside as a dead
// letter.
//
// A batch is given again when the host cannot know that the first answer got
// through. State kept in a [State] is set back before that, so that a
// transformer need not care.
type Transformer interface {
	Transform(ctx context.Context, in *Batch, out *Builder) error
}

// Flusher is implemented by transformers that emit by time as well. Flush is
// called at the interval that FlushInterval gives once, after Start.
type Flusher interface {
	FlushInterval() time.Duration
	Flush(ctx context.Context, now time.Time, out *Builder) error
}

// Publisher takes batches to where they are wanted.
//
// Publish is called with one batch at a time per instance, in order. It returns
// nil when all of the batch was taken; [Refuse] or [RefuseRows] when some or all
// of it will never be taken, for which the host keeps it as dead letters; and
// any other error when it is to be called again with the same batch after a
// pause, see also [RetryAfter].
type Publisher interface {
	Publish(ctx context.Context, batch *Batch) error
}

// Storage is a publisher that can be asked for what it holds.
type Storage interface {
	Publisher
	// Query yields batches with the samples that answer q, oldest first. It may be
	// called concurrently, and while Publish runs.
	Query(ctx context.Context, q Query) iter.Seq2[*Batch, error]
}

// Query asks a storage for samples.
type Query struct {
	// Meters and Resources are names and ids; empty is all.
	Meters, Resources []string
	// From is inclusive, To is not.
	From, To time.Time
	// Granularity above 0 asks for one sample per window of this length, made by
	// Aggregation (mean, min, max, sum, count, last, ...).
	Granularity time.Duration
	Aggregation string
}

// Alarm takes events (and samples, if a pipeline gives it any), asks storages,
// and delivers events of its own.
type Alarm interface {
	Publisher
	// Watch is called and called again like [Notification].Listen. Publish is called
	// while it runs.
	Watch(ctx context.Context, host Host) error
}

// Host is what an alarm can ask of its host.
type Host interface {
	Deliver(ctx context.Context, fill func(out *Builder) error, settled func(error)) error
	// Query asks the storage instance of the given name.
	Query(ctx context.Context, storage string, q Query) iter.Seq2[*Batch, error]
	// Series is for asking the storage instance of the given name by series, if it is a
	// [SeriesStorage]. Whether it is, and is there, the first question shows.
	Series(storage string) SeriesReader
}

// Starter is implemented by plugins of any kind that have something to do before
// their first call: opening, connecting. The instance's options are in its
// struct by then. An error is retried by the host with growing pauses; a struct
// with a Validate() error method has its options refused at once instead.
type Starter interface {
	Start(ctx context.Context, env Env) error
}

// Stopper is implemented by plugins that hold what must be closed or flushed.
// Stop is called once, after the last call of any other method returned or was
// given up, also when Start failed.
type Stopper interface {
	Stop(ctx context.Context) error
}

// Measurer is implemented by plugins of any kind that tell figures about themselves:
// what waits, what was given up, how much they hold. [Plugin].Own declares them; the
// host shows them on /metrics, on its status page and as samples of its own pollster,
// all by the names nepho.PLUGIN.NAME.
//
// Measure is called when somebody looks, which may be never or every second, never
// twice at once, but beside all other calls. It must be cheap, for it is given up
// after a second: counts in memory, not scans of a database. It adds samples of the
// meters in Own to out. The metadata of their resource become labels, such as
// {"state": "ok"}, and must tell samples of one meter apart; the resource's id says
// nothing here and may be empty. An error is shown to operators; figures added before
// it are shown all the same.
type Measurer interface {
	Measure(ctx context.Context, out *Builder) error
}
