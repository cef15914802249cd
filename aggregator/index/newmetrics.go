package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/policy"
)

// Limits of metrics' texts, in characters. Gnocchi has the same, besides the first:
// there it is 255, which names that are made of labels would not fit.
const (
	maxName = 4096
	maxUnit = 31
)

// metricRow is a metric that is to be inserted.
type metricRow struct {
	NewMetric
	policy  *policy.Policy
	creator any // its number
	ref     engine.Ref
	project string // of the resource
}

// entry is the metric for the memory.
func (x *Index) entry(m *metricRow) *Entry {
	return &Entry{m.ID, m.ref, m.policy.ID, x.cache.texts.same(m.Creator), x.cache.texts.same(m.project), x.cache.nameKey(m.Resource, m.Name)}
}

func (m *metricRow) metric(u *update) *Metric {
	return &Metric{ID: m.ID, Ref: m.ref, Name: m.Name, Unit: m.Unit, Creator: m.Creator, Policy: m.policy.Name,
		PolicyID: m.policy.ID, Resource: m.Resource, Created: u.now, Labels: m.Labels}
}

// chooser finds the policies of new metrics.
type chooser struct {
	policies []*policy.Policy
	rules    []Rule
}

func readChooser(ctx context.Context, s *database.Session) (*chooser, error) {
	policies, err := readPolicies(ctx, s)
	if err != nil {
		return nil, err
	}
	rules, err := readRules(ctx, s)
	return &chooser{policies, rules}, err
}

// choose gives the policy of a name, or for "" that of the first rule that matches
// the metric's name.
func (c *chooser) choose(name, metric string) (*policy.Policy, error) {
	if name == "" {
		i := slices.IndexFunc(c.rules, func(r Rule) bool { return Match(r.Pattern, metric) })
		if i < 0 {
			return nil, &NoRuleError{metric}
		}
		name = c.rules[i].Policy
	}
	return findPolicy(c.policies, name)
}

// check refuses texts that are no names, units or labels, and gives the metric an id.
func (m *NewMetric) check() error {
	if err := checkText("name", m.Name); err != nil {
		return err
	}
	if err := checkText("unit", m.Unit); err != nil {
		return err
	}
	for name, value := range m.Labels {
		if err := checkText("label", name+value); err != nil {
			return err
		}
	}
	switch {
	case utf8.RuneCountInString(m.Name) > maxName:
		return &InvalidError{fmt.Sprintf("a metric's name has at most %d characters", maxName)}
	case utf8.RuneCountInString(m.Unit) > maxUnit:
		return &InvalidError{fmt.Sprintf("a metric's unit has at most %d characters", maxUnit)}
	case m.Resource != uuid.Nil && m.Name == "":
		return &InvalidError{"Name cannot be null if resource_id is not null"}
	}
	if m.ID == uuid.Nil {
		// Of version 7, which are ascending: so the newest metrics, which are used most, are
		// together in the databases' indexes.
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("cannot make an id: %w", err)
		}
		m.ID = id
	}
	return nil
}

// numberCreators fills in the numbers of the creators. It has transactions of its own.
func (x *Index) numberCreators(ctx context.Context, list []*metricRow) error {
	last := ""
	var number any
	for _, m := range list {
		if m.Creator != last {
			var err error
			if number, err = x.creator(ctx, m.Creator); err != nil {
				return err
			}
			last = m.Creator
		}
		m.creator = number
	}
	return nil
}

