// Package store keeps alarms in an SQLite file or in PostgreSQL: their definitions
// and statuses, their history, quotas, and what they still owe to whom.
//
// A change is one transaction: what happened, its line in the history, and the
// deliveries that it makes necessary. Changes that are asked for at the same time
// share a transaction, so that they share its wait for the disk.
package store

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

//go:embed schema/*.sql
var schema embed.FS

// Shards is how many parts alarms are divided in, so that nodes may share them.
const Shards = 64

// Options of [Open].
type Options struct {
	// URL is postgres://..., or the path of an SQLite file.
	URL string
	// History is how long lines of history and dead letters are kept; 0: for ever.
	History time.Duration
	Log     *slog.Logger
}

// Store is an open store. Its methods may be called concurrently.
type Store struct {
	o      Options
	db     *database.DB
	writes chan *write
	done   chan struct{} // closed when nothing writes any more
	stop   context.CancelFunc

	deletions atomic.Int64
	backlog   database.Paced[Backlog]
}

// Errors of changes.
var (
	// ErrNotFound: there is no such alarm.
	ErrNotFound = errors.New("there is no such alarm")
	// ErrChanged: the alarm was changed in the meantime.
	ErrChanged = errors.New("the alarm was changed in the meantime")
	// ErrQuota: a project or user has as many alarms as it may.
	ErrQuota = errors.New("the quota of alarms is used up")
)

// Open opens a store, and makes its tables if they are not there.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	db, err := database.Open(ctx, database.Options{URL: o.URL, What: "the alarms", Log: o.Log})
	if err != nil {
		return nil, err
	}
	files, err := fs.Sub(schema, "schema")
	if err == nil {
		err = db.Migrate(ctx, "alarm_schema", files)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	background, stop := context.WithCancel(context.Background())
	s := &Store{o: o, db: db, writes: make(chan *write), done: make(chan struct{}), stop: stop}
	go s.write(background)
	return s, nil
}

// Close closes the store after what is under way.
func (s *Store) Close() error {
	s.stop()
	<-s.done
	return s.db.Close()
}

// Who is the one who changes something.
type Who struct{ User, Project string }

// Kind is the kind of a change.
type Kind uint8

// Kinds of changes. Their texts are Aodh's.
const (
	Creation Kind = iota
	RuleChange
	StateTransition
	Deletion
)

var kinds = []string{"creation", "rule change", "state transition", "deletion"}

// String gives the kind's text.
func (k Kind) String() string { return kinds[k] }

// Change is a line of history.
type Change struct {
	ID, Alarm uuid.UUID
	// Name is the alarm's, for those who are told of the change: it is not kept.
	Name string
	Kind Kind
	// Detail is JSON.
	Detail string
	// Who did it, for which project.
	Who
	OnBehalfOf string
	Severity   def.Severity
	At         time.Time
	// Deliveries are what it makes necessary, stored with it.
	Deliveries []*Delivery
}

// Delivery is something that an alarm owes to somebody.
type Delivery struct {
	// Ref is the store's number. Deliveries of an alarm are done in the order of their numbers.
	Ref int64
	// ID stays the same however often it is tried.
	ID, Alarm uuid.UUID
	Project   string
	// Target names the queue: deliveries of one target are done one after the other.
	Target string
	// Action is the URL, Body what is sent there.
	Action, Body string
	Created      time.Time
	// Tries is how often it was tried in vain, Failed what the last one said.
	Tries  int
	Failed string
	// Dead is when it was given up; zero: it is still to be done.
	Dead time.Time
}
