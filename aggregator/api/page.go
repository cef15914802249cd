package api

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/nephoscope/nepho/aggregator/index"
)

// page is the part of a list that a request asks for: limit, marker and sort, the
// last of which is order if it is not given.
func (s *Server) page(q query, order ...string) (index.Page, error) {
	p := index.Page{Limit: s.o.MaxLimit, Marker: q.text("marker")}
	if q.has("limit") {
		limit, err := strconv.Atoi(q.text("limit"))
		reason := ""
		switch {
		case errors.Is(err, strconv.ErrRange) && !strings.HasPrefix(q.text("limit"), "-"):
			limit = s.o.MaxLimit
		case err != nil:
			reason = "expected int"
		case limit < 1:
			reason = "value must be at least 1"
		}
		if reason != "" {
			return p, badRequest(Cause{Cause: "Argument value error", Reason: reason + " for dictionary value @ data['limit']"})
		}
		p.Limit = min(limit, s.o.MaxLimit)
	}
	for _, text := range q.sort(order) {
		name, direction, _ := strings.Cut(text, ":")
		key := index.SortKey{Name: name}
		order, nulls, _ := strings.Cut(direction, "-")
		key.Desc = order == "desc"
		switch nulls {
		case "nullsfirst":
			key.Nulls = "first"
		case "nullslast":
			key.Nulls = "last"
		}
		if order != "" && order != "asc" && order != "desc" || nulls != "" && (key.Nulls == "" || order == "") || direction != strings.TrimSuffix(direction, "-") {
			return p, badPage("Unknown sort direction, must be one of: asc, desc, asc-nullsfirst, asc-nullslast, desc-nullsfirst, desc-nullslast")
		}
		p.Sort = append(p.Sort, key)
	}
	return p, nil
}

// sort is the wanted order, or order if none is wanted.
func (q query) sort(order []string) []string {
	if sort := q.all("sort"); len(sort) > 0 {
		return sort
	}
	return order
}

func badPage(reason string) *Error { return badRequest("Invalid pagination: `" + reason + "'") }

// linkNext adds the link to the next page, if this one is full. The last item is
// the next page's marker.
func (s *Server) linkNext(w http.ResponseWriter, r *http.Request, q query, p index.Page, n int, marker string, order ...string) {
	if n < p.Limit {
		return
	}
	values := url.Values{}
	for name, v := range q.values {
		values[name] = v
	}
	values.Set("limit", strconv.Itoa(p.Limit))
	values.Set("marker", marker)
	values["sort"] = q.sort(order)
	w.Header().Set("Link", "<"+s.mount.Base(r)+r.URL.EscapedPath()+"?"+values.Encode()+`>; rel="next"`)
}
