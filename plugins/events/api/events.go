package api

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/nephoscope/nepho/plugins/events/store"
	"github.com/nephoscope/nepho/sdk"
)

// Media types of answers.
const (
	mediaJSON  = "application/json; charset=UTF-8"
	mediaLines = "application/x-ndjson"
)

// events lists events.
func (s *server) events(w http.ResponseWriter, r *http.Request) error {
	c, err := asking(r)
	if err != nil {
		return err
	}
	a, err := s.arguments(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.o.Web.Timeout)
	defer cancel()
	q, err := s.question(ctx, a, c)
	if err != nil {
		return err
	}
	if wantsLines(r) {
		switch {
		case q.Order.ByID && q.Limit == 0:
			return bad(streamOrder)
		case r.Method == http.MethodHead:
			q.Limit = 1 // nobody reads them
		case !q.Order.ByID:
			ctx = r.Context()
		}
		return s.lines(ctx, w, q)
	}
	if q.Limit == 0 {
		q.Limit = s.o.DefaultLimit
	}
	return s.list(ctx, w, q, func(to []byte, e *sdk.Event) [][]byte { return [][]byte{appendEvent(to, e)} })
}

// streamOrder: each page of such a stream is found among all events, so that it is none
// that may take as long as its client reads.
const streamOrder = "events as a stream are sorted by generated; give a limit to have them by message_id"

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
func (s *server) list(ctx context.Context, w http.ResponseWriter, q store.Query, entries func([]byte, *sdk.Event) [][]byte) error {
	w.Header().Set("Content-Type", mediaJSON)
	separator := "["
	var piece, entry []byte
	err := s.pieces(ctx, w, q, func(events []sdk.Event) []byte {
		piece = piece[:0]
		for i := range events {
			for _, one := range entries(entry[:0], &events[i]) {
				piece = append(append(piece, separator...), one...)
				separator, entry = ", ", one
			}
		}
		return piece
	})
	if err != nil {
		return err
	}
	end := "]"
	if separator == "[" {
		end = "[]"
	}
	_, err = w.Write([]byte(end))
	return gone(err)
}

// lines answers with a line of JSON for each event, in the form that events have
// everywhere in Nepho, as long as the client reads.
func (s *server) lines(ctx context.Context, w http.ResponseWriter, q store.Query) error {
	w.Header().Set("Content-Type", mediaLines)
	var piece []byte
	return s.pieces(ctx, w, q, func(events []sdk.Event) []byte {
		piece = piece[:0]
		for i := range events {
			piece = append(events[i].AppendJSON(piece), '\n')
		}
		return piece
	})
}

// pieces sends what is made of parts of an answer. What fails after that has begun
// cuts the answer off: the client must not take half of it for the whole.
func (s *server) pieces(ctx context.Context, w http.ResponseWriter, q store.Query, make func([]sdk.Event) []byte) error {
	begun := false
	control := http.NewResponseController(w)
	err := s.o.Store.Each(ctx, q, func(events []sdk.Event) error {
		piece := make(events)
		if len(piece) == 0 {
			return nil
		}
		begun = true
		if _, err := w.Write(piece); err != nil {
			return gone(err)
		}
		return gone(control.Flush())
	})
	if err != nil && begun {
		if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			s.log.Error("an answer was cut off", "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	return err
}

// gone is the error of an answer that its client no longer takes.
func gone(err error) error {
	if err != nil {
		return errors.Join(context.Canceled, err)
	}
	return nil
}

// event answers with one event.
func (s *server) event(w http.ResponseWriter, r *http.Request) error {
	c, err := asking(r)
	if err != nil {
		return err
	}
	q := store.Everything()
	c.limit(&q)
	id := r.PathValue("id")
	e, err := s.o.Store.Get(r.Context(), id, q)
	if err != nil {
		return err
	}
	if e == nil {
		return refuse(http.StatusNotFound, "Event %s Not Found", id)
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
func (s *server) types(w http.ResponseWriter, r *http.Request) error {
	if err := adminOnly(r); err != nil {
		return err
	}
	list, err := s.o.Store.Types(r.Context())
	if err != nil {
		return err
	}
	return answerJSON(w, list)
}

// eventType answers nothing, as Panko.
func (s *server) eventType(_ http.ResponseWriter, r *http.Request) error {
	if err := adminOnly(r); err != nil {
		return err
	}
	return refuse(http.StatusNotFound, "There is nothing at this path.")
}

// traits lists the traits of an event type.
func (s *server) traits(w http.ResponseWriter, r *http.Request) error {
	if err := adminOnly(r); err != nil {
		return err
	}
	list, err := s.o.Store.Traits(r.Context(), r.PathValue("type"))
	if err != nil {
		return err
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
func (s *server) values(w http.ResponseWriter, r *http.Request) error {
	if err := adminOnly(r); err != nil {
		return err
	}
	q := store.Everything()
	eventType, name := r.PathValue("type"), r.PathValue("name")
	q.Type, q.Only = &eventType, &name
	return s.list(r.Context(), w, q, func(to []byte, e *sdk.Event) (list [][]byte) {
		for i := range e.Traits {
			list = append(list, appendTrait(nil, &e.Traits[i]))
		}
		return list
	})
}

// status tells an admin what there is.
func (s *server) status(w http.ResponseWriter, r *http.Request) error {
	if err := adminOnly(r); err != nil {
		return err
	}
	st, err := s.o.Store.Status(r.Context())
	if err != nil {
		return err
	}
	answer := map[string]any{"events": st.Events, "chunks": st.Chunks, "bytes": st.Bytes, "damaged_events": st.Damaged}
	if !st.First.IsZero() {
		answer["oldest"], answer["newest"] = st.First, st.Last
	}
	return answerJSON(w, answer)
}

// versions lists the versions of the API.
func (s *server) versions(w http.ResponseWriter, r *http.Request) error {
	type object = map[string]any
	return answerJSON(w, object{"versions": object{"values": []object{{
		"id":     "v2",
		"links":  []object{{"href": s.site.Base(r) + "/v2", "rel": "self"}, {"href": "https://docs.openstack.org/", "rel": "describedby", "type": "text/html"}},
		"status": "stable", "updated": "2013-02-13T00:00:00Z",
		"media-types": []object{{"base": "application/json", "type": "application/vnd.openstack.telemetry-v2+json"}},
	}}}})
}

// capabilities are those of Panko.
func (s *server) capabilities(w http.ResponseWriter, _ *http.Request) error {
	return answerJSON(w, map[string]map[string]bool{"api": {"events:query:simple": true}, "event_storage": {"storage:production_ready": true}})
}
