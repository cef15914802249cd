package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
)

// Wanted is a resource as it should be, and the metrics that it should have.
type Wanted struct {
	// Resource has ID, Original, Type and Creator. User, Project, Ended and those
	// attributes that are nil stay as they are. Started is for a new one; the zero
	// time is now. One that is [Generic] so far becomes one of Type, in a new revision;
	// Type Generic is satisfied by any.
	Resource Resource
	// Metrics have Name, and for new ones Unit, Policy ("" by rule) and Labels;
	// their creator is the resource's. A unit that is too long is cut: it is no reason to
	// lose measures. One with labels is only satisfied by a metric with the same labels.
	Metrics []NewMetric
}

// Ensured is what became of a [Wanted].
type Ensured struct {
	Entries          []*Entry // in the order of the wanted metrics; nil for one that could not be made
	Created, Changed bool     // the resource
	// Err says what could not be done: an attribute is not of its type (nothing of
	// this resource is done then), the resource is of another type or can't become one
	// of it (its metrics are made nevertheless); a metric's policy is unknown, its name or
	// a label can't be stored, or there is one of that name with other labels, a
	// [*LabelsError] (other metrics are made). It joins several.
	Err error
}

// EnsureResources creates what is missing of resources and their metrics and
// changes what differs, in one transaction; without a transaction when nothing is
// missing and nothing differs. What is wrong with one resource stays with it; the
// error is for failures that undid all.
func (x *Index) EnsureResources(ctx context.Context, wanted []Wanted) ([]Ensured, error) {
	e := &ensurer{x: x, results: make([]Ensured, len(wanted))}
	for i := range wanted {
		if err := e.add(ctx, &wanted[i], &e.results[i]); err != nil {
			return nil, err
		}
	}
	e.sort()
	// Mostly all is there.
	err := x.view(ctx, func(s *database.Session) error {
		if err := e.readResources(ctx, s, false); err != nil {
			return err
		}
		return e.readMetrics(ctx, s)
	})
	if err != nil {
		return nil, err
	}
	unfinished := map[uuid.UUID]bool{}
	for _, j := range e.jobs {
		unfinished[j.ID] = unfinished[j.ID] || j.row == nil || j.differs || j.missing
	}
	e.jobs = slices.DeleteFunc(e.jobs, func(j *job) bool { return !unfinished[j.ID] })
	if len(e.jobs) == 0 {
		return e.results, x.knowAll(ctx, e.results)
	}
	seen := x.cache.moments()
	err = x.update(ctx, func(u *update) error {
		if err := e.readResources(ctx, u.Session, true); err != nil {
			return err
		}
		if err := e.createResources(ctx, u); err != nil {
			return err
		}
		if err := e.changeResources(ctx, u); err != nil {
			return err
		}
		if err := e.readMetrics(ctx, u.Session); err != nil {
			return err
		}
		return e.createMetrics(ctx, u)
	})
	if err != nil {
		return nil, err
	}
	if err := x.knowAll(ctx, e.results); err != nil {
		return nil, err
	}
	for _, j := range e.jobs {
		for _, entry := range j.result.Entries {
			if entry != nil {
				x.cache.put(seen, entry)
			}
		}
	}
	return e.results, nil
}

// knowAll sees to it that the policies of entries are known.
func (x *Index) knowAll(ctx context.Context, results []Ensured) error {
	for i := range results {
		for _, e := range results[i].Entries {
			if e == nil {
				continue
			}
			if err := x.know(ctx, e.PolicyID); err != nil {
				return err
			}
		}
	}
	return nil
}

// ensurer does what [Index.EnsureResources] is asked for.
type ensurer struct {
	x       *Index
	results []Ensured
	jobs    []*job
	types   map[string]*storedType
}

// job is one resource.
type job struct {
	wanted *Wanted
	result *Ensured
	*Resource
	number     sql.NullInt64 // of the creator
	attributes map[string]any
	metrics    []metricRow // in the order of the wanted ones
	wrong      []error     // of each, what makes it impossible

	// What was read.
	row     *row // nil if it is to be created
	change  Change
	differs bool
	missing bool // a metric is
}

// fail notes what could not be done.
func (j *job) fail(err error) { j.result.Err = errors.Join(j.result.Err, err) }

// add takes up a resource, if nothing is wrong with it that can be seen by itself.
func (e *ensurer) add(ctx context.Context, w *Wanted, result *Ensured) error {
	j := &job{wanted: w, result: result, Resource: &w.Resource}
	result.Entries = make([]*Entry, len(w.Metrics))
	err := j.prepare(ctx, e.x)
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		j.fail(err)
		return nil
	}
	e.jobs = append(e.jobs, j)
	return err
}

