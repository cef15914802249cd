package filter

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/glob"
)

// condition is on the value of one metadata key.
type condition struct {
	key    string
	values *glob.Globs
	absent bool // met where there is no such key
}

// newCondition makes a condition that a missing key meets if the patterns only
// exclude: then it has none of the values that it must not have.
func newCondition(key string, patterns []string, values *glob.Globs) condition {
	c := condition{key: key, values: values, absent: true}
	for _, p := range patterns {
		c.absent = c.absent && strings.HasPrefix(p, "!")
	}
	return c
}

func (c *condition) met(m sdk.Metadata) bool {
	value, ok := find(m, c.key)
	if !ok || value == nil {
		return c.absent
	}
	return c.values.Match(textOf(value))
}

// find looks for a key, which may be the path to a value in objects, such as
// "flavor.name".
func find(m map[string]any, key string) (any, bool) {
	if v, ok := m[key]; ok {
		return v, true
	}
	for i := range len(key) {
		if key[i] != '.' {
			continue
		}
		if inner, ok := m[key[:i]].(map[string]any); ok {
			if v, ok := find(inner, key[i+1:]); ok {
				return v, true
			}
		}
	}
	return nil, false
}

// textOf gives a value as globs see it.
func textOf(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case map[string]any, []any:
		if data, err := json.Marshal(v); err == nil {
			return string(data)
		}
	}
	return fmt.Sprint(value)
}

func sortedKeys(m map[string][]string) []string { return slices.Sorted(maps.Keys(m)) }
