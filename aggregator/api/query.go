package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// query is the parameters of a request.
type query struct{ values url.Values }

// queryOf parses the parameters of a request.
func queryOf(r *http.Request) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, badRequest("The query string cannot be parsed: " + err.Error())
	}
	return query{values}, nil
}

// has reports whether a parameter is given.
func (q query) has(name string) bool { return q.values.Has(name) }

// text is the first value of a parameter, "" if there is none.
func (q query) text(name string) string { return q.values.Get(name) }

// all is every value of a parameter.
func (q query) all(name string) []string { return q.values[name] }

// boolean is a parameter that is true or false, and missing if it is not given.
func (q query) boolean(name string, missing bool) (bool, error) {
	if !q.has(name) {
		return missing, nil
	}
	value, err := parseBool(q.text(name))
	if err != nil {
		return false, badRequest(fmt.Sprintf("Unable to parse `%s': %v", name, err))
	}
	return value, nil
}

// parseBool reads what Gnocchi takes for true and false.
func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "y", "yes", "t", "true", "on", "1":
		return true, nil
	case "n", "no", "f", "false", "off", "0":
		return false, nil
	}
	return false, fmt.Errorf("invalid truth value '%s'", strings.ToLower(text))
}