func (j *job) prepare(ctx context.Context, x *Index) error {
	r := *j.Resource
	if err := r.complete(x.now()); err != nil {
		return err
	}
	number, err := x.creator(ctx, j.Creator)
	if err != nil {
		return err
	}
	if id, ok := number.(int64); ok {
		j.number = sql.NullInt64{Int64: id, Valid: true}
	}
	j.metrics = make([]metricRow, len(j.wanted.Metrics))
	j.wrong = make([]error, len(j.wanted.Metrics))
	for i, m := range j.wanted.Metrics {
		m.Resource, m.Creator, m.Unit = j.ID, j.Creator, cutUnit(m.Unit)
		j.metrics[i] = metricRow{NewMetric: m, creator: number}
		j.wrong[i] = j.metrics[i].check()
		var invalid *InvalidError
		if j.wrong[i] != nil && !errors.As(j.wrong[i], &invalid) {
			return j.wrong[i]
		}
	}
	return nil
}

// cutUnit is what can be stored of a unit.
func cutUnit(unit string) string {
	unit = strings.ReplaceAll(strings.ToValidUTF8(unit, ""), "\x00", "")
	if utf8.RuneCountInString(unit) > maxUnit {
		unit = string([]rune(unit)[:maxUnit])
	}
	return unit
}

// LabelsError says that a resource has a metric of a name, with other labels.
type LabelsError struct {
	Resource uuid.UUID
	Metric   string
}

func (e *LabelsError) Error() string {
	return fmt.Sprintf("resource %s has a metric %s with other labels", e.Resource, e.Metric)
}

// sort puts the jobs into one order, so that transactions never wait for each other
// in a circle. Several of one resource stay in their order.
func (e *ensurer) sort() {
	slices.SortStableFunc(e.jobs, func(a, b *job) int { return slices.Compare(a.ID[:], b.ID[:]) })
}

// readResources finds out which resources are there, and what differs.
func (e *ensurer) readResources(ctx context.Context, s *database.Session, writes bool) error {
	typeLock, rowLock := "", ""
	if writes {
		typeLock, rowLock = s.ForShare(), s.ForUpdate()
	}
	if err := e.readTypes(ctx, s, typeLock); err != nil {
		return err
	}
	ids := make([]uuid.UUID, len(e.jobs))
	for i, j := range e.jobs {
		ids[i] = j.ID
	}
	rows, err := readRows(ctx, s, ids, rowLock)
	if err != nil {
		return err
	}
	if err := readAttributes(ctx, s, slices.Collect(maps.Values(rows))); err != nil {
		return err
	}
	for _, j := range e.jobs {
		j.result.Err = nil
		j.result.Created, j.result.Changed = false, false
		e.compare(j, rows[j.ID])
	}
	return nil
}

func (e *ensurer) readTypes(ctx context.Context, s *database.Session, lock string) error {
	names := map[string]bool{}
	for _, j := range e.jobs {
		names[j.Type] = true
	}
	e.types = map[string]*storedType{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		t, err := readType(ctx, s, name, lock)
		var unknown *NotFoundError
		if err != nil && !errors.As(err, &unknown) {
			return err
		}
		e.types[name] = t
	}
	return nil
}

// compare finds out what is to be done about a resource.
func (e *ensurer) compare(j *job, r *row) {
	j.row, j.differs, j.missing = r, false, false
	t := e.types[j.Type]
	becomes := r != nil && r.Type == Generic && j.Type != Generic
	if r != nil && r.Type != j.Type && j.Type != Generic && !becomes {
		j.failType(r)
		return
	}
	given := maps.Clone(j.Resource.Attributes)
	maps.DeleteFunc(given, func(_ string, v any) bool { return v == nil })
	var err error
	if t == nil {
		err = &NotFoundError{KindResourceType, j.Type}
	} else {
		j.attributes, err = t.convert(given, r == nil || becomes)
	}
	switch {
	case err != nil && becomes:
		j.fail(err) // it stays generic
		return
	case err != nil:
		j.refuse(err)
		return
	case r == nil:
		return
	}
	j.change = Change{Attributes: j.attributes}
	if j.User != nil {
		j.change.User = &j.User
	}
	if j.Project != nil {
		j.change.Project = &j.Project
	}
	if j.Ended != nil {
		j.change.Ended = &j.Ended
	}
	trial := *r
	trial.Attributes = maps.Clone(r.Attributes)
	if j.differs, err = j.change.apply(t, &trial); err != nil {
		j.refuse(err)
	}
	if becomes && err == nil {
		j.change.becomes, j.differs = t, true
	}
}

// failType notes that a resource is of another type. Its points are not to be lost
// for that, so its metrics are made.
func (j *job) failType(r *row) {
	j.fail(&InvalidError{fmt.Sprintf("resource %s is of type %s, not %s", j.ID, r.Type, j.Type)})
}

// refuse gives up a resource and its metrics.
func (j *job) refuse(err error) {
	j.fail(err)
	j.row, j.differs, j.metrics = &row{}, false, nil
}

