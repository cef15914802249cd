package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nephoscope/nepho/aggregator/database"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// Written gives the alarms that come from files: those with an Origin. The condition is that
// of their index, which a question by [Store.Alarms] would not use.
func (s *Store) Written(ctx context.Context) (list []*Alarm, err error) {
	err = s.db.Read(ctx, func(db *database.Session) error {
		list = list[:0]
		rows, err := db.Query(ctx, "SELECT "+columns+" FROM alarm WHERE origin <> ''")
		return database.Each(rows, err, func(rows *sql.Rows) error {
			a, err := scan(rows)
			list = append(list, a)
			return err
		})
	})
	return list, err
}

// Count gives the number of alarms.
func (s *Store) Count(ctx context.Context) (n int, err error) {
	err = s.db.Read(ctx, func(db *database.Session) error {
		_, err := db.One(ctx, "SELECT coalesce(sum(alarms), 0) FROM alarm_count WHERE kind = ?", []any{byProject}, &n)
		return err
	})
	return n, err
}

const (
	// part is how many alarms are read by one statement of Load.
	part = 1000
	// readers is how many statements go on at once, at most.
	readers = 4
)

// Load calls f, concurrently and in no order, for each alarm that is enabled and that was
// there when it was called, with what evaluation needs of it: its name, description,
// severity, actions, origin and reason are left out. One that can't be read is logged and left
// out.
func (s *Store) Load(ctx context.Context, f func(*Alarm)) error {
	var last int64
	err := s.db.Read(ctx, func(db *database.Session) error {
		_, err := db.One(ctx, "SELECT coalesce(max(ref), 0) FROM alarm", nil, &last)
		return err
	})
	if err != nil {
		return err
	}
	var next atomic.Int64
	work, ctx := errgroup.WithContext(ctx)
	for range min(readers, runtime.GOMAXPROCS(0)) {
		work.Go(func() error {
			for {
				to := next.Add(part)
				if to-part >= last {
					return nil
				}
				list, err := s.loadPart(ctx, to-part, min(to, last))
				if err != nil {
					return err
				}
				for _, a := range list {
					f(a)
				}
			}
		})
	}
	return work.Wait()
}

// loadPart reads the alarms after one to another.
func (s *Store) loadPart(ctx context.Context, after, to int64) (list []*Alarm, err error) {
	err = s.db.Read(ctx, func(db *database.Session) error {
		list = list[:0]
		rows, err := db.Query(ctx, "SELECT id, version, type, rule, repeat_actions, constraints, project, owner, admin, changed, state, since, evaluated, status_version "+
			"FROM alarm WHERE ref > ? AND ref <= ? AND enabled", after, to)
		return database.Each(rows, err, func(rows *sql.Rows) error {
			a := &Alarm{Alarm: def.Alarm{Enabled: true}}
			var kind string
			var rule, constraints sql.RawBytes
			var state, changed, since, evaluated int64
			err := rows.Scan(&a.ID, &a.Alarm.Version, &kind, &rule, &a.Repeat, &constraints, &a.Project, &a.User, &a.Admin, &changed, &state, &since, &evaluated, &a.Status.Version)
			if err != nil {
				return err
			}
			a.State = def.State(state)
			a.Changed, a.Since, a.Evaluated = fromMicros(changed), fromMicros(since), fromMicros(evaluated)
			if a.Rule, err = readRule(kind, rule); err == nil && len(constraints) > 0 {
				err = json.Unmarshal(constraints, &a.Constraints)
			}
			if err != nil {
				s.o.Log.Error("an alarm is left out", "error", fmt.Errorf("alarm %s is damaged in the database: %w", a.ID, err))
				return nil
			}
			list = append(list, a)
			return nil
		})
	})
	return list, err
}

// readRule is [def.ReadRule] of what was checked when it was stored. Thresholds of one series,
// of which there may be a million, are read in a quarter of its time.
func readRule(kind string, data []byte) (def.Rule, error) {
	if kind != (*def.ResourceThreshold)(nil).Type() {
		return def.ReadRule(kind, data)
	}
	var r struct {
		Granularity  int64
		Comparison   def.Comparison `json:"comparison_operator"`
		Threshold    float64
		Method       string `json:"aggregation_method"`
		Periods      int    `json:"evaluation_periods"`
		Metric       string
		Resource     string `json:"resource_id"`
		ResourceType string `json:"resource_type"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	return &def.ResourceThreshold{
		Threshold: def.Threshold{
			Threshold: r.Threshold, Comparison: r.Comparison, Method: r.Method, Periods: r.Periods, Granularity: time.Duration(r.Granularity) * time.Second,
		},
		Metric: r.Metric, Resource: r.Resource, ResourceType: r.ResourceType,
	}, nil
}
