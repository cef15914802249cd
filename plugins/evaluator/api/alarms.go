package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// shown is an alarm as users see it: without the ids of trusts.
func shown(a *store.Alarm) *def.Alarm {
	shown := a.Alarm
	for i, list := range a.Actions {
		shown.Actions[i] = scrub(list)
	}
	return &shown
}

func answer(a *store.Alarm) def.Object { return shown(a).Answer(&a.Status) }

// detail is what history has of an alarm.
func detail(a *store.Alarm) def.Object { return shown(a).Detail(&a.Status) }

func (s *Server) getAlarm(w http.ResponseWriter, r *http.Request) error {
	a, err := s.alarm(r)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, answer(a))
}

// read reads the definition in a request's body, and checks all of it that needs
// nobody else.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (*def.Posted, error) {
	body, err := s.site.Body(w, r, "application/json")
	if err != nil {
		return nil, err
	}
	p, err := def.Read(body)
	if err != nil {
		return nil, err
	}
	if err := CheckRule(p.Rule); err != nil {
		return nil, err
	}
	return p, s.checkActions(askerOf(r), &p.Alarm)
}

func (s *Server) postAlarm(w http.ResponseWriter, r *http.Request) error {
	p, err := s.read(w, r)
	if err != nil {
		return err
	}
	who := askerOf(r)
	if !who.admin && p.HasUser && p.User != who.User {
		return refuse(http.StatusUnauthorized, "Not Authorized to access user %s", p.User)
	}
	if !who.admin && p.HasProject && p.Project != who.Project {
		return notAuthorized(p.Project)
	}
	if !p.HasUser {
		p.User = who.User
	}
	if !p.HasProject {
		p.Project = who.Project
	}
	now := s.o.Now().UTC()
	a := &store.Alarm{Alarm: p.Alarm, Status: def.Status{Reason: def.NotEvaluated, Since: now}}
	// It begins with the time, so that rows of new alarms are beside each other in indexes
	// by it: a page is written for many of them, and not for each.
	a.ID, a.Changed = uuid.Must(uuid.NewV7()), now
	// What an administrator makes for others sees what they see.
	a.Admin = who.admin && p.Project == who.Project
	if p.State != nil {
		a.State = *p.State
	}
	undo, err := s.trust(r, &a.Alarm, nil)
	if err != nil {
		return err
	}
	c := s.change(r, a, store.Creation, detail(a))
	if err := s.o.Store.Create(r.Context(), a, s.o.Limits, c); err != nil {
		undo()
		if errors.Is(err, store.ErrQuota) {
			return refuse(http.StatusForbidden, "Alarm quota exceeded for user %s on project %s", a.User, a.Project)
		}
		return s.doubted(a.ID, c, err)
	}
	s.told(a, c)
	w.Header().Set("Location", s.site.Link(r, "v2", "alarms", a.ID.String()))
	return write(w, http.StatusCreated, answer(a))
}

// tries is how often a change is tried that others' changes get in the way of. Clients
// of Aodh send no version, so theirs is the last word.
const tries = 10

func (s *Server) putAlarm(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.alarm(r); err != nil { // before its body is judged
		return err
	}
	p, err := s.read(w, r)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		old, err := s.alarm(r)
		if err != nil {
			return err
		}
		a, err := s.put(r, old, p)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return notFound(r.PathValue("id"))
		case errors.Is(err, store.ErrChanged) && n < tries:
			continue
		case err != nil:
			return err
		}
		return write(w, http.StatusOK, answer(a))
	}
}

// put changes an alarm to what was posted.
func (s *Server) put(r *http.Request, old *store.Alarm, p *def.Posted) (*store.Alarm, error) {
	if old.Origin != "" {
		return nil, readOnly(old)
	}
	who := askerOf(r)
	a := &store.Alarm{Alarm: p.Alarm, Status: old.Status}
	a.ID, a.Alarm.Version, a.Origin, a.Admin = old.ID, old.Alarm.Version, old.Origin, old.Admin
	switch {
	case !who.admin:
		a.User, a.Project = who.User, who.Project
	case !p.HasUser:
		a.User = old.User
	}
	if who.admin && !p.HasProject {
		a.Project = old.Project
	}
	if !who.admin || a.Project != old.Project {
		a.Admin = false
	}
	now := s.o.Now().UTC()
	a.Changed = now
	var status *def.Status
	state := def.InsufficientData // Aodh's default, also for a PUT
	if p.State != nil {
		state = *p.State
	}
	if state != old.State {
		status = &def.Status{State: state, Reason: def.ManuallySet, Since: now, Evaluated: old.Evaluated}
		a.Status = *status
	}
	undo, err := s.trust(r, &a.Alarm, &old.Alarm)
	if err != nil {
		return nil, err
	}
	var c *store.Change
	if d := def.Difference(detail(old), detail(a)); len(d) > 0 {
		c = s.change(r, a, store.RuleChange, d)
	}
	if err := s.o.Store.Update(r.Context(), a, status, c); err != nil {
		undo()
		return nil, s.doubted(a.ID, c, err)
	}
	s.told(a, c)
	s.ringTrusts()
	return a, nil
}

