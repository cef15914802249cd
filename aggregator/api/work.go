package api

import (
	"bytes"
	"fmt"
	"net/http"
	"sync/atomic"
)

// Limits of what one request may bring, since a few bytes of a body can become many in
// memory.
const (
	maxSeries = 250_000
	maxPoints = 4_000_000
	maxLabels = 1_000_000 // of the series of one request that are new
	maxInput  = 16 << 20  // bytes of a body without points
	maxValues = 1 << 18   // values in such a body
)

// Bytes that a series and a point of a request need about, from the body to the log.
const (
	seriesSize = 400
	pointSize  = 40
)

// minWork is the least memory that requests may need together for what they bring, in bytes.
const minWork = 256 << 20

// work is the memory that is held by requests for what they bring.
type work struct {
	most int64
	used atomic.Int64
}

// hold sets bytes aside for a request until it ends. It refuses one that needs more than
// there is, and for the moment one for which too little is left.
func (a *answer) hold(n int64) error {
	if n <= 0 || a.work == nil {
		return nil
	}
	if a.held+n > a.work.most {
		return tooMuch("The request needs too much memory")
	}
	if a.work.used.Add(n) > a.work.most {
		a.work.used.Add(-n)
		return &Error{http.StatusServiceUnavailable, "The server has too many large requests in work. Try again later."}
	}
	a.held += n
	return nil
}

// hold is that of the request that w answers.
func hold(w http.ResponseWriter, n int64) error {
	if a, ok := w.(*answer); ok {
		return a.hold(n)
	}
	return nil
}

// letGo gives back what was held.
func (a *answer) letGo() {
	if a.held > 0 {
		a.work.used.Add(-a.held)
		a.held = 0
	}
}

// tooMuch refuses a request that brings more than one may.
func tooMuch(what string) *Error {
	return &Error{http.StatusRequestEntityTooLarge, what + ". Send less at a time."}
}

// checkValues refuses JSON that is too long, or has too many values: each needs some
// hundred bytes when it is read. It counts commas, also those in text.
func checkValues(data []byte) error {
	switch {
	case len(data) > maxInput:
		return &http.MaxBytesError{Limit: maxInput}
	case bytes.Count(data, []byte{','}) >= maxValues:
		return tooMuch(fmt.Sprintf("The body has more than %d values", maxValues))
	}
	return nil
}
