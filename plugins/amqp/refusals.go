package amqp

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/nephoscope/nepho/outputs/amqp/message"
	"github.com/nephoscope/nepho/sdk"
)

// refusedFile is the name, in the instance's state folder, of the file that
// refused messages are kept in.
const refusedFile = "refused.jsonl"

// reportInterval is how often refusals that go on are logged.
const reportInterval = time.Minute

// errFull has a message come back that there is no room to keep. Rejecting it
// would lose it, for most queues have no dead-letter exchange, and a mistyped
// secret refuses everything.
var errFull = errors.New("the file of refused messages is full")

// refusals counts what is refused, and keeps it. It is safe for concurrent use.
type refusals struct {
	log    *slog.Logger
	reject bool
	limit  int64

	mu      sync.Mutex
	path    string // empty when nothing is to be kept or can be
	file    *os.File
	size    int64
	fullAt  int64          // the size at which the log was told that it is full; 0 when it is not
	counts  map[string]int // by reason, since the last report
	reasons map[string]int // by reason, of all time
	last    time.Time      // of the last report
	example error
}

func newRefusals(n *notification, env sdk.Env) (*refusals, error) {
	r := &refusals{
		log: env.Log, reject: n.Refused == rejectRefused, limit: int64(n.RefusedMaxSize),
		counts: map[string]int{}, reasons: map[string]int{},
	}
	if r.reject || env.StateDir == "" {
		return r, nil
	}
	if err := os.MkdirAll(env.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make state folder: %w", err)
	}
	r.path = filepath.Join(env.StateDir, refusedFile)
	return r, r.open()
}

// open opens the file, unless it is open and still where it was: an operator moves
// a full one away.
func (r *refusals) open() error {
	if r.file != nil {
		there, err := os.Stat(r.path)
		here, err2 := r.file.Stat()
		if err == nil && err2 == nil && os.SameFile(there, here) {
			r.size = here.Size()
			return nil
		}
		r.file.Close()
		r.file = nil
	}
	file, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot keep refused messages: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return fmt.Errorf("cannot keep refused messages: %w", err)
	}
	r.file, r.size = file, info.Size()
	return nil
}

func (r *refusals) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// line is a refused message, or a part of one, in the file.
type line struct {
	Time            time.Time       `json:"time"`
	Reason          string          `json:"reason"`
	Queue           string          `json:"queue"`
	Exchange        string          `json:"exchange"`
	RoutingKey      string          `json:"routing_key"`
	MessageID       string          `json:"message_id,omitempty"`
	ContentType     string          `json:"content_type,omitempty"`
	ContentEncoding string          `json:"content_encoding,omitempty"`
	Headers         map[string]any  `json:"headers,omitempty"`
	Part            json.RawMessage `json:"part,omitempty"`        // of the message
	Body            string          `json:"body,omitempty"`        // the whole, if it is text
	Binary          []byte          `json:"body_base64,omitempty"` // if it is not
}

func newLine(d amqp.Delivery, queue string, err error) line {
	return line{
		Time: time.Now().UTC(), Reason: err.Error(), Queue: queue, Exchange: d.Exchange, RoutingKey: d.RoutingKey,
		MessageID: d.MessageId, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding,
	}
}

// whole refuses a message.
func (r *refusals) whole(d amqp.Delivery, queue string, err error) fate {
	l := newLine(d, queue, err)
	l.Headers = d.Headers
	if utf8.Valid(d.Body) {
		l.Body = string(d.Body)
	} else {
		l.Binary = d.Body
	}
	f := r.keep(l)
	if f.err == nil { // otherwise it comes again, and counts then
		r.count(err, 1)
	}
	return f
}

// parts refuses parts of a message, of which the others are taken.
func (r *refusals) parts(d amqp.Delivery, queue string, refused []message.Refused) fate {
	lines := make([]line, len(refused))
	for i, part := range refused {
		lines[i] = newLine(d, queue, part.Err)
		lines[i].Part = part.Data
	}
	f := r.keep(lines...)
	if f.err == nil {
		for _, part := range refused {
			r.count(part.Err, 1)
		}
	}
	return f
}

// keep writes the lines to disk and tells what shall become of their message.
func (r *refusals) keep(lines ...line) fate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reject {
		return fate{reject: true}
	}
	if r.path == "" {
		return fate{hold: true} // a trial run takes nothing away
	}
	if err := r.open(); err != nil {
		return fate{err: err}
	}
	var data []byte
	for _, l := range lines {
		text, err := json.Marshal(l)
		if err != nil { // a header that is no JSON
			l.Headers = nil
			if text, err = json.Marshal(l); err != nil {
				return fate{err: fmt.Errorf("cannot keep refused message: %w", err)}
			}
		}
		data = append(append(data, text...), '\n')
	}
	// Smaller messages that still fit do not make it less full.
	if r.fullAt > 0 && r.size < r.fullAt {
		r.fullAt = 0
		r.log.Info("there is room for refused messages again", "file", r.path)
	}
	// An empty file takes a message of any size, which would never fit otherwise.
	if r.size > 0 && r.size+int64(len(data)) > r.limit {
		if r.fullAt == 0 {
			r.fullAt = r.size
			r.log.Error("the file of refused messages is full: they stay in their queue and hold up the others; if they are signed well, mend secrets; otherwise move the file away, raise refused_max_size, or set refused = \"reject\" to give them up",
				"file", r.path, "bytes", r.size, "reason", lines[0].Reason)
		}
		return fate{err: errFull}
	}
	n, err := r.file.Write(data)
	r.size += int64(n)
	if err == nil {
		err = r.file.Sync()
	}
	if err != nil {
		return fate{err: fmt.Errorf("cannot keep refused message: %w", err)}
	}
	return accept
}

// count counts and logs: the first refusal for a reason at once, more of them
// together.
func (r *refusals) count(err error, n int) {
	reason := reasonOf(err)
	r.mu.Lock()
	r.counts[reason] += n
	r.reasons[reason] += n
	r.example = err
	due := r.reasons[reason] == n || time.Since(r.last) >= reportInterval
	r.mu.Unlock()
	if due {
		r.report()
	}
}

// report logs what was refused since the last report.
func (r *refusals) report() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.counts) == 0 {
		return
	}
	args := []any{"last", r.example}
	for _, reason := range slices.Sorted(maps.Keys(r.counts)) {
		args = append(args, reason+"_new", r.counts[reason], reason+"_all", r.reasons[reason])
	}
	r.log.Warn("messages or parts of them were refused", args...)
	clear(r.counts)
	r.last = time.Now()
}

func reasonOf(err error) string {
	switch {
	case errors.Is(err, message.ErrSignature):
		return "bad_signature"
	case errors.Is(err, message.ErrInvalid):
		return "invalid"
	default:
		return "undecodable"
	}
}
