package evaluator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/plugins/evaluator/api"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// space makes the ids of alarms that are written in files of their names, so that an
// alarm stays the same one as long as its name does.
var space = uuid.MustParse("8f1d8fd8-4f0c-4c43-9f55-0d8a7a6b8a4e")

// ruleOf reads an alarm that is written as a table, in a file.
func (o *options) ruleOf(table map[string]any, origin string) (*store.Alarm, error) {
	data, err := json.Marshal(table)
	if err != nil {
		return nil, fmt.Errorf("it has a value that JSON does not know: %w", err)
	}
	p, err := def.Read(data)
	if err != nil {
		return nil, err
	}
	if p.State != nil {
		return nil, errors.New("state can't be written here: evaluation finds it")
	}
	if err := api.CheckRule(p.Rule); err != nil {
		return nil, err
	}
	if err := o.checkActions(&p.Alarm); err != nil {
		return nil, err
	}
	a := &store.Alarm{Alarm: p.Alarm, Status: def.Status{Reason: def.NotEvaluated}}
	// Whoever writes the agent's files may see all that it stores.
	a.ID, a.Origin, a.Admin = uuid.NewSHA1(space, []byte(p.Project+"/"+p.Name)), origin, true
	return a, nil
}

// ownOrigin is the origin of alarms that are in the agent's configuration.
const ownOrigin = "the agent's configuration"

// written gives all alarms that are in the configuration and in the folder of rules. A
// file that can't be read keeps all of the folder's alarms as they are.
func (e *evaluator) written() (list []*store.Alarm, err error) {
	seen := map[uuid.UUID]string{}
	add := func(tables []map[string]any, origin string) error {
		for i, t := range tables {
			a, err := e.ruleOf(t, origin)
			if err != nil {
				return fmt.Errorf("rule %d in %s: %w", i+1, origin, err)
			}
			if other, twice := seen[a.ID]; twice {
				return fmt.Errorf("rule %d in %s: there is one of the name %q in %s already", i+1, origin, a.Name, other)
			}
			seen[a.ID] = origin
			list = append(list, a)
		}
		return nil
	}
	if err := add(e.Rules, ownOrigin); err != nil {
		return nil, err
	}
	if e.RulesFrom == "" {
		return list, nil
	}
	files, err := filepath.Glob(filepath.Join(e.RulesFrom, "*.toml"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		var content struct {
			Rules []map[string]any `toml:"rule"`
		}
		meta, err := toml.DecodeFile(file, &content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, key := range meta.Undecoded() {
			if key[0] != "rule" {
				return nil, fmt.Errorf("%s: %s is nothing that belongs here: there are [[rule]] tables only", file, key)
			}
		}
		if err := add(content.Rules, file); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// stamp tells whether the files of the folder changed.
func (e *evaluator) stamp() string {
	var b strings.Builder
	files, _ := filepath.Glob(filepath.Join(e.RulesFrom, "*.toml"))
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			fmt.Fprintln(&b, file, info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}

// rescan is how often the folder of rules is looked at.
const rescan = 5 * time.Second

// followRules takes changes of the folder over, until ctx ends.
func (e *evaluator) followRules(ctx context.Context, stamp string) {
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := e.stamp()
		if now == stamp {
			continue
		}
		err := e.reconcile(ctx)
		if !errors.Is(err, database.ErrUnavailable) { // then it is tried again
			stamp = now
		}
		if err != nil && ctx.Err() == nil {
			e.log.Error("the folder of alarms can't be taken over; those from it stay as they were", "error", err)
		}
	}
}

// reconcile brings the alarms that are stored in line with what is written.
func (e *evaluator) reconcile(ctx context.Context) error {
	list, err := e.written()
	if err != nil {
		return err
	}
	stored, err := e.store.Written(ctx)
	if err != nil {
		return err
	}
	before := map[uuid.UUID]*store.Alarm{}
	for _, a := range stored {
		before[a.ID] = a
	}
	made, changed := 0, 0
	for _, a := range list {
		old := before[a.ID]
		delete(before, a.ID)
		switch {
		case old == nil:
			err = e.write(ctx, a)
			made++
		case !same(old, a):
			err = e.rewrite(ctx, old, a)
			changed++
		}
		if err != nil {
			return e.failed(a, err)
		}
	}
	for _, a := range before {
		if err := e.erase(ctx, a); err != nil {
			return e.failed(a, err)
		}
	}
	if made+changed+len(before) > 0 {
		e.log.Info("alarms of files are taken over", "made", made, "changed", changed, "deleted", len(before))
	}
	return nil
}

// failed says why an alarm could not be brought in line.
func (e *evaluator) failed(a *store.Alarm, err error) error {
	if errors.Is(err, database.ErrUnknown) {
		e.engine.Doubt(a.ID)
	}
	return fmt.Errorf("alarm %q: %w", a.Name, err)
}

// same reports whether two definitions are.
func same(a, b *store.Alarm) bool {
	var none def.Status
	x, y := a.Alarm, b.Alarm
	x.Changed, y.Changed = time.Time{}, time.Time{}
	return slices.Equal(def.AppendJSON(nil, x.Answer(&none)), def.AppendJSON(nil, y.Answer(&none))) && a.Origin == b.Origin
}

func (e *evaluator) write(ctx context.Context, a *store.Alarm) error {
	now := time.Now().UTC()
	a.Changed, a.Since = now, now
	if err := e.store.Create(ctx, a, store.Limits{Project: -1, User: -1}, e.change(a, store.Creation, now)); err != nil {
		return err
	}
	e.engine.Put(a)
	return nil
}

func (e *evaluator) rewrite(ctx context.Context, old, a *store.Alarm) error {
	a.Alarm.Version, a.Status, a.Changed = old.Alarm.Version, old.Status, time.Now().UTC()
	if err := e.store.Update(ctx, a, nil, e.change(a, store.RuleChange, a.Changed)); err != nil {
		return err
	}
	e.engine.Put(a)
	return nil
}

func (e *evaluator) erase(ctx context.Context, a *store.Alarm) error {
	if err := e.store.Delete(ctx, a.ID, e.change(a, store.Deletion, time.Now().UTC())); err != nil {
		return err
	}
	e.engine.Remove(a.ID)
	return nil
}

// change is a line of history of what the files changed.
func (e *evaluator) change(a *store.Alarm, kind store.Kind, at time.Time) *store.Change {
	detail := a.Answer(&a.Status)
	if kind == store.Deletion {
		detail = def.Object{{Name: "state", Value: a.State.String()}}
	}
	c := &store.Change{
		ID: uuid.New(), Alarm: a.ID, Name: a.Name, Kind: kind, Detail: string(def.AppendJSON(nil, detail)), Who: store.Who{User: a.Origin},
		OnBehalfOf: a.Project, Severity: a.Severity, At: at,
	}
	c.Deliveries = e.record(c)
	return c
}
