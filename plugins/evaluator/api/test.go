package api

import (
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/evaluate"
	"github.com/nephoscope/nepho/plugins/evaluator/filter"
)

// postTest answers what the alarm in the body would have made of past data that
// the asker may see. Nothing is stored.
func (s *Server) postTest(w http.ResponseWriter, r *http.Request) error {
	body, err := s.site.Body(w, r, "application/json")
	if err != nil {
		return err
	}
	p, err := def.Read(body)
	if err != nil {
		return err
	}
	// Its actions are not done, so that it does not matter whether they can be, or who may have them.
	if err := CheckRule(p.Rule); err != nil {
		return err
	}
	who := askerOf(r)
	p.User, p.Project, p.Admin = who.User, who.Project, who.admin
	now := s.o.Now().UTC()
	from, to := now.Add(-24*time.Hour), now
	for name, t := range map[string]*time.Time{"start": &from, "stop": &to} {
		if text := r.URL.Query().Get(name); text != "" {
			if *t, err = filter.ParseTime(text); err != nil {
				return err
			}
		}
	}
	if !from.Before(to) {
		return bad("start must be before stop")
	}
	replayed, err := s.o.Evaluator.Replay(r.Context(), &p.Alarm, from, to)
	switch {
	case err == nil:
		return s.writeReplayed(w, r, replayed)
	case r.Context().Err() != nil:
		return r.Context().Err()
	case errors.As(err, new(*def.InputError)):
		return err
	}
	return refuse(http.StatusServiceUnavailable, "The storage gives no past data: %v", err)
}

// writeReplayed answers with what would have been. Each change has a whole rule for a reason,
// so the answer may be long.
func (s *Server) writeReplayed(w http.ResponseWriter, r *http.Request, replayed *evaluate.Replayed) error {
	p := &pieces{s: s, w: w}
	before := `{"steps": [`
	add := func(o def.Object) error {
		err := p.add(before, o)
		before = ", "
		return errors.Join(err, r.Context().Err())
	}
	for _, step := range replayed.Steps {
		values := make([]any, len(step.Values))
		for i, v := range step.Values {
			values[i] = finite(v)
		}
		if err := add(def.Object{{Name: "at", Value: def.TimeText(step.At)}, {Name: "state", Value: step.State.String()}, {Name: "values", Value: values}}); err != nil {
			return p.end("", err)
		}
	}
	before = strings.TrimPrefix(before, ", ") + `], "transitions": [`
	for _, t := range replayed.Transitions {
		data := slices.Clone(t.Data)
		for i := range data {
			data[i].Value = finite(data[i].Value)
		}
		err := add(def.Object{
			{Name: "at", Value: def.TimeText(t.At)}, {Name: "previous", Value: t.Previous.String()}, {Name: "current", Value: t.State.String()},
			{Name: "reason", Value: t.Reason}, {Name: "reason_data", Value: data},
		})
		if err != nil {
			return p.end("", err)
		}
	}
	return p.end(strings.TrimPrefix(before, ", ")+"]}", nil)
}

// finite is a value, or nil in place of a number that JSON does not have: NaN, also where there
// is none, and infinities.
func finite(value any) any {
	if v, ok := value.(float64); ok && (math.IsNaN(v) || math.IsInf(v, 0)) {
		return nil
	}
	return value
}
