package message

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// Telemetry makes messages of Ceilometer's form: oslo.messaging notifications
// of priority sample.
type Telemetry struct {
	// Secret signs every sample and event; with none their signatures are empty.
	Secret string
	// PublisherID names the sender.
	PublisherID string
	// MaxItems bounds the samples or events of one message.
	MaxItems int
	// MaxBytes is about the size at which a message is full; one sample alone may
	// exceed it.
	MaxBytes int
}

// Samples encodes the given rows of a batch, in their order, as polling agents
// send them.
func (t *Telemetry) Samples(b *sdk.Batch, rows []int) []Message {
	w := t.writer("telemetry.polling", `{"samples":[`, `]}`)
	for _, i := range rows {
		w.writeSample(b, i)
		w.next()
	}
	return w.finish()
}

// Events encodes the given events of a batch, in their order. What can't be
// encoded is left out and told by bad: the numbers of the events, and why the
// first of them can't.
func (t *Telemetry) Events(b *sdk.Batch, events []int) (messages []Message, bad []int, why error) {
	w := t.writer("event", `[`, `]`)
	for _, i := range events {
		if err := w.writeEvent(b.Event(i)); err != nil {
			if why == nil {
				why = err
			}
			bad = append(bad, i)
			continue
		}
		w.next()
	}
	return w.finish(), bad, why
}

func (t *Telemetry) writer(eventType, open, closing string) *dictWriter {
	w := &dictWriter{t: t, eventType: eventType, open: open, closing: closing, resources: map[int]*writtenResource{}}
	if t.Secret != "" {
		w.mac = hmac.New(sha256.New, []byte(t.Secret))
	}
	return w
}

// dictWriter writes dictionaries of text and of what is signed of it side by
// side. Keys must come sorted, as they are signed.
type dictWriter struct {
	t                        *Telemetry
	eventType, open, closing string
	mac                      hash.Hash // nil without a secret

	json     []byte // payload of the message under way
	items    int    // dictionaries in it
	messages []Message

	signed []byte // of the dictionary under way
	fresh  bool   // no key was written yet

	resources map[int]*writtenResource
}

// writtenResource is a resource with its metadata as they go into every sample.
type writtenResource struct {
	sdk.Resource
	metadata, signed []byte
}

func (w *dictWriter) resource(b *sdk.Batch, n int) *writtenResource {
	r := w.resources[n]
	if r == nil {
		r = &writtenResource{Resource: b.Resource(n)}
		r.metadata = appendJSON(nil, r.Metadata)
		if w.mac != nil {
			r.signed, _ = appendSignable(nil, "resource_metadata", r.Metadata, 0)
		}
		w.resources[n] = r
	}
	return r
}

func (w *dictWriter) begin() {
	if len(w.json) == 0 {
		w.json = append(w.json, w.open...)
	} else {
		w.json = append(w.json, ',')
	}
	w.json = append(w.json, '{')
	w.signed, w.fresh = w.signed[:0], true
}

// key writes a key; its value is left to the caller.
func (w *dictWriter) key(name string) {
	if !w.fresh {
		w.json = append(w.json, ',')
	}
	w.fresh = false
	w.json = append(w.json, '"')
	w.json = append(w.json, name...)
	w.json = append(w.json, `":`...)
}

func (w *dictWriter) text(name, s string) {
	w.key(name)
	w.json = appendString(w.json, s)
	w.signed = append(append(w.signed, name...), s...)
}

// optional writes null for an empty text.
func (w *dictWriter) optional(name, s string) {
	if s != "" {
		w.text(name, s)
		return
	}
	w.value(name, nil)
}

func (w *dictWriter) number(name string, f float64) {
	w.key(name)
	w.json = appendFloat(w.json, f)
	w.signed = appendFloatRepr(append(w.signed, name...), f)
}

func (w *dictWriter) time(name string, t time.Time) {
	w.text(name, string(appendISO(nil, t)))
}

// value writes any value.
func (w *dictWriter) value(name string, v any) {
	w.key(name)
	w.json = appendJSON(w.json, v)
	if dict, ok := object(v); ok {
		w.signed, _ = appendSignable(w.signed, name, dict, 0)
		return
	}
	w.signed = appendStr(append(w.signed, name...), v)
}

// end writes the signature.
func (w *dictWriter) end() {
	w.key(signatureKey)
	w.json = append(w.json, '"')
	if w.mac != nil {
		w.mac.Reset()
		w.mac.Write(w.signed)
		w.json = hex.AppendEncode(w.json, w.mac.Sum(nil))
	}
	w.json = append(w.json, `"}`...)
	w.items++
}

// next begins another message when this one is full.
func (w *dictWriter) next() {
	if w.items >= w.t.MaxItems || len(w.json) >= w.t.MaxBytes {
		w.seal()
	}
}

func (w *dictWriter) finish() []Message {
	if w.items > 0 {
		w.seal()
	}
	return w.messages
}

// seal wraps the payload into a notification and its envelope.
func (w *dictWriter) seal() {
	payload := append(w.json, w.closing...)
	now := time.Now().UTC()
	inner := make([]byte, 0, len(payload)+400)
	inner = append(inner, `{"message_id":"`...)
	inner = append(inner, newUUID()...)
	inner = appendString(append(inner, `","publisher_id":`...), w.t.PublisherID)
	inner = appendString(append(inner, `,"event_type":`...), w.eventType)
	inner = append(inner, `,"priority":"SAMPLE","payload":`...)
	inner = append(inner, payload...)
	inner = append(inner, `,"timestamp":"`...)
	inner = now.AppendFormat(inner, "2006-01-02 15:04:05.000000")
	inner = fmt.Appendf(inner, `","_unique_id":"%x"}`, random())

	body := append(make([]byte, 0, len(inner)+len(inner)/4), `{"oslo.version":"2.0","oslo.message":`...)
	body = append(appendString(body, inner), '}')
	w.messages = append(w.messages, Message{ContentType: JSONType, ContentEncoding: "utf-8", Body: body})
	w.json, w.items = w.json[:0], 0
}

func random() [16]byte {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return id
}

// newUUID gives a random UUID.
func newUUID() string {
	id := random()
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