// insertMetrics inserts metrics, and gives them their refs. It gives those that it
// could not insert, because there is one of that id, or of that name on the resource.
func insertMetrics(ctx context.Context, u *update, list []*metricRow) (taken []*metricRow, err error) {
	var labelled []*metricRow
	for _, chunk := range chunks(list) {
		byID := make(map[uuid.UUID]*metricRow, len(chunk))
		var args []any
		for _, m := range chunk {
			labels, err := formatLabels(m.Labels)
			if err != nil {
				return nil, err
			}
			var resource any
			if m.Resource != uuid.Nil {
				resource = u.UUID(m.Resource)
			}
			byID[m.ID] = m
			args = append(args, u.UUID(m.ID), nullText(m.Name), nullText(m.Unit), m.creator, m.policy.ID, resource, u.now.UnixMicro(), labels)
		}
		rows, err := u.Query(ctx, "INSERT INTO metric (id, name, unit, creator, policy, resource, created_at, labels) VALUES "+
			listed("(?,?,?,?,?,?,?,?)", len(chunk))+" ON CONFLICT DO NOTHING RETURNING id, ref", args...)
		err = database.Each(rows, err, func(rows *sql.Rows) error {
			var (
				id  uuid.UUID
				ref engine.Ref
			)
			err := rows.Scan(&id, &ref)
			if err == nil {
				byID[id].ref = ref
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("cannot create metrics: %w", err)
		}
		for _, m := range chunk {
			if byID[m.ID] != m || m.ref == 0 {
				taken = append(taken, m)
			} else if len(m.Labels) > 0 {
				labelled = append(labelled, m)
			}
		}
	}
	return taken, insertLabels(ctx, u, labelled)
}

func nullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func formatLabels(labels map[string]string) (any, error) {
	if len(labels) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(labels)
	return string(b), err
}

// errTaken tells which of the two was taken.
func errTaken(ctx context.Context, u *update, m *metricRow) error {
	var id uuid.UUID
	if found, err := u.One(ctx, "SELECT id FROM metric WHERE id = ?", []any{u.UUID(m.ID)}, &id); err != nil {
		return err
	} else if found {
		return &ExistsError{KindMetric, m.ID.String()}
	}
	return &NamedMetricError{m.Name}
}

// CreateMetrics creates metrics, all or none, in one transaction. The error is an
// [*ExistsError] of an id, a [*NamedMetricError], a [*NotFoundError] of a policy or
// a resource, a [*NoRuleError] or an [*InvalidError].
func (x *Index) CreateMetrics(ctx context.Context, list []NewMetric) ([]*Metric, error) {
	rows := make([]*metricRow, len(list))
	for i := range list {
		rows[i] = &metricRow{NewMetric: list[i]}
		if err := rows[i].check(); err != nil {
			return nil, err
		}
	}
	if err := x.numberCreators(ctx, rows); err != nil {
		return nil, err
	}
	var created []*Metric
	seen := x.cache.moments()
	err := x.update(ctx, func(u *update) error {
		created = created[:0]
		if err := x.place(ctx, u, rows); err != nil {
			return err
		}
		taken, err := insertMetrics(ctx, u, rows)
		if database.IsForeign(err) {
			return database.ErrAgain // a policy was deleted just now
		}
		if err != nil {
			return err
		}
		if len(taken) > 0 {
			return errTaken(ctx, u, taken[0])
		}
		for _, m := range rows {
			created = append(created, m.metric(u))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return created, x.remember(ctx, seen, rows)
}

// place finds the policies of new metrics, and sees to it that their resources are
// there and stay until the transaction ends.
func (x *Index) place(ctx context.Context, u *update, list []*metricRow) error {
	c, err := readChooser(ctx, u.Session)
	if err != nil {
		return err
	}
	resources := map[uuid.UUID]bool{}
	for _, m := range list {
		m.ref = 0
		if m.policy, err = c.choose(m.Policy, m.Name); err != nil {
			return err
		}
		if m.Resource != uuid.Nil {
			resources[m.Resource] = true
		}
	}
	if len(resources) == 0 {
		return nil
	}
	found, err := readRows(ctx, u.Session, slices.Collect(maps.Keys(resources)), u.ForShare())
	if err != nil {
		return err
	}
	for _, m := range list {
		if m.Resource == uuid.Nil {
			continue
		}
		r := found[m.Resource]
		if r == nil {
			return &NotFoundError{KindResource, m.Resource.String()}
		}
		m.project = project(r)
	}
	return nil
}

func project(r *row) string {
	if r.Project == nil {
		return ""
	}
	return *r.Project
}

// remember puts new metrics into memory, and sees to it that their policies are known.
func (x *Index) remember(ctx context.Context, seen *moments, list []*metricRow) error {
	for _, m := range list {
		if err := x.know(ctx, m.policy.ID); err != nil {
			return err
		}
		x.cache.put(seen, x.entry(m))
	}
	return nil
}

// attempts is how often metrics that others make meanwhile are looked up again.
const attempts = 20

// EnsureMetrics creates those of the named metrics of existing resources that are
// missing, in one transaction that is done whole or not at all, and gives the
// entries of all in their order. Metrics that exist stay as they are. The error is
// as that of [Index.CreateMetrics]; an unknown resource is a [*NotFoundError].
func (x *Index) EnsureMetrics(ctx context.Context, list []NewMetric) ([]*Entry, error) {
	names := make([]Name, len(list))
	for i := range list {
		if list[i].Resource == uuid.Nil || list[i].Name == "" {
			return nil, &InvalidError{"Name cannot be null if resource_id is not null"}
		}
		names[i] = Name{list[i].Resource, list[i].Name}
	}
	for attempt := 1; ; attempt++ {
		entries, err := x.LookupNames(ctx, names, nil)
		if err != nil {
			return nil, err
		}
		var missing []NewMetric
		wanted := map[Name]bool{}
		for i, e := range entries {
			if e == nil && !wanted[names[i]] {
				wanted[names[i]] = true
				missing = append(missing, list[i])
			}
		}
		if missing == nil {
			return entries, nil
		}
		_, err = x.CreateMetrics(ctx, missing)
		// Somebody else may have made one of them meanwhile.
		if err != nil && (attempt == attempts || !errors.As(err, new(*NamedMetricError))) {
			return nil, err
		}
	}
}
