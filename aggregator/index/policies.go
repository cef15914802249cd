package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/policy"
)

// OnPolicy has f called for each policy that there is, and for each that was created
// or changed before it can be used, so that the engine knows it. f must not call
// the index.
func (x *Index) OnPolicy(f func(*policy.Policy)) {
	x.policies.mu.Lock()
	defer x.policies.mu.Unlock()
	x.policies.tell = append(x.policies.tell, f)
	for _, p := range *x.policies.known.Load() {
		f(p)
	}
}

// PolicyByID is a policy from memory.
func (x *Index) PolicyByID(id uint32) (*policy.Policy, bool) {
	p, ok := (*x.policies.known.Load())[id]
	return p, ok
}

// know sees to it that a policy is known before it is used.
func (x *Index) know(ctx context.Context, id uint32) error {
	if _, ok := x.PolicyByID(id); ok {
		return nil
	}
	return x.reloadPolicies(ctx)
}

// reloadPolicies reads the policies, and tells of those that are new or changed.
func (x *Index) reloadPolicies(ctx context.Context) error {
	x.policies.mu.Lock()
	defer x.policies.mu.Unlock()
	var list []*policy.Policy
	err := x.read(ctx, func(s *database.Session) (err error) {
		list, err = readPolicies(ctx, s)
		return err
	})
	if err != nil {
		return err
	}
	var old map[uint32]*policy.Policy
	if p := x.policies.known.Load(); p != nil {
		old = *p
	}
	known := make(map[uint32]*policy.Policy, len(list))
	for _, p := range list {
		if before, ok := old[p.ID]; ok && reflect.DeepEqual(before, p) {
			p = before
		} else {
			for _, f := range x.policies.tell {
				f(p)
			}
		}
		known[p.ID] = p
	}
	x.policies.known.Store(&known)
	return nil
}

