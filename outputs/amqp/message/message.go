// Package message writes and reads the two forms in which samples and events
// travel over a message bus: Nepho's own, an encoded batch, and Ceilometer's, an
// oslo.messaging notification with signed dictionaries. It knows nothing of
// brokers, so that whatever carries the messages can share it.
package message

import (
	"errors"
	"fmt"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// The content types of the two forms.
const (
	BatchType = "application/vnd.nepho.batch"
	JSONType  = "application/json"
)

// The headers of a signed batch.
const (
	SignatureHeader = "x-nepho-signature"
	TimestampHeader = "x-nepho-timestamp"
)

// Limits of what a [Decoder] reads.
const (
	// MaxBytes bounds a body, before and after decompression. Bodies with a batch
	// are bounded by [sdk.MaxBatchBytes] besides.
	MaxBytes = 32 << 20
	// MaxDepth bounds how deep objects and lists may be nested.
	MaxDepth = 100
	// maxSigned bounds the text that is signed for one message. Names of nested
	// keys repeat in it, so that a small message could ask for gigabytes.
	maxSigned = 4 * MaxBytes
)

// Why a message, or a sample in it, is refused.
var (
	// ErrForm says that a message has neither form, or has it wrongly.
	ErrForm = errors.New("cannot decode message")
	// ErrSignature says that a signature is missing or fits none of the secrets.
	ErrSignature = errors.New("signature is missing or wrong")
	// ErrInvalid says that a sample or an event lacks what it needs.
	ErrInvalid = errors.New("invalid sample or event")
)

// Message is what a bus carries.
type Message struct {
	ContentType, ContentEncoding string
	// Headers hold strings.
	Headers map[string]any
	Body    []byte
}

// Content is what a message held: a batch, or samples and events.
type Content struct {
	Batch   *sdk.Batch
	Samples []sdk.Sample
	Events  []sdk.Event
	// Refused are the parts that were not taken, while the others were.
	Refused []Refused
}

// Refused is a part of a message that was not taken.
type Refused struct {
	// Err wraps ErrSignature, ErrInvalid or ErrForm.
	Err error
	// Data is the part as JSON.
	Data []byte
}

// AddTo hands everything to out, and uses the content up.
func (c *Content) AddTo(out *sdk.Builder) {
	if c.Batch != nil {
		out.Forward(c.Batch)
	}
	for i := range c.Samples {
		out.Add(c.Samples[i])
	}
	for i := range c.Events {
		out.AddEvent(c.Events[i])
	}
}

// addSample takes a sample, or refuses it if no batch could hold it.
func (c *Content) addSample(s sdk.Sample) {
	switch {
	case s.Name == "":
		c.refuse(invalid("a sample without a name"), s)
	case s.ResourceID == "":
		c.refuse(invalid("sample %.100q without a resource", s.Name), s)
	case tooLong(s.ID, s.Name, s.Unit, s.ResourceID, s.ProjectID, s.UserID, s.Source) || tooLongSet(s.Metadata):
		c.refuse(invalid("sample %.100q has a part over %d bytes", s.Name, sdk.MaxStringBytes), s)
	case !holds(s.Timestamp):
		c.refuse(invalid("sample %.100q is of the year %d", s.Name, s.Timestamp.Year()), s)
	default:
		c.Samples = append(c.Samples, s)
	}
}

// addEvent takes an event, or refuses it if no batch could hold it.
func (c *Content) addEvent(e sdk.Event) {
	long := tooLong(e.MessageID, e.EventType) || len(e.Raw) > sdk.MaxStringBytes
	for _, t := range e.Traits {
		text, _ := t.Value.(string)
		long = long || tooLong(t.Name, text)
	}
	switch {
	case e.EventType == "":
		c.refuse(invalid("an event without a type"), e)
	case long:
		c.refuse(invalid("event %.100q has a part over %d bytes", e.EventType, sdk.MaxStringBytes), e)
	case !holds(e.Generated):
		c.refuse(invalid("event %.100q is of the year %d", e.EventType, e.Generated.Year()), e)
	default:
		c.Events = append(c.Events, e)
	}
}

// refuse keeps a part that can't be taken; part is anything that JSON can show.
func (c *Content) refuse(err error, part any) {
	c.Refused = append(c.Refused, Refused{err, marshal(part)})
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// holds tells whether a batch, which counts nanoseconds since 1970, holds t.
func holds(t time.Time) bool { return t.Year() >= 1678 && t.Year() < 2262 }

func tooLong(texts ...string) bool {
	for _, s := range texts {
		if len(s) > sdk.MaxStringBytes {
			return true
		}
	}
	return false
}

// tooLongSet tells whether a batch refuses a value of the metadata, which holds
// nested values as JSON.
func tooLongSet(m sdk.Metadata) bool {
	for k, v := range m {
		switch v := v.(type) {
		case string:
			if tooLong(k, v) {
				return true
			}
		case []any, map[string]any:
			if tooLong(k) || atLeast(v) > sdk.MaxStringBytes/6 && len(marshal(v)) > sdk.MaxStringBytes {
				return true
			}
		default:
			if tooLong(k) {
				return true
			}
		}
	}
	return false
}

// atLeast gives the length of the texts in v and of its separators: JSON takes
// at most six times as much for them.
func atLeast(v any) int {
	switch v := v.(type) {
	case string:
		return len(v) + 3
	case []any:
		n := 2
		for _, e := range v {
			n += atLeast(e)
		}
		return n
	case map[string]any:
		n := 2
		for k, e := range v {
			n += len(k) + 4 + atLeast(e)
		}
		return n
	}
	return 4 // a number has at most 24 characters
}
