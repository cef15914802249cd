package sdk

import (
	"errors"
	"time"
)

// Refused is the error of a publisher for what its receiver will never take.
type Refused struct {
	Err error
	// Rows are the refused samples; row Len()+e of the batch is event e. nil means
	// all of it.
	Rows []int
}

// Refuse makes an error that says that no row of the batch will ever be taken.
func Refuse(err error) error { return &Refused{Err: err} }

// RefuseRows makes an error that says that these rows will never be taken, while
// the others were.
func RefuseRows(err error, rows []int) error { return &Refused{Err: err, Rows: rows} }

func (r *Refused) Error() string { return r.Err.Error() }

// Unwrap gives the reason.
func (r *Refused) Unwrap() error { return r.Err }

// Later is the error of a publisher whose receiver said when to come back.
type Later struct {
	Err   error
	After time.Duration
}

// RetryAfter makes an error that asks the host to wait for at least the given
// time before it publishes the batch again.
func RetryAfter(err error, after time.Duration) error { return &Later{err, after} }

func (l *Later) Error() string { return l.Err.Error() }

// Unwrap gives the reason.
func (l *Later) Unwrap() error { return l.Err }

// split tells Refused and Later from other errors.
func split(err error) (refused *Refused, later *Later) {
	errors.As(err, &refused)
	errors.As(err, &later)
	return refused, later
}
