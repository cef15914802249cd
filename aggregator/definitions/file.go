package definitions

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/glob"
)

// fileTable is a file as it is written.
type fileTable struct {
	Policies  []policyTable   `toml:"policy"`
	Metrics   []metricTable   `toml:"metric"`
	Resources []resourceTable `toml:"resource"`
}

type policyTable struct {
	Name       string        `toml:"name" required:"true"`
	Methods    []string      `toml:"methods" required:"true"`
	BackWindow int           `toml:"back_window" min:"0"`
	Definition []windowTable `toml:"definition" required:"true"`
}

type windowTable struct {
	Granularity time.Duration `toml:"granularity" required:"true" min:"1ns"`
	Timespan    time.Duration `toml:"timespan"`
	Points      int64         `toml:"points" min:"0"`
}

type metricTable struct {
	Names  []string `toml:"names"`
	Types  []string `toml:"types" enum:"gauge|delta|cumulative"`
	Policy string   `toml:"policy" required:"true"`
}

type resourceTable struct {
	Type       string                    `toml:"type" required:"true"`
	Metrics    []string                  `toml:"metrics"`
	Attributes map[string]attributeTable `toml:"attributes"`
	Events     *eventsTable              `toml:"events"`
}

type attributeTable struct {
	From      []string            `toml:"from"`
	Type      index.AttributeType `toml:"type" default:"string" enum:"string|uuid|number|bool|datetime"`
	MinLength int                 `toml:"min_length" min:"0" max:"255"`
	MaxLength int                 `toml:"max_length" default:"255" min:"0" max:"255"`
	Min       *float64            `toml:"min"`
	Max       *float64            `toml:"max"`
}

type eventsTable struct {
	Create []string `toml:"create"`
	Update []string `toml:"update"`
	Delete []string `toml:"delete"`
	// ID are traits: the first that there is holds the id of the resource.
	ID []string `toml:"id"`
	// Attributes are traits by the attribute that they set.
	Attributes map[string][]string `toml:"attributes"`
	// Ends are attributes by the resource type of what ends together with the
	// resource: the attribute holds its id.
	Ends map[string]string `toml:"ends"`
}

// Validate implements the check of options.
func (p policyTable) Validate() error {
	var errs []error
	for i, m := range p.Methods {
		if _, err := policy.ParseMethod(m); err != nil {
			errs = append(errs, config.KeyError(fmt.Sprintf("methods[%d]", i), "%w (such as mean, min, max, last, sum, count, std, 95pct, rate:mean)", err))
		}
	}
	seen := map[time.Duration]bool{}
	for i, w := range p.Definition {
		at := fmt.Sprintf("definition[%d]", i)
		switch {
		case w.Timespan > 0 && w.Points > 0:
			errs = append(errs, config.KeyError(at, "has both timespan and points; one follows from the other"))
		case w.Timespan > 0 && w.Timespan < w.Granularity:
			errs = append(errs, config.KeyError(at+".timespan", "is shorter than the granularity %s", config.FormatDuration(w.Granularity)))
		}
		if seen[w.Granularity] {
			errs = append(errs, config.KeyError(at+".granularity", "%s is there twice", config.FormatDuration(w.Granularity)))
		}
		seen[w.Granularity] = true
	}
	return errors.Join(errs...)
}

// policy makes the policy of a checked table.
func (p policyTable) policy() *policy.Policy {
	made := &policy.Policy{Name: p.Name, BackWindow: p.BackWindow}
	for _, m := range p.Methods {
		if method, err := policy.ParseMethod(m); err == nil {
			made.Methods.Add(method)
		}
	}
	for _, w := range p.Definition {
		points := w.Points
		if w.Timespan > 0 {
			points = int64(w.Timespan / w.Granularity)
		}
		made.Definitions = append(made.Definitions, policy.Definition{Granularity: w.Granularity, Points: points})
	}
	return made
}

// Validate implements the check of options.
func (m metricTable) Validate() error { return checkGlobs("names", m.Names, true) }

// attributeName is what Gnocchi allows: up to 63 characters, the first of them
// alphanumeric. What would be no word in TOML or a search is refused as well. It is compiled when it is needed:
// every plugin's process has this package in it.
var attributeName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)
})

