package api

import (
	"net/http"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/filter"
)

// postTest answers what the alarm in the body would have made of past data that
// the asker may see. Nothing is stored.
func (s *Server) postTest(w http.ResponseWriter, r *http.Request) error {
	p, err := s.read(w, r)
	if err != nil {
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
	if err != nil {
		return bad("%v", err)
	}
	steps := make([]def.Object, len(replayed.Steps))
	for i, step := range replayed.Steps {
		values := make([]any, len(step.Values))
		for j, v := range step.Values {
			values[j] = v
		}
		steps[i] = def.Object{{Name: "at", Value: def.TimeText(step.At)}, {Name: "state", Value: step.State.String()}, {Name: "values", Value: values}}
	}
	transitions := make([]def.Object, len(replayed.Transitions))
	for i, t := range replayed.Transitions {
		transitions[i] = def.Object{
			{Name: "at", Value: def.TimeText(t.At)}, {Name: "previous", Value: t.Previous.String()}, {Name: "current", Value: t.State.String()},
			{Name: "reason", Value: t.Reason}, {Name: "reason_data", Value: t.Data},
		}
	}
	return write(w, http.StatusOK, def.Object{{Name: "steps", Value: steps}, {Name: "transitions", Value: transitions}})
}
