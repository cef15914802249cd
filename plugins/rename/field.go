package rename

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/nephoscope/nepho/plugins/internal/expression"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

// assignments are expressions that give fields of a resource.
type assignments struct {
	ResourceID string `toml:"resource_id" doc:"The resource's id."`
	ProjectID  string `toml:"project_id" doc:"The project that owns the resource."`
	UserID     string `toml:"user_id" doc:"The user who owns the resource."`
	Source     string `toml:"source" doc:"The naming authority of the ids."`
}

// field is something that an expression sets.
type field struct {
	name  string
	value *expression.Expression[any]
	set   func(*edit, any) error
}

func compileFields(set assignments, metadata map[string]string) ([]field, error) {
	var fields []field
	var errs []error
	add := func(key, name, text string, set func(*edit, any) error) {
		e, err := expression.Value(text)
		switch {
		case err != nil:
			errs = append(errs, config.KeyError(key, "%w", err))
		case !e.IsOfResource():
			errs = append(errs, config.KeyError(key, "may use fields of the resource only: resource_id, project_id, user_id, source, resource_metadata"))
		default:
			fields = append(fields, field{name, e, set})
		}
	}
	for _, f := range []struct {
		name, text string
		of         func(*edit) *string
	}{
		{"resource_id", set.ResourceID, func(e *edit) *string { return &e.ID }},
		{"project_id", set.ProjectID, func(e *edit) *string { return &e.ProjectID }},
		{"user_id", set.UserID, func(e *edit) *string { return &e.UserID }},
		{"source", set.Source, func(e *edit) *string { return &e.Source }},
	} {
		if f.text != "" {
			add("set."+f.name, f.name, f.text, func(e *edit, v any) error { return e.setText(f.of(e), v) })
		}
	}
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		add("set_metadata."+key, key, metadata[key], func(e *edit, v any) error { return e.setMetadata(key, v) })
	}
	return fields, errors.Join(errs...)
}

// edit is a resource that may be changed. Its metadata is shared with the batch
// until the first change.
type edit struct {
	sdk.Resource
	changed bool
	copied  bool
}

var errNoText = errors.New("gives an object or a list, which cannot be an id")

// setText sets a field of the resource; nil and empty text leave it as it is.
func (e *edit) setText(to *string, v any) error {
	var text string
	switch v := v.(type) {
	case nil:
	case string:
		text = v
	case bool:
		text = strconv.FormatBool(v)
	case float64:
		text = strconv.FormatFloat(v, 'f', -1, 64)
	case int, int64:
		text = fmt.Sprint(v)
	default:
		return errNoText
	}
	if text != "" && text != *to {
		*to = text
		e.changed = true
	}
	return nil
}

// setMetadata sets a key; nil leaves it as it is.
func (e *edit) setMetadata(key string, v any) error {
	switch v.(type) {
	case nil:
		return nil
	case string, bool, int, int64, float64, []any, map[string]any:
	default:
		return fmt.Errorf("gives a %T, which metadata cannot hold", v)
	}
	e.copyMetadata()
	e.Metadata[key] = v
	return nil
}

// renameKeys gives keys their new names. A renamed key takes the place of one
// that has its new name already.
func (e *edit) renameKeys(names map[string]string) {
	from := e.Metadata
	e.copyMetadata()
	for key := range from {
		if _, ok := names[key]; ok {
			delete(e.Metadata, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if to, ok := names[key]; ok {
			e.Metadata[to] = from[key]
		}
	}
}

func (e *edit) copyMetadata() {
	e.changed = true
	if e.copied {
		return
	}
	e.copied = true
	if e.Metadata = maps.Clone(e.Metadata); e.Metadata == nil {
		e.Metadata = sdk.Metadata{}
	}
}
