package message

import (
	"bytes"
	"fmt"
	"strings"
)

// Decoder reads messages of either form. It is safe for concurrent use.
type Decoder struct {
	secrets []string
}

// NewDecoder makes a decoder that takes only what is signed with one of the
// secrets, or everything if there are none. Empty secrets don't count.
func NewDecoder(secrets ...string) *Decoder {
	d := &Decoder{}
	for _, s := range secrets {
		if s != "" {
			d.secrets = append(d.secrets, s)
		}
	}
	return d
}

// Decode reads a message. An error refuses all of it and wraps [ErrForm] or
// [ErrSignature]; parts may be refused in the content besides. Samples and
// events keep the order they have in the message.
func (d *Decoder) Decode(m Message) (*Content, error) {
	if len(m.Body) > MaxBytes {
		return nil, fmt.Errorf("%w: a body of %d bytes, at most %d are allowed", ErrForm, len(m.Body), MaxBytes)
	}
	v := newVerifier(d.secrets)
	if strings.HasPrefix(m.ContentType, BatchType) {
		return decodeBatch(m, v)
	}
	// Senders of JSON are not strict about their content type. A batch without
	// its own begins with a byte that JSON can't begin with.
	compressed := strings.EqualFold(m.ContentEncoding, gzipEncoding)
	if start := bytes.TrimLeft(m.Body, " \t\r\n"); !compressed && (len(start) == 0 || start[0] != '{' && start[0] != '[') {
		if len(start) == 0 || strings.HasPrefix(m.ContentType, JSONType) {
			return nil, fmt.Errorf("%w: neither an object nor a list", ErrForm)
		}
		return decodeBatch(m, v)
	}
	return decodeTelemetry(m, v)
}

// decodeTelemetry reads Ceilometer's form.
func decodeTelemetry(m Message, v *verifier) (*Content, error) {
	body, err := plain(m, MaxBytes)
	if err != nil {
		return nil, err
	}
	items, err := payload(body)
	if err != nil {
		return nil, err
	}
	c := &Content{}
	for _, item := range items {
		c.addItem(item, v)
	}
	return c, nil
}

// addItem takes a dictionary with a sample or an event.
func (c *Content) addItem(item any, v *verifier) {
	dict, ok := item.(map[string]any)
	if !ok {
		c.refuse(fmt.Errorf("%w: not an object", ErrForm), item)
		return
	}
	if err := v.dict(dict); err != nil {
		c.refuse(err, dict)
		return
	}
	switch {
	case has(dict, "counter_name"):
		s, err := sampleOf(dict)
		if err != nil {
			c.refuse(err, dict)
			return
		}
		c.addSample(s)
	case has(dict, "event_type"):
		e, err := eventOf(dict)
		if err != nil {
			c.refuse(err, dict)
			return
		}
		c.addEvent(e)
	default:
		c.refuse(fmt.Errorf("%w: neither a sample nor an event", ErrForm), dict)
	}
}

func has(dict map[string]any, key string) bool {
	_, ok := dict[key]
	return ok
}

// payload finds the list of samples or events in a notification with or without
// its envelope, or alone.
func payload(body []byte) ([]any, error) {
	v, err := parseJSON(body)
	if err != nil {
		return nil, err
	}
	if outer, ok := v.(map[string]any); ok {
		if inner, ok := outer["oslo.message"].(string); ok {
			if v, err = parseJSON([]byte(inner)); err != nil {
				return nil, fmt.Errorf("in oslo.message: %w", err)
			}
		}
	}
	if list, ok := v.([]any); ok {
		return list, nil
	}
	notification, _ := v.(map[string]any)
	switch p := notification["payload"].(type) {
	case []any:
		return p, nil
	case map[string]any:
		if list, ok := p["samples"].([]any); ok {
			return list, nil
		}
	}
	return nil, fmt.Errorf("%w: a notification of type %.100q has no list of samples or events", ErrForm, text(notification["event_type"]))
}
