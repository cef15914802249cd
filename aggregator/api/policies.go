package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
)

func (s *Server) policyRoutes() {
	x := s.o.Index
	named[*policy.Policy]{
		path: "archive_policy", view: func(p *policy.Policy) any { return viewPolicy(p) },
		all: x.Policies, one: x.Policy, create: s.createPolicy, change: s.changePolicy, remove: x.DeletePolicy,
	}.routes(s)
}

// maxName is the most characters of names that are stored.
const maxName = 255

// defaultMethods are those of a policy that names none: Gnocchi's.
var defaultMethods = policy.SetOf(policy.Mean, policy.Min, policy.Max, policy.Sum, policy.Std, policy.Count)

type policyView struct {
	Name       string           `json:"name"`
	BackWindow int              `json:"back_window"`
	Definition []definitionView `json:"definition"`
	Methods    []string         `json:"aggregation_methods"`
}

// definitionView has null where windows are kept for ever.
type definitionView struct {
	Granularity string  `json:"granularity"`
	Points      *int64  `json:"points"`
	Timespan    *string `json:"timespan"`
}

func viewPolicy(p *policy.Policy) policyView {
	v := policyView{Name: p.Name, BackWindow: p.BackWindow, Definition: []definitionView{}, Methods: []string{}}
	for _, d := range p.Definitions {
		view := definitionView{Granularity: timetext.FormatSpan(d.Granularity)}
		if d.Points > 0 {
			span := timetext.FormatSpan(d.Timespan())
			view.Points, view.Timespan = &d.Points, &span
		}
		v.Definition = append(v.Definition, view)
	}
	for _, m := range p.Methods.List() {
		v.Methods = append(v.Methods, m.String())
	}
	return v
}

func (s *Server) createPolicy(ctx context.Context, in input) (*policy.Policy, string, error) {
	body := in.object("name", "definition", "back_window", "aggregation_methods")
	p := &policy.Policy{Name: body.need("name").text(1, maxName), Methods: defaultMethods}
	if v := body.get("back_window"); v.given() {
		p.BackWindow = int(v.integer(0))
	}
	if v := body.get("aggregation_methods"); v.given() {
		p.Methods = readMethods(v)
	}
	var err error
	p.Definitions, err = readDefinitions(body.need("definition"))
	if err := firstOf(in.err(), err); err != nil {
		return nil, "", err
	}
	// A window before the first one there can be is not told from none.
	if coarsest := int64(p.Coarsest()); int64(p.BackWindow) > math.MaxInt64/coarsest {
		return nil, "", badRequest("back_window is too long: it must be less than 292 years")
	}
	return p, p.Name, s.o.Index.CreatePolicy(ctx, p)
}

func (s *Server) changePolicy(w http.ResponseWriter, r *http.Request, p *policy.Policy) (*policy.Policy, error) {
	in, err := s.input(w, r)
	if err != nil {
		return nil, err
	}
	definitions, err := readDefinitions(in.object("definition").need("definition"))
	if err := firstOf(in.err(), err); err != nil {
		return nil, err
	}
	const refused = "Archive policy %s does not support change: %s"
	if len(definitions) != len(p.Definitions) {
		return nil, badRequest(fmt.Sprintf(refused, p.Name, "Cannot add or drop granularities"))
	}
	for _, old := range p.Definitions {
		if !slices.ContainsFunc(definitions, func(d policy.Definition) bool { return d.Granularity == old.Granularity }) {
			return nil, badRequest(fmt.Sprintf(refused, p.Name, secondsText(old.Granularity)+" granularity interval was changed"))
		}
	}
	return s.o.Index.SetDefinitions(r.Context(), p.Name, definitions)
}

// readDefinitions reads the granularities of a policy. Faults that are not of one
// value are its error; the others are in.err().
func readDefinitions(in input) ([]policy.Definition, error) {
	var definitions []policy.Definition
	for _, item := range in.list(1) {
		o := item.object("granularity", "points", "timespan")
		var granularity, timespan time.Duration
		var points int64
		if v := o.get("granularity"); v.given() {
			granularity = v.span()
		}
		if v := o.get("timespan"); v.given() {
			timespan = v.span()
		}
		if v := o.get("points"); v.given() {
			points = v.integer(1)
		}
		if in.err() != nil {
			return nil, nil
		}
		d, err := define(granularity, points, timespan)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(definitions, func(other policy.Definition) bool { return other.Granularity == d.Granularity }) {
			return nil, badRequest(fmt.Sprintf("More than one archive policy uses granularity `%s'", secondsText(d.Granularity)))
		}
		definitions = append(definitions, d)
	}
	return definitions, nil
}

// define makes a definition of those of its three values that are given, which are
// above 0.
func define(granularity time.Duration, points int64, timespan time.Duration) (policy.Definition, error) {
	d := policy.Definition{Granularity: granularity, Points: points}
	switch {
	case granularity > 0 && timespan > 0 && points > 0:
		if timespan/granularity != time.Duration(points) || timespan%granularity != 0 {
			return d, badRequest("timespan ≠ granularity × points")
		}
	case granularity > 0 && timespan > 0:
		if d.Points = int64(timespan / granularity); d.Points == 0 {
			return d, badRequest("Calculated number of points is < 0: the timespan is shorter than the granularity")
		}
	case granularity > 0:
		if points > math.MaxInt64/int64(granularity) {
			return d, badRequest("timespan is too long: it must be less than 292 years")
		}
	case points > 0 && timespan > 0:
		if d.Granularity = timespan / time.Duration(points); d.Granularity == 0 {
			return d, badRequest("Calculated granularity is < 1 ns: there are more points than nanoseconds in the timespan")
		}
	default:
		return d, badRequest("At least two of granularity/points/timespan must be provided")
	}
	return d, nil
}

// readMethods reads names of methods. With signs before all of them they change
// the default ones.
func readMethods(in input) policy.Set {
	type change struct {
		set policy.Set
		add bool
	}
	var plain policy.Set
	var changes []change
	list := in.list(0)
	for _, item := range list {
		name := item.methodName()
		sign := ""
		if strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-") {
			sign, name = name[:1], name[1:]
		}
		var set policy.Set
		if name == "*" {
			for m := range policy.Method(policy.Methods) {
				set.Add(m)
			}
		} else if m, err := policy.ParseMethod(name); err == nil {
			set.Add(m)
		} else {
			item.invalid("must be a method that /v1/capabilities lists")
			return plain
		}
		if sign == "" {
			for _, m := range set.List() {
				plain.Add(m)
			}
			continue
		}
		changes = append(changes, change{set, sign == "+"})
	}
	if len(changes) == len(list) {
		plain = defaultMethods
	}
	for _, c := range changes {
		for _, m := range c.set.List() {
			if c.add {
				plain.Add(m)
			} else {
				plain.Remove(m)
			}
		}
	}
	if in.err() == nil && plain == (policy.Set{}) {
		in.fault("no aggregation method is left")
	}
	return plain
}

// methodName is a string, or "" for what is none and so no name of a method.
func (in input) methodName() string {
	if in.kind() != '"' {
		return ""
	}
	text, _ := in.scalar()
	return text
}

// secondsText is a timespan in seconds as Python writes a float.
func secondsText(d time.Duration) string {
	text := fmt.Sprint(d.Seconds())
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// firstOf is the first error that is one.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
