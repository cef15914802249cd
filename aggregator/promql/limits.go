package promql

import (
	"cmp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// What a query may be, before anything is done about it: Prometheus's parser takes a time
// that grows with the square of how deep an expression is, and does not stop when the time
// is over; and what is that deep is evaluated with as deep a stack.
const (
	maxQuery  = 64 << 10 // bytes
	maxNested = 1000     // operators and opening brackets, deep or not
)

// checkQuery refuses what the parser must not see.
func checkQuery(text string) error {
	if len(text) > maxQuery {
		return badData("a query of %d bytes is too long: %d are allowed", len(text), maxQuery)
	}
	n := 0
	items := parser.Lex(text)
	for {
		var item parser.Item
		items.NextItem(&item)
		switch {
		case item.Typ == parser.EOF || item.Typ == parser.ERROR:
			return nil // the parser says what is wrong
		case item.Typ.IsOperator() || item.Typ == parser.LEFT_PAREN || item.Typ == parser.LEFT_BRACKET:
			n++
		}
		if n > maxNested {
			return badData("a query of more than %d operators and brackets is too long", maxNested)
		}
	}
}

// Parse reads an expression that somebody may want evaluated later, here or by a server that
// is asked. Refused are what is no PromQL (functions that Prometheus calls experimental are none),
// more than 64 KiB, and more than 1,000 operators and brackets. Its error is a [*QueryError].
func Parse(text string) (parser.Expr, error) {
	expression, err := parse(text)
	if err != nil {
		return nil, &QueryError{err.Error()}
	}
	return expression, nil
}

func parse(text string) (parser.Expr, error) {
	if err := checkQuery(text); err != nil {
		return nil, err
	}
	expression, err := parser.ParseExpr(text)
	if err != nil {
		return nil, badData("%v", err)
	}
	return expression, nil
}

// checkSteps refuses expressions with subqueries of more steps than the given number. The
// engine counts those of expressions that are the same at each step one by one, and does
// not stop when the time is over. span is that of the query itself.
func checkSteps(expression parser.Expr, span time.Duration, most int64) error {
	var err error
	parser.Inspect(expression, func(node parser.Node, path []parser.Node) error {
		q, ok := node.(*parser.SubqueryExpr)
		if !ok {
			return nil
		}
		// Those around it ask for more of it than its own range.
		steps := (span.Seconds() + q.Range.Seconds()) / cmp.Or(q.Step, subqueryStep).Seconds()
		for _, around := range path {
			if around, ok := around.(*parser.SubqueryExpr); ok {
				steps += around.Range.Seconds() / cmp.Or(q.Step, subqueryStep).Seconds()
			}
		}
		if steps > float64(most) {
			err = badData("a subquery of more than %d steps is too much: ask for a longer step", most)
		}
		return err
	})
	return err
}

// subqueryStep is the step of subqueries that have none.
const subqueryStep = time.Minute

// checkSelector refuses a parameter match[] that the parser must not see.
func checkSelector(text string) error {
	if len(text) > maxQuery || strings.Count(text, "(") > maxNested {
		return badData("a selector of %d bytes is too long: %d are allowed, and %d brackets", len(text), maxQuery, maxNested)
	}
	return nil
}

// pool limits what queries hold in memory, in points of 16 bytes: each of them, and all
// that run at once.
type pool struct {
	each, all int64
	held      atomic.Int64
}

// share is what one query holds. It is used by one goroutine.
type share struct {
	of   *pool
	held int64
}

// take notes that n more points are held, or says why they must not be.
func (s *share) take(n int) error {
	if s.held+int64(n) > s.of.each {
		return badData("the query reads more than %d points: ask for fewer series or a shorter time, or raise max_samples of the aggregator's option promql", s.of.each)
	}
	s.held += int64(n)
	if s.of.held.Add(int64(n)) > s.of.all {
		return &apiError{unavailable, "other queries hold too many points just now: try again, or raise max_samples of the aggregator's option promql"}
	}
	return nil
}

// free notes that the query has ended.
func (s *share) free() {
	s.of.held.Add(-s.held)
	s.held = 0
}
