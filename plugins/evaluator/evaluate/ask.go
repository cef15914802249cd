package evaluate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/judge"
	"github.com/nephoscope/nepho/sdk"
)

// answer is the data of a leaf.
type answer struct {
	values []float64
	none   string // why there are no data
}

// verdict judges the answer of a leaf.
func (l *looked) verdict(i int) judge.Verdict {
	answer := &l.answers[i]
	if p, ok := l.leaves[i].rule.(*def.Prometheus); ok {
		if answer.none != "" {
			return judge.Verdict{State: def.InsufficientData, Unknown: answer.none}
		}
		return judge.Samples(p, answer.values)
	}
	t := threshold(l.leaves[i].rule)
	if answer.none != "" {
		return judge.NoData(t, answer.none)
	}
	return judge.Windows(t, answer.values)
}

// threshold is what rules about windows have in common; nil of others.
func threshold(r def.Rule) *def.Threshold {
	switch r := r.(type) {
	case *def.ResourceThreshold:
		return &r.Threshold
	case *def.MetricsThreshold:
		return &r.Threshold
	case *def.ResourcesThreshold:
		return &r.Threshold
	case *def.Operations:
		return &r.Threshold
	}
	return nil
}

// span is where windows of a rule are looked for.
func (e *Evaluator) span(t *def.Threshold, now time.Time) (from, to time.Time) {
	return now.Add(-t.Granularity*time.Duration(t.Periods+1) - e.o.Lag), now
}

// place is a leaf of an alarm that is looked at.
type place struct {
	l *looked
	i int
}

// unknown is after how many intervals series that are not there are looked for again, without
// the storage telling that they have points: somebody may be allowed to see them by then.
const unknown = 10

// resolve finds the series of leaves that are not known yet.
func (e *Evaluator) resolve(ctx context.Context, open []*looked) {
	byScope := map[*sdk.Scope][]place{}
	for _, l := range open {
		for i := range l.leaves {
			if _, ok := l.leaves[i].series(); ok && l.numbers[i] == 0 {
				byScope[l.scope] = append(byScope[l.scope], place{l, i})
			}
		}
	}
	for scope, places := range byScope {
		q := sdk.SeriesQuery{Scope: *scope}
		for _, p := range places {
			name, _ := p.l.leaves[p.i].series()
			q.Names = append(q.Names, name)
		}
		found, err := e.find(ctx, q)
		if err != nil {
			for _, p := range places {
				e.unanswered(p, err, e.o.Now())
			}
			continue
		}
		e.mu.Lock()
		for _, f := range found {
			if p := places[f.Position]; p.l.numbers[p.i] == 0 {
				p.l.numbers[p.i] = f.Number
				if !p.l.gone {
					e.index.found(p.l.alarm, &p.l.leaves[p.i], f.Number)
				}
			}
		}
		e.mu.Unlock()
		for _, p := range places {
			if p.l.numbers[p.i] == 0 {
				name, _ := p.l.leaves[p.i].series()
				p.l.answers[p.i].none = fmt.Sprintf("metric %s for resource %s does not exists", name.Meter, name.Resource)
				p.l.dueAt(e.o.Now().Add(unknown * e.o.Interval).UnixNano())
			}
		}
	}
}

func (e *Evaluator) find(ctx context.Context, q sdk.SeriesQuery) ([]sdk.FoundSeries, error) {
	if e.o.Series == nil {
		return nil, nil
	}
	began := time.Now()
	found, err := e.o.Series.FindSeries(ctx, q)
	e.trouble.note("asking the storage for series", began, err)
	return found, err
}

// kind is what windows can be asked for together.
type kind struct {
	granularity time.Duration
	method      string
	periods     int
}

// ask asks for the data of all leaves.
func (e *Evaluator) ask(ctx context.Context, open []*looked, now time.Time) {
	byKind := map[kind][]place{}
	var expressions []*looked
	for _, l := range open {
		for i := range l.leaves {
			if l.answers[i].none != "" {
				continue
			}
			_, absence := l.rule.(*def.Absence)
			if r, ok := l.leaves[i].rule.(*def.ResourceThreshold); ok && !absence {
				k := kind{r.Granularity, r.Method, r.Periods}
				byKind[k] = append(byKind[k], place{l, i})
			} else if !ok && (len(expressions) == 0 || expressions[len(expressions)-1] != l) {
				expressions = append(expressions, l)
			}
		}
	}
	e.askWindows(ctx, byKind, now)
	e.computeAll(ctx, expressions, now)
}

