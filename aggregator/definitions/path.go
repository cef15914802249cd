package definitions

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nephoscope/nepho/sdk"
)

// path leads to a value of a sample's resource.
type path struct {
	root string // one of roots
	rest string // in the metadata, with dots between the levels
}

var roots = []string{"resource_metadata", "project_id", "user_id", "source", "resource_id"}

// parsePath reads a path such as resource_metadata.flavor.name or project_id.
func parsePath(text string) (path, error) {
	root, rest, deep := strings.Cut(text, ".")
	switch {
	case !slices.Contains(roots, root):
		return path{}, fmt.Errorf("path %q begins with none of %s", text, strings.Join(roots, ", "))
	case deep != (root == "resource_metadata") || deep && slices.Contains(strings.Split(rest, "."), ""):
		return path{}, fmt.Errorf("path %q is not like resource_metadata.flavor.name or project_id", text)
	}
	return path{root, rest}, nil
}

// find follows a path. ok is false where there is nothing, or null.
func (p path) find(r *sdk.Resource) (v any, ok bool) {
	switch p.root {
	case "project_id":
		return r.ProjectID, r.ProjectID != ""
	case "user_id":
		return r.UserID, r.UserID != ""
	case "source":
		return r.Source, r.Source != ""
	case "resource_id":
		return r.ID, r.ID != ""
	}
	v = dig(r.Metadata, p.rest)
	return v, v != nil
}

// dig finds a value in nested objects. Keys may have dots themselves: the longest
// one that leads somewhere is taken.
func dig(m map[string]any, path string) any {
	for end := len(path); end > 0; end = strings.LastIndexByte(path[:end], '.') {
		v, ok := m[path[:end]]
		if !ok || v == nil {
			continue
		}
		if end == len(path) {
			return v
		}
		if inner, ok := v.(map[string]any); ok {
			if v := dig(inner, path[end+1:]); v != nil {
				return v
			}
		}
	}
	return nil
}