// reserved are the names of attributes that every resource has.
var reserved = []string{
	"id", "type", "metrics", "revision", "revision_start", "revision_end", "started_at", "ended_at", "user_id", "project_id",
	"created_by_user_id", "created_by_project_id", "get_metric", "creator", "original_resource_id", "lifespan",
}

// Validate implements the check of options.
func (r resourceTable) Validate() error {
	var errs []error
	wrong := func(key, format string, args ...any) { errs = append(errs, config.KeyError(key, format, args...)) }
	if strings.Contains(r.Type, "/") {
		wrong("type", "must have no slash")
	}
	if err := checkGlobs("metrics", r.Metrics, false); err != nil {
		errs = append(errs, err)
	}
	seen := map[string]bool{}
	for i, m := range r.Metrics {
		if seen[m] {
			wrong(fmt.Sprintf("metrics[%d]", i), "%q is there twice", m)
		}
		seen[m] = true
	}
	if r.Type == Generic && len(r.Attributes) > 0 {
		wrong("attributes", "the type generic has none")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Attributes)) {
		a, at := r.Attributes[name], "attributes."+name
		switch {
		case slices.Contains(reserved, name):
			wrong(at, "every resource has an attribute of that name")
		case !attributeName().MatchString(name):
			wrong(at, "is no name of an attribute: at most 63 letters, digits, _, - and dots")
		}
		for i, text := range a.From {
			if _, err := parsePath(text); err != nil {
				wrong(fmt.Sprintf("%s.from[%d]", at, i), "%w", err)
			}
		}
		if a.Type != index.Number && (a.Min != nil || a.Max != nil) {
			wrong(at, "min and max are limits of numbers, and its type is %s", a.Type)
		}
		if a.Min != nil && a.Max != nil && *a.Min > *a.Max {
			wrong(at+".min", "is above max")
		}
		if a.MinLength > a.MaxLength {
			wrong(at+".min_length", "is above max_length")
		}
	}
	if r.Events != nil {
		errs = append(errs, r.Events.check("events."))
	}
	return errors.Join(errs...)
}

func (e eventsTable) check(at string) error {
	errs := []error{checkGlobs(at+"create", e.Create, true), checkGlobs(at+"update", e.Update, true), checkGlobs(at+"delete", e.Delete, true)}
	if len(e.Create)+len(e.Update)+len(e.Delete) > 0 && len(e.ID) == 0 {
		errs = append(errs, config.KeyError(strings.TrimSuffix(at, "."), "needs an id: the names of the traits that hold a resource's id"))
	}
	if len(e.Ends) > 0 && len(e.Delete) == 0 {
		errs = append(errs, config.KeyError(at+"ends", "is of no use without delete"))
	}
	return errors.Join(errs...)
}

// checkGlobs reports patterns that are none. Those that exclude make sense only
// where a list is matched as a whole.
func checkGlobs(key string, patterns []string, exclusive bool) error {
	var errs []error
	for i, p := range patterns {
		at := fmt.Sprintf("%s[%d]", key, i)
		if !exclusive && strings.HasPrefix(p, "!") {
			errs = append(errs, config.KeyError(at, "%q excludes; here is what belongs to the type only", p))
		} else if _, err := glob.Compile([]string{p}); err != nil {
			errs = append(errs, config.KeyError(at, "%w", err))
		} else if p == "" {
			errs = append(errs, config.KeyError(at, "must not be empty"))
		}
	}
	return errors.Join(errs...)
}

// isName reports whether a pattern is a name.
func isName(pattern string) bool { return !strings.ContainsAny(pattern, `*?[\`) }

func (m metricTable) choice() choice {
	c := choice{policy: m.Policy}
	c.globs, _ = glob.Compile(m.Names) // checked
	for _, text := range m.Types {
		if t, err := sdk.ParseType(text); err == nil {
			c.types = append(c.types, t)
		}
	}
	return c
}

func (a attributeTable) attribute(name string) Attribute {
	made := Attribute{Name: name, Attribute: index.Attribute{Type: a.Type, Min: a.Min, Max: a.Max}}
	if a.Type == index.String {
		made.MinLength, made.MaxLength = a.MinLength, a.MaxLength
	}
	from := a.From
	if len(from) == 0 {
		from = []string{"resource_metadata." + name}
	}
	for _, text := range from {
		if p, err := parsePath(text); err == nil {
			made.paths = append(made.paths, p)
		}
	}
	return made
}