// createResources creates what is missing, those of one type together.
func (e *ensurer) createResources(ctx context.Context, u *update) error {
	byType := map[string][]*row{}
	made := map[uuid.UUID]*row{}
	for _, j := range e.jobs {
		if j.row != nil {
			continue
		}
		if r := made[j.ID]; r != nil {
			// Wanted more than once: the later ones change what the first made.
			e.compare(j, r)
			continue
		}
		r := &row{Resource: *j.Resource, typeID: e.types[j.Type].id, creator: j.number}
		if err := r.complete(u.now); err != nil {
			return err
		}
		r.RevisionStart, r.RevisionEnd, r.Revision = u.now, nil, current
		r.Attributes = maps.Clone(j.attributes)
		byType[j.Type] = append(byType[j.Type], r)
		j.row, j.result.Created, made[j.ID] = r, true, r
	}
	for _, name := range slices.Sorted(maps.Keys(byType)) {
		n, err := e.types[name].insertRows(ctx, u, byType[name])
		if err != nil {
			return err
		}
		if n < int64(len(byType[name])) {
			return database.ErrAgain // somebody else created one just now
		}
	}
	return nil
}

func (e *ensurer) changeResources(ctx context.Context, u *update) (err error) {
	changed := map[*row]bool{}
	for _, j := range e.jobs {
		if !j.differs && !changed[j.row] {
			continue
		}
		if t := j.change.becomes; t != nil && j.row.Type != Generic && j.row.Type != t.name {
			j.failType(j.row) // another job for it came first
			continue
		}
		changed[j.row] = true // so that of several about one resource the last wins
		if j.result.Changed, err = e.x.changeRow(ctx, u, j.row, &j.change); err != nil {
			return err
		}
	}
	return nil
}

// readMetrics fills in the entries of the metrics that are there, and finds policies
// for the others.
func (e *ensurer) readMetrics(ctx context.Context, s *database.Session) error {
	var names, labelled []Name
	for _, j := range e.jobs {
		for i := range j.metrics {
			if j.wrong[i] != nil {
				continue
			}
			n := Name{j.ID, j.metrics[i].Name}
			if names = append(names, n); len(j.metrics[i].Labels) > 0 {
				labelled = append(labelled, n)
			}
		}
	}
	found := make(map[Name]*Entry, len(names))
	for _, chunk := range padded(names) {
		if err := e.x.findNames(ctx, s, chunk, func(n Name, entry *Entry) { found[n] = entry }); err != nil {
			return fmt.Errorf("cannot look up metrics: %w", err)
		}
	}
	labelled = slices.DeleteFunc(labelled, func(n Name) bool { return found[n] == nil })
	known, err := namedMetrics(ctx, s, labelled)
	if err != nil {
		return fmt.Errorf("cannot look up the labels of metrics: %w", err)
	}
	labels := map[Name]map[string]string{}
	for _, metrics := range known {
		for _, m := range metrics {
			labels[Name{m.Resource, m.Name}] = m.Labels
		}
	}
	var c *chooser
	for _, j := range e.jobs {
		j.missing = false
		for i := range j.metrics {
			m := &j.metrics[i]
			n := Name{j.ID, m.Name}
			if j.wrong[i] != nil {
				j.fail(fmt.Errorf("metric %q of resource %s: %w", m.Name, j.ID, j.wrong[i]))
				continue
			}
			if found[n] != nil && len(m.Labels) > 0 && !maps.Equal(m.Labels, labels[n]) {
				j.result.Entries[i], m.policy = nil, nil
				j.fail(&LabelsError{j.ID, m.Name})
				continue
			}
			j.result.Entries[i], m.policy = found[n], nil
			if j.result.Entries[i] != nil {
				continue
			}
			var err error
			if c == nil {
				if c, err = readChooser(ctx, s); err != nil {
					return err
				}
			}
			if m.policy, err = c.choose(m.Policy, m.Name); err != nil {
				j.fail(fmt.Errorf("metric %s of resource %s: %w", m.Name, j.ID, err))
				continue
			}
			j.missing = true
		}
	}
	return nil
}

// createMetrics creates the missing metrics of all resources together.
func (e *ensurer) createMetrics(ctx context.Context, u *update) error {
	var create []*metricRow
	first := map[Name]*metricRow{}
	for _, j := range e.jobs {
		for i := range j.metrics {
			m := &j.metrics[i]
			if n := (Name{j.ID, m.Name}); m.policy != nil && first[n] == nil {
				m.ref, m.project, first[n] = 0, project(j.row), m
				create = append(create, m)
			}
		}
	}
	taken, err := insertMetrics(ctx, u, create)
	if database.IsForeign(err) || len(taken) > 0 {
		return database.ErrAgain // a policy was deleted, or a metric created, just now
	}
	if err != nil {
		return err
	}
	for _, j := range e.jobs {
		for i := range j.metrics {
			m := first[Name{j.ID, j.metrics[i].Name}]
			switch {
			case m == nil || j.metrics[i].policy == nil:
			case len(j.metrics[i].Labels) > 0 && !maps.Equal(m.Labels, j.metrics[i].Labels):
				j.fail(&LabelsError{j.ID, m.Name})
			default:
				j.result.Entries[i] = e.x.entry(m)
			}
		}
	}
	return nil
}
