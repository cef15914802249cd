package api

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/nephoscope/nepho/plugins/events/store"
	"github.com/nephoscope/nepho/sdk"
)

// Media types of answers.
const (
	mediaJSON  = "application/json; charset=UTF-8"
	mediaLines = "application/x-ndjson"
)

// events lists events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	a, err := s.arguments(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := s.within(r)
	defer cancel()
	q, err := s.question(ctx, a, c)
	if err != nil {
		return cause(ctx, err)
	}
	if wantsLines(r) {
		if q.Limit == 0 && q.Order.ByID {
			return bad("%v", errStreamOrder)
		}
		return s.lines(w, r, q)
	}
	if q.Limit == 0 {
		q.Limit = s.o.DefaultLimit
	}
	return s.list(ctx, w, q, func(to []byte, e *sdk.Event) [][]byte { return [][]byte{appendEvent(to, e)} })
}

// cause is why a request was ended, if it was.
func cause(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}

func wantsLines(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for one := range strings.SplitSeq(accept, ",") {
			if media, _, err := mime.ParseMediaType(one); err == nil && (media == mediaLines || media == "application/jsonl") {
				return true
			}
		}
	}
	return false
}

// list answers with a list, of what some function makes of each event. It is sent
// piece by piece.
func (s *Server) list(ctx context.Context, w http.ResponseWriter, q store.Query, entries func([]byte, *sdk.Event) [][]byte) error {
	w.Header().Set("Content-Type", mediaJSON)
	separator := "["
	var piece, entry []byte
	err := s.o.Store.Each(ctx, q, func(events []sdk.Event) error {
		piece = piece[:0]
		for i := range events {
			for _, one := range entries(entry[:0], &events[i]) {
				piece = append(append(piece, separator...), one...)
				separator, entry = ", ", one
			}
		}
		_, err := w.Write(piece)
		return err
	})
	if err != nil {
		return cause(ctx, err)
	}
	if separator == "[" {
		_, err = w.Write([]byte("[]"))
	} else {
		_, err = w.Write([]byte("]"))
	}
	return gone(err)
}

// gone is the error of an answer that its client no longer takes.
func gone(err error) error {
	if err != nil {
		return errors.Join(context.Canceled, err)
	}
	return nil
}

// lines answers with a line of JSON for each event, in the form that events have
// everywhere in Nepho, as long as the client reads.
func (s *Server) lines(w http.ResponseWriter, r *http.Request, q store.Query) error {
	w.Header().Set("Content-Type", mediaLines)
	control := http.NewResponseController(w)
	var piece []byte
	err := s.o.Store.Each(r.Context(), q, func(events []sdk.Event) error {
		piece = piece[:0]
		for i := range events {
			piece = append(events[i].AppendJSON(piece), '\n')
		}
		// Writers that have no deadlines are those of tests.
		if err := control.SetWriteDeadline(time.Now().Add(s.o.OperationTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(piece); err != nil {
			return gone(err)
		}
		return gone(control.Flush())
	})
	if err != nil {
		return err
	}
	if err := control.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return gone(err)
	}
	return nil
}

// event answers with one event.
func (s *Server) event(w http.ResponseWriter, r *http.Request) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	ctx, cancel := s.within(r)
	defer cancel()
	q := store.Everything()
	c.limit(&q)
	id := r.PathValue("id")
	e, err := s.o.Store.Get(ctx, id, q)
	if err != nil {
		return cause(ctx, err)
	}
	if e == nil {
		return &Error{http.StatusNotFound, "Event " + id + " Not Found"}
	}
	return answerWith(w, appendEvent(nil, e))
}

func answerWith(w http.ResponseWriter, body []byte) error {
	w.Header().Set("Content-Type", mediaJSON)
	_, err := w.Write(body)
	return gone(err)
}

func answerJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return answerWith(w, body)
}

// types lists the event types.
func (s *Server) types(w http.ResponseWriter, r *http.Request) error {
	if err := s.adminOnly(r); err != nil {
		return err
	}
	ctx, cancel := s.within(r)
	defer cancel()
	list, err := s.o.Store.Types(ctx)
	if err != nil {
		return cause(ctx, err)
	}
	return answerJSON(w, list)
}

// eventType answers nothing, as Panko.
func (s *Server) eventType(_ http.ResponseWriter, r *http.Request) error {
	if err := s.adminOnly(r); err != nil {
		return err
	}
	return errNothing
}

// traits lists the traits of an event type.
func (s *Server) traits(w http.ResponseWriter, r *http.Request) error {
	if err := s.adminOnly(r); err != nil {
		return err
	}
	ctx, cancel := s.within(r)
	defer cancel()
	list, err := s.o.Store.Traits(ctx, r.PathValue("type"))
	if err != nil {
		return cause(ctx, err)
	}
	type description struct {
		Name string `json:"name"`
		Type string `json:"type"`
	}
	described := make([]description, len(list))
	for i, t := range list {
		described[i] = description{t.Name, typeName(t.Type)}
	}
	return answerJSON(w, described)
}

// values lists the values of a trait of all events of a type.
func (s *Server) values(w http.ResponseWriter, r *http.Request) error {
	if err := s.adminOnly(r); err != nil {
		return err
	}
	ctx, cancel := s.within(r)
	defer cancel()
	q := store.Everything()
	eventType, name := r.PathValue("type"), r.PathValue("name")
	q.Type, q.Only = &eventType, &name
	return s.list(ctx, w, q, func(to []byte, e *sdk.Event) (list [][]byte) {
		for i := range e.Traits {
			list = append(list, appendTrait(nil, &e.Traits[i]))
		}
		return list
	})
}

// status tells an admin what there is.
func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	if err := s.adminOnly(r); err != nil {
		return err
	}
	ctx, cancel := s.within(r)
	defer cancel()
	st, err := s.o.Store.Status(ctx)
	if err != nil {
		return cause(ctx, err)
	}
	answer := map[string]any{"events": st.Events, "chunks": st.Chunks, "bytes": st.Bytes, "damaged_events": st.Damaged}
	if !st.First.IsZero() {
		answer["oldest"], answer["newest"] = st.First, st.Last
	}
	return answerJSON(w, answer)
}

// versions lists the versions of the API.
func (s *Server) versions(w http.ResponseWriter, r *http.Request) error {
	type object = map[string]any
	return answerJSON(w, object{"versions": object{"values": []object{{
		"id":     "v2",
		"links":  []object{{"href": s.base(r) + "/v2", "rel": "self"}, {"href": "https://docs.openstack.org/", "rel": "describedby", "type": "text/html"}},
		"status": "stable", "updated": "2013-02-13T00:00:00Z",
		"media-types": []object{{"base": "application/json", "type": "application/vnd.openstack.telemetry-v2+json"}},
	}}}})
}

// capabilities are those of Panko.
func (s *Server) capabilities(w http.ResponseWriter, _ *http.Request) error {
	return answerJSON(w, map[string]map[string]bool{"api": {"events:query:simple": true}, "event_storage": {"storage:production_ready": true}})
}
