package index

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
)

// NamedMetrics is those of the named metrics that exist, by their resources. It is not
// answered from memory.
func (x *Index) NamedMetrics(ctx context.Context, names []Name) (map[uuid.UUID][]*Metric, error) {
	names = slices.DeleteFunc(slices.Clone(names), func(n Name) bool { return checkText("", n.Metric) != nil })
	var found map[uuid.UUID][]*Metric
	err := x.view(ctx, func(s *database.Session) (err error) {
		found, err = namedMetrics(ctx, s, names)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look up metrics: %w", err)
	}
	return found, nil
}

func namedMetrics(ctx context.Context, s *database.Session, names []Name) (map[uuid.UUID][]*Metric, error) {
	found := map[uuid.UUID][]*Metric{}
	err := eachChunk(names, func(chunk []Name) error {
		rows, err := s.Query(ctx, "SELECT DISTINCT "+metricColumns+" FROM "+namesTable(s, len(chunk))+
			" CROSS JOIN metric m WHERE m.resource = w.column1 AND m.name = w.column2", nameArgs(s, chunk)...)
		return scanMetrics(rows, err, func(m *Metric) { found[m.Resource] = append(found[m.Resource], m) })
	})
	return found, err
}
