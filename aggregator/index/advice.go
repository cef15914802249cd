package index

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/search"
)

// A list is made in one of two ways: in its order by an index, leaving out what is
// not selected until there is a page of it; or by looking up what is selected in
// another index, and sorting that. The first is fast when much is selected, the
// second when little is. SQLite does not know which, so that it is counted before,
// up to a limit, and told. PostgreSQL knows.

// adviceLimit is how many rows may be looked up and sorted. Where more are selected
// of a million, a page of a thousand is found after fifty thousand in their order.
const adviceLimit = 20_000

// maxCandidates is how many conditions are counted at most.
const maxCandidates = 8

// maxAdviceValues is how many values of a list are said twice in each of the two
// parts of a list of history: SQLite takes 32,766 in all.
const maxAdviceValues = 5000

// advise finds the condition that selects fewest resources.
func (l *listing) advise(ctx context.Context) error {
	if l.s.Shared() || l.only != nil {
		return nil
	}
	var candidates []*statement
	// What past revisions were is another matter than what resources are.
	if p := l.q.Scope.Project; p != "" && !l.q.History {
		c := &statement{}
		c.add("SELECT r.id FROM resource r WHERE r.project_id = ? UNION SELECT r.id FROM resource r WHERE r.creator IN (SELECT id FROM creator WHERE project_id = ?)", p, p)
		candidates = append(candidates, c)
	}
	for _, n := range conjunction(l.q.Filter) {
		if len(candidates) == maxCandidates {
			break
		}
		c, err := l.candidate(n)
		if err != nil {
			return err
		}
		if c != nil {
			candidates = append(candidates, c)
		}
	}
	var err error
	l.advice, err = fewest(ctx, l.s, candidates)
	return err
}

// conjunction is the conditions all of which have to hold.
func conjunction(n search.Node) []search.Node {
	and, ok := n.(search.And)
	if !ok {
		return []search.Node{n}
	}
	var all []search.Node
	for _, n := range and {
		all = append(all, conjunction(n)...)
	}
	return all
}

// candidate selects the ids of resources for which a condition holds, if there is an
// index for that; otherwise it is nil.
func (l *listing) candidate(n search.Node) (*statement, error) {
	name := ""
	switch n := n.(type) {
	case search.Compare:
		if n.Operator == search.Equal && n.Value != nil || n.Operator == search.Like && hasPrefix(n.Value) {
			name = n.Attribute
		}
	case search.In:
		if !slices.Contains(n.Values, nil) {
			name = n.Attribute
		}
	}
	c, ok := resourceColumn(l.t, name, l.q.History, false)
	if !ok || !c.indexed || l.q.History && c.kind != kindResource {
		return nil, nil
	}
	s := &statement{}
	if c.attribute {
		s.add("SELECT a.id FROM " + l.t.table(false) + " a WHERE ")
	} else {
		s.add("SELECT r.id FROM resource r WHERE ")
	}
	_, err := l.filter(s, n, false)
	if l.q.History && len(s.args) > maxAdviceValues {
		return nil, err
	}
	return s, err
}

func hasPrefix(pattern any) bool {
	text, _ := plainText(pattern)
	from, _ := parseLike(text).bounds()
	return from != ""
}

// fewest is the candidate that selects fewest, or nil if all select too many.
func fewest(ctx context.Context, s *database.Session, candidates []*statement) (best *statement, err error) {
	limit := adviceLimit + 1
	for _, c := range candidates {
		n := 0
		rows, err := s.QueryOnce(ctx, "SELECT count(*) FROM ("+c.text.String()+" LIMIT "+strconv.Itoa(limit)+") AS x", c.args...)
		err = database.Each(rows, err, func(rows *sql.Rows) error { return rows.Scan(&n) })
		if err != nil {
			return nil, fmt.Errorf("cannot count what is looked for: %w", err)
		}
		if n < limit {
			best, limit = c, max(1, n)
		}
	}
	return best, nil
}

// advise starts to select metrics in a scope, from as few as possible.
func (scope Scope) advise(ctx context.Context, s *database.Session, to *statement) error {
	if scope.Project != "" && !s.Shared() {
		c := &statement{}
		c.add(`SELECT ref FROM metric WHERE creator IN (SELECT id FROM creator WHERE project_id = ?)
			UNION SELECT ref FROM metric WHERE resource IN (SELECT id FROM resource WHERE project_id = ?)`, scope.Project, scope.Project)
		best, err := fewest(ctx, s, []*statement{c})
		if err != nil {
			return err
		}
		if best != nil {
			to.add("("+c.text.String()+") AS d CROSS JOIN metric m WHERE m.ref = d.ref", c.args...)
			return nil
		}
	}
	to.add("metric m WHERE 1 = 1")
	return nil
}
