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
// not selected until there is a page of it; or by finding what is selected first, and
// sorting that. The first is fast when much is selected, the second when little is.
// SQLite does not know which, so that it is counted before, up to a limit, and told.
// PostgreSQL knows.

// adviceLimit is how many rows may be looked up and sorted. Where more are selected
// of a million, a page of a thousand is found after fifty thousand in their order.
const adviceLimit = 20_000

// maxCandidates is how many conditions are counted at most.
const maxCandidates = 8

// maxAdviceValues is how many values of a list are said twice in each of the two
// parts of a list of history: SQLite takes 32,766 in all.
const maxAdviceValues = 5000

// maxScanValues is how many values the condition of a scan may have: longer ones cost
// SQLite more to understand than is gained.
const maxScanValues = 100

// candidate selects resources for which a condition holds, or revisions of them.
type candidate struct {
	statement
	key string // what it selects: id or revision
	// scans says that it goes through a table: still much faster than to go through the
	// list in its order and look into that table for each.
	scans bool
}

// advise finds the condition that selects fewest of the current revisions, or of the
// past ones.
func (l *listing) advise(ctx context.Context, past bool) (*candidate, error) {
	if l.s.Shared() || l.only != nil {
		return nil, nil
	}
	var looks, scans []*candidate
	// What past revisions were is another matter than what resources are.
	if p := l.q.Scope.Project; p != "" && !past {
		c := &candidate{key: "id"}
		c.add("SELECT r.id FROM resource r WHERE r.project_id = ? UNION SELECT r.id FROM resource r WHERE r.creator IN (SELECT id FROM creator WHERE project_id = ?)", p, p)
		looks = append(looks, c)
	}
	for _, n := range conjunction(l.q.Filter) {
		if len(looks) == maxCandidates {
			break
		}
		c, err := l.candidate(n, past)
		switch {
		case err != nil:
			return nil, err
		case c == nil || l.q.History && len(c.args) > maxAdviceValues:
		case !c.scans:
			looks = append(looks, c)
		case len(scans) < maxCandidates && len(c.args) <= maxScanValues:
			scans = append(scans, c)
		}
	}
	best, err := fewest(ctx, l.s, looks)
	if err != nil || best != nil {
		return best, err
	}
	return fewest(ctx, l.s, scans)
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

// candidate makes one of a condition, if it can be found without a list's order;
// otherwise it is nil.
func (l *listing) candidate(n search.Node, past bool) (*candidate, error) {
	if n == nil {
		return nil, nil
	}
	var condition statement
	f := l.newFilter(&condition, past)
	if err := f.node(n); err != nil {
		return nil, err
	}
	name := lookedUp(n)
	column, _ := resourceColumn(l.t, name, l.q.History, past)
	c := &candidate{key: "id", scans: !column.indexed}
	from := "resource r"
	switch {
	case f.attributes && !f.others:
		if past {
			c.key, c.scans = "revision", true
		}
		from = l.t.table(past) + " a"
	case past && column.kind != kindResource:
		return nil, nil
	case column.indexed || name == "original_resource_id":
	default:
		return nil, nil
	}
	c.add("SELECT "+from[len(from)-1:]+"."+c.key+" FROM "+from+" WHERE "+condition.text.String(), condition.args...)
	return c, nil
}

// lookedUp is the column on which a node is a condition that an index serves if there
// is one; otherwise it is "".
func lookedUp(n search.Node) string {
	switch n := n.(type) {
	case search.Compare:
		if n.Operator == search.Equal && n.Value != nil || n.Operator == search.Like && hasPrefix(n.Value) {
			return n.Attribute
		}
	case search.In:
		if !slices.Contains(n.Values, nil) {
			return n.Attribute
		}
	}
	return ""
}

func hasPrefix(pattern any) bool {
	text, _ := plainText(pattern)
	from, _ := parseLike(text).bounds()
	return from != ""
}

// fewest is the candidate that selects fewest, or nil if all select too many.
func fewest(ctx context.Context, s *database.Session, candidates []*candidate) (best *candidate, err error) {
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

// advise starts to select metrics, from as few as possible.
func (q *MetricQuery) advise(ctx context.Context, s *database.Session, to *statement) error {
	c := &candidate{}
	switch project := q.Scope.Project; {
	case s.Shared():
	case q.Deleted: // few, and not for long
		c.add("SELECT ref FROM metric WHERE deleted_at IS NOT NULL")
	case project != "":
		c.add(`SELECT ref FROM metric WHERE creator IN (SELECT id FROM creator WHERE project_id = ?)
			UNION SELECT ref FROM metric WHERE resource IN (SELECT id FROM resource WHERE project_id = ?)`, project, project)
		var err error
		if c, err = fewest(ctx, s, []*candidate{c}); err != nil {
			return err
		}
	}
	if c != nil && c.text.Len() > 0 {
		to.add("("+c.text.String()+") AS d CROSS JOIN metric m WHERE m.ref = d.ref", c.args...)
	} else {
		to.add("metric m WHERE 1 = 1")
	}
	return nil
}
