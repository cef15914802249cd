package definitions

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/sdk"
)

// Describe gives the attributes that a sample's resource tells, as the index takes
// them. Those that it does not tell are left out, and so are values that do not fit
// their attribute, of which wrong hears.
func (t *Type) Describe(r *sdk.Resource, wrong func(attribute string, err error)) map[string]any {
	if len(t.Attributes) == 0 {
		return nil
	}
	made := make(map[string]any, len(t.Attributes))
	for i := range t.Attributes {
		a := &t.Attributes[i]
		for _, p := range a.paths {
			v, ok := p.find(r)
			if !ok {
				continue
			}
			if v, err := a.value(v); err != nil {
				wrong(a.Name, err)
			} else {
				made[a.Name] = v
			}
			break
		}
	}
	return made
}

// value makes a value of the attribute's type of one in metadata or a trait.
func (a *Attribute) value(v any) (any, error) {
	switch a.Type {
	case index.Number:
		return a.number(v)
	case index.Bool:
		return boolean(v)
	case index.Datetime:
		return datetime(v)
	}
	s, err := text(v)
	switch {
	case err != nil:
		return nil, err
	case a.Type == index.UUID:
		id, err := uuid.Parse(s)
		if err != nil {
			return nil, fmt.Errorf("%.100q is no UUID", s)
		}
		return id.String(), nil
	case len([]rune(s)) < a.MinLength || len([]rune(s)) > a.MaxLength:
		return nil, fmt.Errorf("%.100q... has %d characters, %d to %d are allowed", s, len([]rune(s)), a.MinLength, a.MaxLength)
	}
	return s, nil
}

// text writes a scalar.
func text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), nil
	}
	return "", fmt.Errorf("it is a list or an object, which no attribute can hold")
}

func (a *Attribute) number(v any) (any, error) {
	var n float64
	switch v := v.(type) {
	case int64:
		n = float64(v)
	case float64:
		n = v
	case string:
		var err error
		if n, err = strconv.ParseFloat(strings.TrimSpace(v), 64); err != nil {
			return nil, fmt.Errorf("%.100q is no number", v)
		}
	default:
		return nil, fmt.Errorf("%v is no number", v)
	}
	if a.Min != nil && n < *a.Min || a.Max != nil && n > *a.Max || n != n {
		return nil, fmt.Errorf("%v is not within the attribute's limits", n)
	}
	return n, nil
}

func boolean(v any) (any, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "true", "yes", "on", "1":
			return true, nil
		case "false", "no", "off", "0":
			return false, nil
		}
	case int64:
		if v == 0 || v == 1 {
			return v == 1, nil
		}
	}
	return nil, fmt.Errorf("%v is neither true nor false", v)
}

// datetime reads ISO 8601, UTC where it has no offset, and seconds since 1970.
func datetime(v any) (any, error) {
	if t, ok := v.(time.Time); ok {
		return t.UTC(), nil
	}
	s, err := text(v)
	if err != nil {
		return nil, err
	}
	// Timespans from now, which requests may hold, are no times of resources.
	parse := timetext.ParseNumberTime
	if len(s) > 4 && s[4] == '-' {
		parse = func(s string) (int64, error) { return timetext.ParseTime(s, time.Time{}) }
	}
	t, err := parse(s)
	if err != nil {
		return nil, fmt.Errorf("%.100q is no time: %w", s, err)
	}
	return time.Unix(0, t).UTC(), nil
}
