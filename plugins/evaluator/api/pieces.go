package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// pieces sends an answer in JSON while it is made, so that it needs no memory however long
// it is.
type pieces struct {
	s     *Server
	w     http.ResponseWriter
	text  []byte
	begun bool
}

// pieceSize is from how many bytes on a piece is sent.
const pieceSize = 64 << 10

// add adds a text, and a value behind it.
func (p *pieces) add(text string, value any) error {
	p.text = def.AppendJSON(append(p.text, text...), value)
	if len(p.text) < pieceSize {
		return nil
	}
	return p.send()
}

func (p *pieces) send() error {
	if !p.begun {
		p.w.Header().Set("Content-Type", "application/json")
		p.begun = true
	}
	_, err := p.w.Write(p.text)
	p.text = p.text[:0]
	if err != nil {
		return errors.Join(context.Canceled, err) // nobody takes the answer any more
	}
	return nil
}

// end sends the rest with a text behind it. An error gets an answer of its own if nothing was
// sent yet; if not, the answer is cut off: the client must not take half of it for the whole.
func (p *pieces) end(text string, err error) error {
	if err != nil && p.begun {
		if !errors.Is(err, context.Canceled) {
			p.s.o.Log.Error("an answer was cut off", "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		return err
	}
	p.text = append(p.text, text...)
	return p.send()
}

// list answers with a list: each gives some of it at a time to a function, and entry makes
// JSON of one. The most time of a request is the most for the first of them, and from then on
// for the next ones, beside what the client needs to take them.
func list[T any](s *Server, w http.ResponseWriter, r *http.Request, each func(context.Context, func([]T) error) error, entry func(T) def.Object) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	late := time.AfterFunc(s.o.Web.Timeout, cancel)
	defer late.Stop()
	p := &pieces{s: s, w: w}
	before := "["
	err := each(ctx, func(part []T) error {
		late.Stop()
		for _, v := range part {
			if err := p.add(before, entry(v)); err != nil {
				return err
			}
			before = ", "
		}
		late.Reset(s.o.Web.Timeout)
		return nil
	})
	if err != nil && ctx.Err() != nil && r.Context().Err() == nil {
		err = context.DeadlineExceeded
	}
	if before == "[" {
		return p.end("[]", err)
	}
	return p.end("]", err)
}
