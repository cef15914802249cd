package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

func (s *Server) getQuotas(w http.ResponseWriter, r *http.Request) error {
	who := askerOf(r)
	project := r.URL.Query().Get("project_id")
	if project == "" {
		project = who.Project
	}
	if project != who.Project && !who.admin {
		return notAuthorized(project)
	}
	return s.writeQuotas(w, r, http.StatusOK, project)
}

func (s *Server) writeQuotas(w http.ResponseWriter, r *http.Request, status int, project string) error {
	quotas, err := s.o.Store.Quotas(r.Context(), project)
	if err != nil {
		return err
	}
	if len(quotas) == 0 {
		quotas = []store.Quota{{Resource: "alarms", Limit: s.o.Limits.Project}}
	}
	list := make([]def.Object, len(quotas))
	for i, q := range quotas {
		list[i] = def.Object{{Name: "resource", Value: q.Resource}, {Name: "limit", Value: q.Limit}}
	}
	return write(w, status, def.Object{{Name: "project_id", Value: project}, {Name: "quotas", Value: list}})
}

func (s *Server) postQuotas(w http.ResponseWriter, r *http.Request) error {
	if !askerOf(r).admin {
		return errForbidden
	}
	body, err := s.site.Body(w, r, "application/json")
	if err != nil {
		return err
	}
	var in struct {
		Project *string `json:"project_id"`
		Quotas  []struct {
			Resource *string `json:"resource"`
			Limit    *int    `json:"limit"`
		} `json:"quotas"`
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return bad("Request is not in valid JSON format: %v", err)
	}
	if in.Project == nil {
		return bad("Invalid input for field/attribute project_id. Value: 'None'. Mandatory field missing.")
	}
	var quotas []store.Quota
	for _, q := range in.Quotas {
		switch {
		case q.Resource == nil || *q.Resource != "alarms":
			return bad("Invalid input for field/attribute resource. Value should be one of: alarms")
		case q.Limit == nil:
			return bad("Invalid input for field/attribute limit. Value: 'None'. Mandatory field missing.")
		case *q.Limit < -1:
			return bad("Invalid input for field/attribute limit. Value: '%d'. Value should be greater or equal to -1", *q.Limit)
		}
		quotas = append(quotas, store.Quota{Resource: "alarms", Limit: *q.Limit})
	}
	if err := s.o.Store.SetQuotas(r.Context(), *in.Project, quotas); err != nil {
		return err
	}
	return s.writeQuotas(w, r, http.StatusCreated, *in.Project)
}

func (s *Server) deleteQuotas(w http.ResponseWriter, r *http.Request) error {
	if !askerOf(r).admin {
		return errForbidden
	}
	// Also without any: then nothing is what it is to be.
	if err := s.o.Store.DeleteQuotas(r.Context(), r.PathValue("project")); err != nil && err != store.ErrNotFound {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// maxDeliveries is the most deliveries in one answer.
const maxDeliveries = 1000

// getDeliveries lists what is still owed, or with dead=true was given up: of the
// asker's project; of all to an administrator who says all_projects=true.
func (s *Server) getDeliveries(w http.ResponseWriter, r *http.Request) error {
	who, q := askerOf(r), r.URL.Query()
	project, limit, after := &who.Project, maxDeliveries, int64(0)
	if all, _ := def.Truth(q.Get("all_projects")); all {
		if !who.admin {
			return errForbidden
		}
		project = nil
	}
	dead, _ := def.Truth(q.Get("dead"))
	var err error
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit <= 0 || limit > maxDeliveries {
			return bad("Invalid input for field/attribute limit. Value: '%s'. it should be a positive integer of at most %d.", text, maxDeliveries)
		}
	}
	if text := q.Get("marker"); text != "" {
		if after, err = strconv.ParseInt(text, 10, 64); err != nil {
			return badMarker(text)
		}
	}
	list, err := s.o.Store.Deliveries(r.Context(), project, dead, after, limit)
	if err != nil {
		return err
	}
	answers := make([]def.Object, len(list))
	for i, d := range list {
		o := def.Object{
			{Name: "delivery_id", Value: d.ID.String()}, {Name: "marker", Value: d.Ref}, {Name: "alarm_id", Value: d.Alarm.String()},
			{Name: "project_id", Value: d.Project}, {Name: "action", Value: scrub([]string{d.Action})[0]}, {Name: "created", Value: def.TimeText(d.Created)},
			{Name: "tries", Value: d.Tries}, {Name: "failed", Value: d.Failed},
		}
		if !d.Dead.IsZero() {
			o = append(o, def.Member{Name: "dead", Value: def.TimeText(d.Dead)})
		}
		answers[i] = o
	}
	return write(w, http.StatusOK, answers)
}

// retryDelivery puts a dead delivery into its queue again.
func (s *Server) retryDelivery(w http.ResponseWriter, r *http.Request) error {
	who := askerOf(r)
	project := &who.Project
	if who.admin {
		project = nil
	}
	ref, err := strconv.ParseInt(r.PathValue("ref"), 10, 64)
	if err != nil {
		return refuse(http.StatusNotFound, "There is no dead delivery %s", r.PathValue("ref"))
	}
	target, err := s.o.Store.Revive(r.Context(), ref, project)
	if err == store.ErrNotFound {
		return refuse(http.StatusNotFound, "There is no dead delivery %d", ref)
	}
	if err != nil {
		return err
	}
	if s.o.Retry != nil {
		s.o.Retry(target)
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}