// askWindows asks one question for all windows.
func (e *Evaluator) askWindows(ctx context.Context, byKind map[kind][]place, now time.Time) {
	if len(byKind) == 0 {
		return
	}
	var queries []sdk.WindowQuery
	var places []place
	for k, list := range byKind {
		q := sdk.WindowQuery{Granularity: k.granularity, Aggregation: k.method, Series: make([]uint64, len(list))}
		q.From, q.To = e.span(&def.Threshold{Granularity: k.granularity, Periods: k.periods}, now)
		for i, p := range list {
			q.Series[i] = p.l.numbers[p.i]
		}
		queries, places = append(queries, q), append(places, list...)
	}
	began := time.Now()
	windows, err := e.o.Series.Windows(ctx, queries)
	e.trouble.note("asking the storage for windows", began, err)
	if err == nil && len(windows.Counts) != len(places) {
		err = fmt.Errorf("%d rows answer a question for %d series", len(windows.Counts), len(places))
	}
	if err != nil {
		for _, p := range places {
			e.unanswered(p, err, now)
		}
		return
	}
	for n, row := range windows.All() {
		e.take1(places[n], row, now)
	}
}

// take1 takes the answer of one series.
func (e *Evaluator) take1(p place, row sdk.WindowRow, now time.Time) {
	r := p.l.leaves[p.i].rule.(*def.ResourceThreshold)
	a := &p.l.answers[p.i]
	switch row.Err {
	case nil:
		a.values = row.Values
		if n := len(row.Times); n > 0 {
			// When silence alone takes the oldest of the windows that count out of the span.
			oldest := row.Times[max(0, n-r.Periods)]
			p.l.dueAt(oldest + int64(r.Granularity)*int64(r.Periods+2) + int64(e.o.Lag))
		}
	case sdk.NoSeries:
		e.mu.Lock()
		if !p.l.gone && p.l.leaves[p.i].number == p.l.numbers[p.i] {
			e.index.lost(p.l.alarm, &p.l.leaves[p.i])
		}
		e.mu.Unlock()
		a.none = fmt.Sprintf("metric %s for resource %s does not exists", r.Metric, r.Resource)
		p.l.dueAt(now.Add(time.Second).UnixNano()) // there may be a new one of that name
	case sdk.NoGranularity:
		// Judged as no windows, which has Aodh's text; the policy may be changed.
		p.l.dueAt(now.Add(e.o.Interval).UnixNano())
	case sdk.NoAggregation:
		a.none = fmt.Sprintf("aggregation %s does not exist for metric %s of resource %s", r.Method, r.Metric, r.Resource)
		p.l.dueAt(now.Add(e.o.Interval).UnixNano())
	default:
		e.unanswered(p, row.Err, now)
	}
}

// patience is for how many intervals data may be unavailable before that is told of
// each alarm: a storage that is started again changes no state.
const patience = 2

// unanswered notes that the data of a leaf can't be had at present.
func (e *Evaluator) unanswered(p place, err error, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p.l.unanswered = true
	p.l.answers[p.i].none = retrievalFailed + err.Error()
	if errors.Is(err, context.Canceled) { // nobody evaluates any more
		p.l.failed = err
		return
	}
	if p.l.failing == 0 {
		p.l.failing = now.UnixNano()
	}
	if now.UnixNano()-p.l.failing < patience*int64(e.o.Interval) {
		p.l.failed = err
		return
	}
	p.l.dueAt(now.Add(e.o.Interval).UnixNano())
}

// computed is of how many alarms expressions are computed at once.
const computed = 4

func (e *Evaluator) computeAll(ctx context.Context, list []*looked, now time.Time) {
	var work sync.WaitGroup
	queue := make(chan *looked)
	for range min(computed, len(list)) {
		work.Go(func() {
			for l := range queue {
				e.computeOne(ctx, l, now)
			}
		})
	}
	for _, l := range list {
		queue <- l
	}
	close(queue)
	work.Wait()
}

// computeOne computes all expressions of an alarm.
func (e *Evaluator) computeOne(ctx context.Context, l *looked, now time.Time) {
	defer e.survive(l, now)
	began := time.Now()
	for i := range l.leaves {
		if _, single := l.leaves[i].series(); !single && l.answers[i].none == "" {
			e.compute(ctx, place{l, i}, now)
		}
	}
	l.took = time.Since(began)
}

// expression is the question that gives the data of a leaf which is no single series,
// and who is asked it; nil: nobody is there.
func (e *Evaluator) expression(scope sdk.Scope, r def.Rule, now time.Time) (from sdk.SeriesReader, q sdk.ComputeQuery, err error) {
	q = sdk.ComputeQuery{Scope: scope, Language: "operations"}
	switch r := r.(type) {
	case *def.MetricsThreshold:
		q.Expression = aggregateOf(r.Method, r.Metrics)
	case *def.ResourcesThreshold:
		q.Expression = aggregateOf(r.Method, []string{r.Metric})
		q.Search = &sdk.ResourceSearch{Type: r.ResourceType, Filter: r.Query}
	case *def.Operations:
		q.Expression = r.Operations
		if r.ResourceType != "" {
			q.Search = &sdk.ResourceSearch{Type: r.ResourceType, Filter: r.Query}
		}
	case *def.Prometheus:
		q.Language, q.Expression, q.To = "promql", r.Query, now
		return e.o.Prometheus, q, nil
	default:
		return nil, q, fmt.Errorf("a rule of type %s has no expression", r.Type())
	}
	return e.o.Series, q, nil
}

