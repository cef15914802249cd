package api

import (
	"net/http"
	"strconv"
)

// flushAt is how many bytes of an answer are sent at once.
const flushAt = 64 << 10

// pieces is the body of an answer: the caller appends to b, and calls flush now and
// then. Short answers go out with their length, others in pieces. It is used again
// for other requests.
type pieces struct {
	b    []byte
	w    http.ResponseWriter
	sent bool // some of it
	err  error
}

// begin begins an answer of a content type.
func (p *pieces) begin(w http.ResponseWriter, media string) {
	p.w, p.b, p.sent, p.err = w, p.b[:0], false, nil
	w.Header().Set("Content-Type", media)
}

// hold begins a part of an answer that stays in b.
func (p *pieces) hold() { p.w, p.b, p.sent, p.err = nil, p.b[:0], false, nil }

// flush sends what is there if it is enough to be worth it.
func (p *pieces) flush() {
	if len(p.b) < flushAt || p.err != nil || p.w == nil {
		return
	}
	p.sent = true
	_, p.err = p.w.Write(p.b)
	p.b = p.b[:0]
}

// send adds a part that is elsewhere.
func (p *pieces) send(part []byte) {
	if len(p.b)+len(part) < flushAt {
		p.b = append(p.b, part...)
		return
	}
	for _, b := range [...][]byte{p.b, part} {
		if p.err == nil {
			p.sent = true
			_, p.err = p.w.Write(b)
		}
	}
	p.b = p.b[:0]
}

// finish sends the rest. The error is of the first piece that could not be sent.
func (p *pieces) finish() error {
	if p.err == nil {
		if !p.sent {
			p.w.Header().Set("Content-Length", strconv.Itoa(len(p.b)))
		}
		_, p.err = p.w.Write(p.b)
	}
	p.w = nil
	return p.err
}
