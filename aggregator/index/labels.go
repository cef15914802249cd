package index

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/engine"
)

// Matcher is a condition on a label, as Prometheus has it: a label that a metric
// does not have is one with the value "". Regular expressions are RE2, and match
// whole values.
type Matcher struct {
	Name, Value string
	Not, Regexp bool
}

// pair is a label with a value.
type pair struct{ name, value string }

func comparePairs(a, b pair) int {
	return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.value, b.value))
}

// pairsOf are the different labels of metrics, sorted, so that transactions never wait
// for each other in a circle.
func pairsOf(list []*metricRow) []pair {
	var pairs []pair
	for _, m := range list {
		for name, value := range m.Labels {
			pairs = append(pairs, pair{name, value})
		}
	}
	return unique(pairs, comparePairs)
}

// readPairs gives the numbers of labels.
func readPairs(ctx context.Context, s *database.Session, pairs []pair, lock string) (map[pair]int64, error) {
	numbers := make(map[pair]int64, len(pairs))
	err := eachChunk(pairs, func(chunk []pair) error {
		query := "SELECT l.id, l.name, l.value FROM (VALUES " + listed("("+textPlace(s)+","+textPlace(s)+")", len(chunk)) +
			") AS w CROSS JOIN label l WHERE l.name = w.column1 AND l.value = w.column2"
		if lock != "" {
			query += lock + " OF l"
		}
		rows, err := s.Query(ctx, query, pairArgs(chunk)...)
		return database.Each(rows, err, func(rows *sql.Rows) error {
			var (
				p  pair
				id int64
			)
			err := rows.Scan(&id, &p.name, &p.value)
			numbers[p] = id
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read labels: %w", err)
	}
	return numbers, nil
}

func pairArgs(pairs []pair) []any {
	args := make([]any, 0, 2*len(pairs))
	for _, p := range pairs {
		args = append(args, p.name, p.value)
	}
	return args
}

// insertLabels makes metrics be found by their labels.
func insertLabels(ctx context.Context, u *update, list []*metricRow) error {
	if len(list) == 0 {
		return nil
	}
	pairs := pairsOf(list)
	for _, chunk := range chunks(pairs) {
		if _, err := u.Exec(ctx, "INSERT INTO label (name, value) VALUES "+listed("(?,?)", len(chunk))+" ON CONFLICT DO NOTHING", pairArgs(chunk)...); err != nil {
			return fmt.Errorf("cannot write labels: %w", err)
		}
	}
	numbers, err := readPairs(ctx, u.Session, pairs, u.ForShare())
	if err != nil {
		return err
	}
	if len(numbers) < len(pairs) {
		return database.ErrAgain // one was the last of its kind, and removed just now
	}
	var places [][2]int64
	for _, m := range list {
		for name, value := range m.Labels {
			places = append(places, [2]int64{numbers[pair{name, value}], int64(m.ref)})
		}
	}
	slices.SortFunc(places, func(a, b [2]int64) int { return slices.Compare(a[:], b[:]) })
	for _, chunk := range chunks(places) {
		var args []any
		for _, p := range chunk {
			args = append(args, p[0], p[1])
		}
		if _, err := u.Exec(ctx, "INSERT INTO metric_label (label, ref) VALUES "+listed("(?,?)", len(chunk)), args...); err != nil {
			return fmt.Errorf("cannot write labels: %w", err)
		}
	}
	return nil
}

// deleteLabels undoes insertLabels, and removes labels that no metric has any more.
func deleteLabels(ctx context.Context, u *update, list []*metricRow) error {
	if len(list) == 0 {
		return nil
	}
	numbers, err := readPairs(ctx, u.Session, pairsOf(list), u.ForUpdate())
	if err != nil {
		return err
	}
	for _, m := range list {
		for name, value := range m.Labels {
			if _, err := u.Exec(ctx, "DELETE FROM metric_label WHERE label = ? AND ref = ?", numbers[pair{name, value}], int64(m.ref)); err != nil {
				return fmt.Errorf("cannot delete labels: %w", err)
			}
		}
	}
	for _, number := range numbers {
		if _, err := u.Exec(ctx, "DELETE FROM label WHERE id = ? AND NOT EXISTS (SELECT 1 FROM metric_label p WHERE p.label = label.id)", number); err != nil {
			return fmt.Errorf("cannot delete labels: %w", err)
		}
	}
	return nil
}

// condition is a matcher that can be asked.
type condition struct {
	Matcher
	matches func(value string) bool // the negation included
	// numbers are those of the labels that match, and count says how many metrics have
	// one of them; both stop soon after countLimit. They are for conditions that are not
	// met by a metric without the label.
	numbers []int64
	count   int
}

func newCondition(m Matcher) (*condition, error) {
	equal := func(value string) bool { return value == m.Value }
	if m.Regexp {
		r, err := regexp.Compile(`^(?s:` + m.Value + `)$`)
		if err != nil {
			return nil, &InvalidError{fmt.Sprintf("regular expression %q: %v", m.Value, err)}
		}
		equal = r.MatchString
	}
	return &condition{Matcher: m, matches: func(value string) bool { return equal(value) != m.Not }}, nil
}

// countLimit is how far metrics are counted to see which condition selects fewest.
const countLimit = 10_000

// select finds the labels that match.
func (c *condition) find(ctx context.Context, s *database.Session) error {
	query, args := "SELECT id, value FROM label WHERE name = ?", []any{c.Name}
	if !c.Not && !c.Regexp {
		query, args = query+" AND value = ?", append(args, c.Value)
	}
	rows, err := s.Query(ctx, query, args...)
	err = database.Each(rows, err, func(rows *sql.Rows) error {
		var (
			id    int64
			value string
		)
		err := rows.Scan(&id, &value)
		if err == nil && len(c.numbers) <= countLimit && c.matches(value) {
			c.numbers = append(c.numbers, id)
		}
		return err
	})
	for _, chunk := range padded(c.numbers) {
		if err != nil || c.count >= countLimit {
			break
		}
		var n int
		args := append(numberArgs(chunk), countLimit)
		_, err = s.One(ctx, "SELECT count(*) FROM (SELECT 1 FROM metric_label WHERE label IN "+places("?", len(chunk))+" LIMIT ?) AS x", args, &n)
		c.count += n
	}
	if err != nil {
		return fmt.Errorf("cannot read labels: %w", err)
	}
	return nil
}

// Labelled gives metrics with labels that satisfy all matchers, by ref, at most
// limit. The error is an [*InvalidError] for a regular expression.
func (x *Index) Labelled(ctx context.Context, matchers []Matcher, scope Scope, limit int) ([]*Metric, error) {
	var list []*Metric
	err := x.labelled(ctx, matchers, scope, func(m *Metric) bool {
		list = append(list, m)
		return len(list) < limit
	}, func() { list = nil })
	if err != nil {
		return nil, err
	}
	return list, x.knowMetrics(ctx, list)
}

// labelled calls f for each metric that satisfies the matchers, by ref, until it
// returns false. restart is called when it starts from the beginning.
func (x *Index) labelled(ctx context.Context, matchers []Matcher, scope Scope, f func(*Metric) bool, restart func()) error {
	conditions := make([]*condition, len(matchers))
	for i, m := range matchers {
		if checkText("", m.Name+m.Value) != nil {
			return &InvalidError{fmt.Sprintf("label %q has no value %q: it is no text in UTF-8, or has a character of code 0", m.Name, m.Value)}
		}
		c, err := newCondition(m)
		if err != nil {
			return err
		}
		conditions[i] = c
	}
	return x.view(ctx, func(s *database.Session) error {
		restart()
		// The condition that selects fewest is looked up, the others are asked of each.
		var driver *condition
		for _, c := range conditions {
			c.numbers, c.count = nil, 0
			if c.matches("") {
				continue
			}
			if err := c.find(ctx, s); err != nil {
				return err
			}
			// Of one that selects so much, all metrics might as well be asked.
			if len(c.numbers) <= countLimit && (driver == nil || c.count < driver.count) {
				driver = c
			}
		}
		return pageLabelled(ctx, s, driver, scope, func(m *Metric) bool {
			for _, c := range conditions {
				if c != driver && !c.matches(m.Labels[c.Name]) {
					return true
				}
			}
			return f(m)
		})
	})
}

// pageLabelled calls f for each metric that has a label which the driver selects, or
// any if it is nil.
func pageLabelled(ctx context.Context, s *database.Session, driver *condition, scope Scope, f func(*Metric) bool) error {
	const page = 1000
	if driver != nil && len(driver.numbers) == 0 {
		return nil
	}
	for last := engine.Ref(0); ; {
		var q statement
		if driver == nil {
			q.add("SELECT "+metricColumns+" FROM metric m WHERE m.labels IS NOT NULL AND m.ref > ?", int64(last))
		} else {
			numbers := make([]byte, 0, 8*len(driver.numbers))
			for i, n := range driver.numbers {
				if i > 0 {
					numbers = append(numbers, ',')
				}
				numbers = strconv.AppendInt(numbers, n, 10)
			}
			// A metric has one value of a label at most, so none comes twice.
			q.add("SELECT "+metricColumns+" FROM metric_label p JOIN metric m ON m.ref = p.ref WHERE p.label IN ("+string(numbers)+") AND p.ref > ?", int64(last))
		}
		q.add(" AND m.deleted_at IS NULL")
		scope.add(&q)
		q.add(" ORDER BY m.ref LIMIT " + strconv.Itoa(page))
		n, more := 0, true
		rows, err := s.QueryOnce(ctx, q.text.String(), q.args...)
		err = scanMetrics(rows, err, func(m *Metric) {
			n, last = n+1, m.Ref
			more = more && f(m)
		})
		if err != nil || !more || n < page {
			return err
		}
	}
}

// LabelNames lists names of labels, ascending, after the given one, of metrics that
// satisfy the matchers (nil: of all).
func (x *Index) LabelNames(ctx context.Context, matchers []Matcher, scope Scope, after string, limit int) ([]string, error) {
	if len(matchers) > 0 {
		return x.labelTexts(ctx, matchers, scope, after, limit, func(labels map[string]string, add func(string)) {
			for name := range labels {
				add(name)
			}
		})
	}
	var names []string
	err := x.view(ctx, func(s *database.Session) error {
		names = nil
		for name := after; len(names) < limit; {
			q := usedLabel("l.name", "l.name > ?", name, scope)
			found, err := s.One(ctx, q.text.String()+" LIMIT 1", q.args, &name)
			if err != nil {
				return fmt.Errorf("cannot read labels: %w", err)
			}
			if !found {
				return nil
			}
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// usedLabel selects a column of labels that metrics in a scope have.
func usedLabel(column, condition string, arg any, scope Scope) *statement {
	q := &statement{}
	q.add("SELECT "+column+" FROM label l WHERE "+condition, arg)
	q.add(" AND EXISTS (SELECT 1 FROM metric_label p JOIN metric m ON m.ref = p.ref WHERE p.label = l.id AND m.deleted_at IS NULL")
	scope.add(q)
	q.add(") ORDER BY " + column)
	return q
}

// LabelValues lists the values of a label in the same way.
func (x *Index) LabelValues(ctx context.Context, name string, matchers []Matcher, scope Scope, after string, limit int) ([]string, error) {
	if len(matchers) > 0 {
		return x.labelTexts(ctx, matchers, scope, after, limit, func(labels map[string]string, add func(string)) {
			if value, ok := labels[name]; ok {
				add(value)
			}
		})
	}
	var values []string
	err := x.view(ctx, func(s *database.Session) error {
		values = nil
		q := usedLabel("l.value", "l.name = ?", name, scope)
		rows, err := s.Query(ctx, "SELECT value FROM ("+q.text.String()+") AS x WHERE value > ? ORDER BY value LIMIT ?", append(q.args, after, limit)...)
		err = database.Each(rows, err, func(rows *sql.Rows) error {
			var v string
			err := rows.Scan(&v)
			values = append(values, v)
			return err
		})
		if err != nil {
			return fmt.Errorf("cannot read labels: %w", err)
		}
		return nil
	})
	return values, err
}

// labelTexts collects different texts of metrics that satisfy matchers.
func (x *Index) labelTexts(ctx context.Context, matchers []Matcher, scope Scope, after string, limit int, of func(labels map[string]string, add func(string))) ([]string, error) {
	var texts map[string]bool
	err := x.labelled(ctx, matchers, scope, func(m *Metric) bool {
		of(m.Labels, func(text string) { texts[text] = text > after || texts[text] })
		return true
	}, func() { texts = map[string]bool{} })
	if err != nil {
		return nil, err
	}
	var list []string
	for text, wanted := range texts {
		if wanted {
			list = append(list, text)
		}
	}
	slices.Sort(list)
	return list[:min(limit, len(list))], nil
}
