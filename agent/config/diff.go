package config

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"reflect"
	"slices"

	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

// Equal reports whether both instances are configured alike, wherever they were
// written. An instance that is not equal to its former self must be restarted.
func (i *Instance) Equal(o *Instance) bool {
	if i.Kind != o.Kind || i.Plugin != o.Plugin || !i.Options.Equal(o.Options) {
		return false
	}
	groups, others := i.groups(), o.groups()
	return slices.EqualFunc(groups, others, func(a, b any) bool {
		return sdkconfig.FromStruct(a).Equal(sdkconfig.FromStruct(b))
	})
}

// Equal reports whether both pipelines are configured alike, wherever they were
// written. The instances that they name may differ.
func (p *Pipeline) Equal(o *Pipeline) bool {
	return sdkconfig.FromStruct(p).Equal(sdkconfig.FromStruct(o))
}

// Equal reports whether both tables say the same.
func (a Agent) Equal(o Agent) bool { return reflect.DeepEqual(a, o) }

// Changes say what a new configuration has different from an old one, by name.
type Changes struct {
	Agent bool // [agent] itself; its defaults show in the instances too

	Added, Changed, Removed                            []string // instances
	AddedPipelines, ChangedPipelines, RemovedPipelines []string
}

// None reports whether nothing changed.
func (c Changes) None() bool {
	return !c.Agent && len(c.Added)+len(c.Changed)+len(c.Removed)+
		len(c.AddedPipelines)+len(c.ChangedPipelines)+len(c.RemovedPipelines) == 0
}

// Diff returns what c has different from old.
func (c *Config) Diff(old *Config) Changes {
	changes := Changes{Agent: !c.Agent.Equal(old.Agent)}
	changes.Added, changes.Changed, changes.Removed = diff(old.byName, c.byName, (*Instance).Equal)
	changes.AddedPipelines, changes.ChangedPipelines, changes.RemovedPipelines = diff(old.pipelines(), c.pipelines(), (*Pipeline).Equal)
	return changes
}

func (c *Config) pipelines() map[string]*Pipeline {
	m := make(map[string]*Pipeline, len(c.Pipelines))
	for _, p := range c.Pipelines {
		m[p.Name] = p
	}
	return m
}

// diff compares by name; the results are sorted.
func diff[T any](before, after map[string]T, equal func(a, b T) bool) (added, changed, removed []string) {
	for _, name := range slices.Sorted(maps.Keys(after)) {
		was, has := before[name]
		switch {
		case !has:
			added = append(added, name)
		case !equal(was, after[name]):
			changed = append(changed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, has := after[name]; !has {
			removed = append(removed, name)
		}
	}
	return added, changed, removed
}

// fingerprint is a short text that differs for tables that differ.
func fingerprint(t *sdkconfig.Table) string {
	h := sha256.New()
	for k, v := range t.All() {
		// Text would hide secrets, which must count.
		h.Write([]byte(k + "=" + v.Str + "\x00"))
		if v.Kind == sdkconfig.KindTable {
			h.Write([]byte(fingerprint(v.Table)))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