func readOnly(a *store.Alarm) error {
	return refuse(http.StatusForbidden, "Alarm %s comes from %s: change it there", a.ID, a.Origin)
}

func (s *Server) deleteAlarm(w http.ResponseWriter, r *http.Request) error {
	a, err := s.alarm(r)
	if err != nil {
		return err
	}
	if a.Origin != "" {
		return readOnly(a)
	}
	c := s.change(r, a, store.Deletion, def.Object{{Name: "state", Value: a.State.String()}})
	err = s.o.Store.Delete(r.Context(), a.ID, c)
	if errors.Is(err, store.ErrNotFound) {
		return notFound(a.ID.String())
	}
	if err != nil {
		return s.doubted(a.ID, c, err)
	}
	s.o.Evaluator.Remove(a.ID)
	s.owed(c)
	s.ringTrusts()
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) getState(w http.ResponseWriter, r *http.Request) error {
	a, err := s.alarm(r)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, a.State.String())
}

func (s *Server) putState(w http.ResponseWriter, r *http.Request) error {
	a, err := s.alarm(r)
	if err != nil {
		return err
	}
	body, err := s.site.Body(w, r, "application/json")
	if err != nil {
		return err
	}
	var text string
	if json.Unmarshal(body, &text) != nil {
		return bad("state invalid")
	}
	state, ok := def.ParseState(text)
	if !ok {
		return bad("state invalid")
	}
	status := &def.Status{State: state, Reason: def.ManuallySet, Since: s.o.Now().UTC(), Evaluated: a.Evaluated}
	c := s.change(r, a, store.StateTransition, def.Object{{Name: "state", Value: text}, {Name: "state_reason", Value: def.ManuallySet}})
	if err := s.o.Store.SetState(r.Context(), a.ID, status, c); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return notFound(a.ID.String())
		}
		return s.doubted(a.ID, c, err)
	}
	// What was read before may have been changed: evaluation has to know what is stored.
	switch a, err = s.o.Store.Alarm(r.Context(), a.ID); {
	case err == nil:
		s.told(a, c)
	case errors.Is(err, store.ErrNotFound):
		s.owed(c)
	default:
		return err
	}
	return write(w, http.StatusOK, text)
}

// change is a line of history of what a request does.
func (s *Server) change(r *http.Request, a *store.Alarm, kind store.Kind, detail def.Object) *store.Change {
	c := &store.Change{
		ID: uuid.New(), Alarm: a.ID, Name: a.Name, Kind: kind, Detail: string(def.AppendJSON(nil, detail)),
		Who: askerOf(r).who(), OnBehalfOf: a.Project, Severity: a.Severity, At: s.o.Now().UTC(),
	}
	if s.o.Record != nil {
		c.Deliveries = s.o.Record(c)
	}
	return c
}

// told passes on what was changed.
func (s *Server) told(a *store.Alarm, c *store.Change) {
	s.o.Evaluator.Put(a)
	s.owed(c)
}

// doubted passes on what may have been changed, by the error of a change, which it gives.
func (s *Server) doubted(id uuid.UUID, c *store.Change, err error) error {
	if errors.Is(err, database.ErrUnknown) {
		s.o.Evaluator.Doubt(id)
		s.owed(c)
		s.ringTrusts()
	}
	return err
}

func (s *Server) owed(c *store.Change) {
	if c == nil {
		return
	}
	for _, d := range c.Deliveries {
		s.ring(d.Target)
	}
}

// ring has what is owed to a target done soon.
func (s *Server) ring(target string) {
	if s.o.Owed != nil {
		s.o.Owed([]string{target})
	}
}