func severalSeries(n int) error {
	return fmt.Errorf("the operations give %d series, and not one: aggregate them", n)
}

// compute asks for the value of an expression.
func (e *Evaluator) compute(ctx context.Context, p place, now time.Time) {
	a := &p.l.answers[p.i]
	rule := p.l.leaves[p.i].rule
	from, q, err := e.expression(*p.l.scope, rule, now)
	if err != nil {
		a.none = err.Error()
		return
	}
	wait := e.o.Interval
	switch r := rule.(type) {
	case *def.MetricsThreshold:
		e.watch(ctx, p, sdk.SeriesQuery{IDs: r.Metrics}, now)
	case *def.ResourcesThreshold:
		e.watch(ctx, p, sdk.SeriesQuery{Search: &sdk.ResourceSearch{Type: r.ResourceType, Filter: r.Query, Meters: []string{r.Metric}}}, now)
	case *def.Operations:
		wait = min(wait, r.Granularity)
	}
	if from == nil {
		a.none = "there is no storage to ask"
		return
	}
	p.l.dueAt(now.Add(wait).UnixNano())
	t := threshold(rule)
	if t != nil {
		q.From, q.To = e.span(t, now)
		q.Granularity = t.Granularity
	}
	began := time.Now()
	series, err := from.Compute(ctx, q)
	// One may answer while the other does not.
	asking := "asking the storage for expressions"
	if q.Language == "promql" {
		asking = "asking for PromQL"
	}
	var refused *sdk.Refused
	if err != nil && !errors.As(err, &refused) {
		e.trouble.note(asking, began, err)
		e.unanswered(p, err, now)
		return
	}
	if refused != nil {
		a.none = refusal(rule, refused)
		e.trouble.refused(p.l.id, p.i, a.none)
		return
	}
	e.trouble.note(asking, began, nil)
	e.trouble.refused(p.l.id, p.i, "")
	if t == nil {
		for _, s := range series {
			if n := len(s.Values); n > 0 {
				a.values = append(a.values, s.Values[n-1])
			}
		}
		return
	}
	switch len(series) {
	case 0:
	case 1:
		a.values = series[0].Values
		if n := len(a.values); n > 0 {
			p.l.dueAt(series[0].Times[max(0, n-t.Periods)] + int64(t.Granularity)*int64(t.Periods+2) + int64(e.o.Lag))
		}
	default:
		a.none = severalSeries(len(series)).Error()
	}
}

// refusal is Aodh's text for a question that can't be answered.
func refusal(r def.Rule, err *sdk.Refused) string {
	text := err.Error()
	if strings.Contains(text, "etrics not found") || strings.Contains(text, "does not exist") && !strings.Contains(text, "esource type") {
		switch r := r.(type) {
		case *def.MetricsThreshold:
			return fmt.Sprintf("At least of metrics in ['%s'] does not exist", strings.Join(r.Metrics, "', '"))
		case *def.ResourcesThreshold:
			return fmt.Sprintf("metric %s does not exists", r.Metric)
		}
	}
	return retrievalFailed + text
}

// retrievalFailed is how Aodh begins a reason that is about no metric.
const retrievalFailed = "alarm statistics retrieval failed: "

// watch finds the series that a leaf looks at, so that their points have it looked at
// again: those of metrics once, and those that a search finds again and again, since nobody
// tells when a resource is changed so that it is found.
func (e *Evaluator) watch(ctx context.Context, p place, q sdk.SeriesQuery, now time.Time) {
	l := &p.l.leaves[p.i]
	e.mu.Lock()
	m := e.index.sets[l]
	known := e.polling || m != nil && (q.Search == nil && len(m.numbers) == len(q.IDs) || q.Search != nil && now.UnixNano() < m.found+int64(e.o.Interval))
	e.mu.Unlock()
	if known {
		return
	}
	q.Scope = *p.l.scope
	found, err := e.find(ctx, q)
	if err != nil {
		return // the computation will fail, too
	}
	numbers := make([]uint64, len(found))
	for i, f := range found {
		numbers[i] = f.Number
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !p.l.gone {
		e.index.several(p.l.alarm, l, numbers, now.UnixNano())
	}
}

// aggregateOf is the operation that Aodh asks Gnocchi for: the aggregate of metrics'
// aggregates, of which the rate is the last to be computed.
func aggregateOf(method string, metrics []string) string {
	of := strings.TrimPrefix(method, "rate:")
	list := []any{"aggregate", method}
	for _, m := range metrics {
		list = append(list, []any{"metric", m, of})
	}
	return string(def.AppendJSON(nil, list))
}
