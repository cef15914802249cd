package cli

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

func resourceCommands() []command {
	return []command{
		{"list", "", "list resources", clientHelp, (*App).resourceList, nil},
		{"show", "RESOURCE", "show a resource and its metrics", resourceShowHelp + clientHelp, (*App).resourceShow, nil},
		{"search", "CONDITION", "list the resources that satisfy a condition", resourceSearchHelp + clientHelp, (*App).resourceSearch, nil},
	}
}

const resourceShowHelp = `
RESOURCE is an id: a UUID, or the text that its samples have.
`

const resourceSearchHelp = `
  nepho resource search --type instance "host = 'compute-1' and ended_at = null"
  nepho resource search "project_id = '9d1f...' or display_name like 'web-%'" --type instance

Attributes are compared with = != < > <= >= like and in [..]; conditions are joined
by and, or, not and parentheses.
`

// resourceJSON is a resource as the API has it; what is not here are its attributes.
type resourceJSON struct {
	ID        string            `json:"id"`
	Original  *string           `json:"original_resource_id"`
	Type      string            `json:"type"`
	Project   *string           `json:"project_id"`
	StartedAt string            `json:"started_at"`
	EndedAt   *string           `json:"ended_at"`
	Metrics   map[string]string `json:"metrics"`
}

func (r resourceJSON) name() string {
	if o := or(r.Original); o != "" {
		return o
	}
	return r.ID
}

const resourceHeads = "ID\tTYPE\tNAME\tPROJECT\tSTARTED\tENDED"

func resourceRow(r resourceJSON) []string {
	return []string{r.ID, r.Type, r.name(), or(r.Project), r.StartedAt, or(r.EndedAt)}
}

func (a *App) resourceList(flags *flag.FlagSet, args []string) int {
	return a.resources(flags, args, 0)
}

func (a *App) resourceSearch(flags *flag.FlagSet, args []string) int {
	return a.resources(flags, args, 1)
}

// resources lists resources: all of a type, or those that satisfy a condition.
func (a *App) resources(flags *flag.FlagSet, args []string, conditions int) int {
	f := addClientFlags(flags)
	typ := flags.String("type", "generic", "resource `type`; generic is all")
	limit := flags.Int("limit", 1000, "`number` at most; 0 is all")
	rest, code, done := a.parse(flags, args, conditions)
	if done {
		return code
	}
	if len(rest) < conditions {
		return a.lacks(flags, "CONDITION")
	}
	c, ok := a.ask(flags.Name(), f)
	if !ok {
		return exitFailed
	}
	method, path, query := http.MethodGet, "/v1/resource/", url.Values{}
	if *typ == "generic" {
		query.Set("details", "true") // the attributes of all types, in what --json prints
	}
	if conditions > 0 {
		method, path = http.MethodPost, "/v1/search/resource/"
		query.Set("filter", rest[0])
	}
	list, err := c.pages(method, path+url.PathEscape(*typ), query, *limit, nil)
	if err != nil {
		return c.fail(err)
	}
	return table(c, list, f.json, resourceHeads, resourceRow)
}

// shared are keys that all resources have and that show writes in an order of its own,
// or not at all.
var shared = []string{
	"id", "original_resource_id", "type", "user_id", "project_id", "started_at", "ended_at", "revision_start", "revision_end",
	"creator", "created_by_user_id", "created_by_project_id", "metrics",
}

func (a *App) resourceShow(flags *flag.FlagSet, args []string) int {
	f := addClientFlags(flags)
	history := flags.Bool("history", false, "show all revisions")
	names, code, done := a.parse(flags, args, 1)
	if done {
		return code
	}
	if len(names) == 0 {
		return a.lacks(flags, "RESOURCE")
	}
	c, ok := a.ask(flags.Name(), f)
	if !ok {
		return exitFailed
	}
	// The type generic finds resources of all types, but tells no attributes of them.
	var found resourceJSON
	id := url.PathEscape(names[0])
	if _, _, err := c.do(http.MethodGet, "/v1/resource/generic/"+id, nil, nil, &found); err != nil {
		return c.fail(err)
	}
	path := "/v1/resource/" + url.PathEscape(found.Type) + "/" + id
	if *history {
		list, err := c.pages(http.MethodGet, path+"/history", url.Values{}, 0, nil)
		if err != nil {
			return c.fail(err)
		}
		if f.json {
			return c.json(list)
		}
		for i, raw := range list {
			if i > 0 {
				fmt.Fprintln(a.Stdout)
			}
			if code := c.resource(raw); code != exitOK {
				return code
			}
		}
		return exitOK
	}
	raw, _, err := c.do(http.MethodGet, path, nil, nil, nil)
	switch {
	case err != nil:
		return c.fail(err)
	case f.json:
		return c.json(json.RawMessage(raw))
	}
	return c.resource(raw)
}

// resource writes a resource, one thing a line.
func (c *client) resource(raw []byte) int {
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return c.fail(fmt.Errorf("what answers at %s is no aggregator: %w", c.base, err))
	}
	var pairs []string
	add := func(key string) {
		if v := all[key]; v != nil {
			pairs = append(pairs, key, number(v))
		}
	}
	for _, key := range shared[:7] {
		add(key)
	}
	add("revision_start")
	add("revision_end")
	add("creator")
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains(shared, key) {
			add(key)
		}
	}
	if metrics, ok := all["metrics"].(map[string]any); ok {
		for _, name := range slices.Sorted(maps.Keys(metrics)) {
			pairs = append(pairs, "metric "+name, fmt.Sprint(metrics[name]))
		}
	}
	return c.fields(pairs...)
}
