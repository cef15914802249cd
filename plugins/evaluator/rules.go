package evaluator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/plugins/evaluator/action"
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

// written is alarms that are written somewhere, by their ids.
type written map[uuid.UUID]*store.Alarm

// add adds the alarms of tables. All of a name have to be of different projects.
func (w written) add(o *options, tables []map[string]any, origin string) error {
	for i, t := range tables {
		a, err := o.ruleOf(t, origin)
		if err != nil {
			return fmt.Errorf("rule %d in %s: %w", i+1, origin, err)
		}
		if other := w[a.ID]; other != nil {
			return fmt.Errorf("rule %d in %s: there is one of the name %q in %s already", i+1, origin, a.Name, other.Origin)
		}
		w[a.ID] = a
	}
	return nil
}

// files are the files of the folder of rules. Those whose names begin with a dot are none:
// editors have such, and folders that are mounted.
func (o *options) files() (list []string, err error) {
	entries, err := os.ReadDir(o.RulesFrom)
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".toml") && !strings.HasPrefix(name, ".") {
			list = append(list, filepath.Join(o.RulesFrom, name))
		}
	}
	return list, err
}

// addFiles adds the alarms of the folder of rules.
func (w written) addFiles(o *options) error {
	files, err := o.files()
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s: %w", o.RulesFrom, errNoFiles)
	}
	for _, file := range files {
		var content struct {
			Rules []map[string]any `toml:"rule"`
		}
		meta, err := toml.DecodeFile(file, &content)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, key := range meta.Undecoded() {
			if key[0] != "rule" {
				return fmt.Errorf("%s: %s is nothing that belongs here: there are [[rule]] tables only", file, key)
			}
		}
		if err := w.add(o, content.Rules, file); err != nil {
			return err
		}
	}
	return nil
}

// errNoFiles: a folder that has nothing may be one where something is to be mounted.
var errNoFiles = errors.New("there is no file *.toml: leave an empty one there if its alarms are to be deleted")

// stamp tells whether the files of the folder changed. It is never empty.
func (e *evaluator) stamp() string {
	var b strings.Builder
	files, err := e.files()
	fmt.Fprintln(&b, err)
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			fmt.Fprintln(&b, file, info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}

// rescan is how often the folder of rules is looked at.
const rescan = 5 * time.Second

// followRules looks at the folder at each tick, and takes changes of it over, until ctx ends.
// done is the stamp of what was taken over before. What changes from tick to tick may be
// half written: a file that is empty for a moment must not delete alarms.
func (e *evaluator) followRules(ctx context.Context, tick <-chan time.Time, done string) {
	told, seen := "", done
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		now := e.stamp()
		if now != seen {
			seen = now
			continue
		}
		if now == done {
			told = ""
			continue
		}
		switch err := e.reconcile(ctx); {
		case err == nil:
			done, told = now, ""
		case ctx.Err() == nil && err.Error() != told: // it is tried again at each tick
			told = err.Error()
			e.log.Error("the folder of alarms can't be taken over; it is tried again", "error", err)
		}
	}
}

// folderError says why the alarms of the folder stay what they were. Those of the agent's
// configuration were taken over.
type folderError struct{ error }

func (e *folderError) Unwrap() error { return e.error }

// reconcile brings the alarms that are stored in line with what is written. Its error is a
// [*folderError] if the folder is away, or if something in it is wrong.
func (e *evaluator) reconcile(ctx context.Context) error {
	list := written{}
	if err := list.add(&e.options, e.Rules, ownOrigin); err != nil {
		return err
	}
	var wrong error
	if e.RulesFrom != "" {
		all := maps.Clone(list)
		if err := all.addFiles(&e.options); err != nil {
			wrong = &folderError{err}
		} else {
			list = all
		}
	}
	stored, err := e.store.Written(ctx)
	if err != nil {
		return err
	}
	made, changed, deleted, kept := 0, 0, 0, 0
	before := map[uuid.UUID]*store.Alarm{}
	for _, a := range stored {
		before[a.ID] = a
	}
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
		if wrong != nil && a.Origin != ownOrigin {
			kept++
			continue
		}
		if err := e.erase(ctx, a); err != nil {
			return e.failed(a, err)
		}
		deleted++
	}
	if made+changed+deleted > 0 {
		e.log.Info("alarms of files are taken over", "made", made, "changed", changed, "deleted", deleted)
	}
	if errors.Is(wrong, errNoFiles) && kept == 0 {
		return nil
	}
	return wrong
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
	return len(def.Difference(a.Detail(&none), b.Detail(&none))) == 0 && a.Origin == b.Origin
}

func (e *evaluator) write(ctx context.Context, a *store.Alarm) error {
	now := time.Now().UTC()
	a.Changed, a.Since = now, now
	c := e.change(a, store.Creation, a.Detail(&a.Status), now)
	if err := e.store.Create(ctx, a, store.Limits{}, c); err != nil {
		return err
	}
	e.engine.Put(a)
	e.ring(c)
	return nil
}

func (e *evaluator) rewrite(ctx context.Context, old, a *store.Alarm) error {
	a.Alarm.Version, a.Status, a.Changed = old.Alarm.Version, old.Status, time.Now().UTC()
	var c *store.Change // none if only the file has another name
	if d := def.Difference(old.Detail(&a.Status), a.Detail(&a.Status)); len(d) > 0 {
		c = e.change(a, store.RuleChange, d, a.Changed)
	}
	if err := e.store.Update(ctx, a, nil, c); err != nil {
		return err
	}
	e.engine.Put(a)
	e.ring(c)
	return nil
}

func (e *evaluator) erase(ctx context.Context, a *store.Alarm) error {
	c := e.change(a, store.Deletion, def.Object{{Name: "state", Value: a.State.String()}}, time.Now().UTC())
	if err := e.store.Delete(ctx, a.ID, c); err != nil {
		return err
	}
	e.engine.Remove(a.ID)
	e.ring(c)
	return nil
}

// ring has what a change made necessary done.
func (e *evaluator) ring(c *store.Change) {
	if c != nil && len(c.Deliveries) > 0 {
		e.queue.Owed([]string{action.EventTarget})
	}
}

// change is a line of history of what the files changed.
func (e *evaluator) change(a *store.Alarm, kind store.Kind, detail def.Object, at time.Time) *store.Change {
	c := &store.Change{
		ID: uuid.New(), Alarm: a.ID, Name: a.Name, Kind: kind, Detail: string(def.AppendJSON(nil, detail)), Who: store.Who{User: a.Origin},
		OnBehalfOf: a.Project, Severity: a.Severity, At: at,
	}
	c.Deliveries = e.record(c)
	return c
}