// readPolicies reads all policies, by name.
func readPolicies(ctx context.Context, s *database.Session) ([]*policy.Policy, error) {
	var list []*policy.Policy
	rows, err := s.Query(ctx, "SELECT id, name, back_window, definitions, methods FROM policy ORDER BY name")
	err = database.Each(rows, err, func(rows *sql.Rows) error {
		p := &policy.Policy{}
		var definitions, methods string
		if err := rows.Scan(&p.ID, &p.Name, &p.BackWindow, &definitions, &methods); err != nil {
			return err
		}
		var pairs [][2]int64
		if err := json.Unmarshal([]byte(definitions), &pairs); err != nil {
			return fmt.Errorf("definitions of policy %q: %w", p.Name, err)
		}
		for _, d := range pairs {
			p.Definitions = append(p.Definitions, policy.Definition{Granularity: time.Duration(d[0]), Points: d[1]})
		}
		for _, name := range strings.Split(methods, ",") {
			m, err := policy.ParseMethod(name)
			if err != nil {
				return fmt.Errorf("methods of policy %q: %w", p.Name, err)
			}
			p.Methods.Add(m)
		}
		list = append(list, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the archive policies: %w", err)
	}
	return list, nil
}

func formatDefinitions(definitions []policy.Definition) (string, error) {
	pairs := make([][2]int64, len(definitions))
	for i, d := range definitions {
		pairs[i] = [2]int64{int64(d.Granularity), d.Points}
	}
	b, err := json.Marshal(pairs)
	return string(b), err
}

// insertPolicy reports whether there was none of that name.
func insertPolicy(ctx context.Context, u *update, p *policy.Policy) (bool, error) {
	definitions, err := formatDefinitions(p.Definitions)
	if err != nil {
		return false, err
	}
	var methods []string
	for _, m := range p.Methods.List() {
		methods = append(methods, m.String())
	}
	n, err := u.Exec(ctx, "INSERT INTO policy (name, back_window, definitions, methods) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		p.Name, p.BackWindow, definitions, strings.Join(methods, ","))
	return n == 1, err
}

// CreatePolicy creates an archive policy. It gets an ID of its own, which
// [Index.Policy] tells. The error is an [*ExistsError] or an [*InvalidError].
func (x *Index) CreatePolicy(ctx context.Context, p *policy.Policy) error {
	if err := p.Validate(); err != nil {
		return &InvalidError{err.Error()}
	}
	if err := checkText("name", p.Name); err != nil {
		return err
	}
	err := x.update(ctx, func(u *update) error {
		created, err := insertPolicy(ctx, u, p)
		if err == nil && !created {
			err = &ExistsError{KindPolicy, p.Name}
		}
		return err
	})
	if err != nil {
		return err
	}
	return x.reloadPolicies(ctx)
}

// Policies are all archive policies, by name.
func (x *Index) Policies(ctx context.Context) (list []*policy.Policy, err error) {
	err = x.read(ctx, func(s *database.Session) (err error) {
		list, err = readPolicies(ctx, s)
		return err
	})
	return list, err
}

// Policy is the archive policy of a name. The error is a [*NotFoundError].
func (x *Index) Policy(ctx context.Context, name string) (*policy.Policy, error) {
	list, err := x.Policies(ctx)
	if err != nil {
		return nil, err
	}
	return findPolicy(list, name)
}

func findPolicy(list []*policy.Policy, name string) (*policy.Policy, error) {
	for _, p := range list {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, &NotFoundError{KindPolicy, name}
}

// SetDefinitions changes how much is kept. The granularities have to stay; the
// error is an [*InvalidError] with Gnocchi's words if they do not, or a
// [*NotFoundError].
func (x *Index) SetDefinitions(ctx context.Context, name string, d []policy.Definition) (*policy.Policy, error) {
	text, err := formatDefinitions(d)
	if err != nil {
		return nil, err
	}
	var changed policy.Policy
	err = x.update(ctx, func(u *update) error {
		var id int64 // only to keep others from changing it
		if _, err := u.One(ctx, "SELECT id FROM policy WHERE name = ?"+u.ForUpdate(), []any{name}, &id); err != nil {
			return err
		}
		list, err := readPolicies(ctx, u.Session)
		if err != nil {
			return err
		}
		p, err := findPolicy(list, name)
		if err != nil {
			return err
		}
		if err := sameGranularities(name, p.Definitions, d); err != nil {
			return err
		}
		changed = *p
		changed.Definitions = d
		if err := changed.Validate(); err != nil {
			return &InvalidError{err.Error()}
		}
		_, err = u.Exec(ctx, "UPDATE policy SET definitions = ? WHERE id = ?", text, p.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &changed, x.reloadPolicies(ctx)
}

func sameGranularities(name string, a, b []policy.Definition) error {
	refuse := func(why string) error {
		return &InvalidError{fmt.Sprintf("Archive policy %s does not support change: %s", name, why)}
	}
	if len(a) != len(b) {
		return refuse("Cannot add or drop granularities")
	}
	byLength := func(a, b policy.Definition) int { return int(a.Granularity - b.Granularity) }
	a, b = slices.SortedFunc(slices.Values(a), byLength), slices.SortedFunc(slices.Values(b), byLength)
	for i := range a {
		if a[i].Granularity != b[i].Granularity {
			seconds := strconv.FormatFloat(a[i].Granularity.Seconds(), 'f', -1, 64)
			if !strings.Contains(seconds, ".") {
				seconds += ".0"
			}
			return refuse(seconds + " granularity interval was changed")
		}
	}
	return nil
}

// DeletePolicy deletes an archive policy. It is in use, and the error an
// [*InUseError], while a rule names it or metrics have it that were not purged; or
// it is a [*NotFoundError].
func (x *Index) DeletePolicy(ctx context.Context, name string) error {
	err := x.update(ctx, func(u *update) error {
		n, err := u.Exec(ctx, "DELETE FROM policy WHERE name = ?", name)
		if database.IsForeign(err) {
			return &InUseError{KindPolicy, name}
		}
		if err == nil && n == 0 {
			return &NotFoundError{KindPolicy, name}
		}
		return err
	})
	if err != nil {
		return err
	}
	return x.reloadPolicies(ctx)
}

// createDefaults makes Gnocchi's policies and rule if there are none.
func (x *Index) createDefaults(ctx context.Context) error {
	const day = 24 * time.Hour
	usual := policy.SetOf(policy.Mean, policy.Min, policy.Max, policy.Sum, policy.Std, policy.Count)
	kept := func(granularity, timespan time.Duration) policy.Definition {
		return policy.Definition{Granularity: granularity, Points: int64(timespan / granularity)}
	}
	minute, hour := kept(time.Minute, 7*day), kept(time.Hour, 365*day)
	defaults := []*policy.Policy{
		{Name: "low", Definitions: []policy.Definition{kept(5*time.Minute, 30*day)}, Methods: usual},
		{Name: "medium", Definitions: []policy.Definition{minute, hour}, Methods: usual},
		{Name: "high", Definitions: []policy.Definition{kept(time.Second, time.Hour), minute, hour}, Methods: usual},
		{Name: "bool", BackWindow: 3600, Definitions: []policy.Definition{kept(time.Second, 365*day)}, Methods: policy.SetOf(policy.Last)},
	}
	return x.update(ctx, func(u *update) error {
		var n int
		if _, err := u.One(ctx, "SELECT (SELECT count(*) FROM policy) + (SELECT count(*) FROM rule)", nil, &n); err != nil || n > 0 {
			return err
		}
		for _, p := range defaults {
			if _, err := insertPolicy(ctx, u, p); err != nil {
				return err
			}
		}
		_, err := u.Exec(ctx, "INSERT INTO rule (name, pattern, policy) SELECT 'default', '*', id FROM policy WHERE name = 'low' ON CONFLICT DO NOTHING")
		return err
	})
}
