package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// TrustTarget is the target of trusts of Keystone that are to be removed. The action of such a
// delivery is the target and the trust's id. It stays when the alarm is deleted: that is
// when most trusts go.
const TrustTarget = "trust:"

// Untrust writes down that a trust is to be removed, which was made for an alarm that did
// not come to have it.
func (s *Store) Untrust(ctx context.Context, alarm *def.Alarm, trust string) error {
	return s.change(ctx, func(ctx context.Context, db *database.Session) error {
		return owe(ctx, db, []*Delivery{removal(alarm, trust)})
	})
}

func removal(alarm *def.Alarm, trust string) *Delivery {
	return &Delivery{ID: uuid.New(), Alarm: alarm.ID, Project: alarm.Project, Target: TrustTarget, Action: TrustTarget + trust, Created: time.Now()}
}

// untrust writes down that the trust of an alarm's former actions, which are JSON, is to be
// removed, unless the alarm keeps it.
func untrust(ctx context.Context, db *database.Session, former *def.Alarm, actions, kept string) error {
	if err := json.Unmarshal([]byte(actions), &former.Actions); err != nil {
		return fmt.Errorf("the actions of alarm %s are damaged in the database: %w", former.ID, err)
	}
	trust := former.Trust()
	if trust == "" || trust == kept {
		return nil
	}
	return owe(ctx, db, []*Delivery{removal(former, trust)})
}
