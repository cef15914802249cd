package influxdb

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nephoscope/nepho/sdk"
)

// template is a part of the option measurement: a property of meters, or text.
type template struct{ name, text string }

func parseTemplate(s string) ([]template, error) {
	if s == "" {
		return nil, errors.New("must not be empty")
	}
	var parts []template
	for {
		before, rest, found := strings.Cut(s, "{")
		if before != "" {
			parts = append(parts, template{text: before})
		}
		if !found {
			return parts, nil
		}
		name, rest, closed := strings.Cut(rest, "}")
		if !closed || !slices.Contains(allMeterTags[:], name) {
			return nil, fmt.Errorf("{%s stands for nothing: there are {meter}, {type} and {unit}", name)
		}
		parts = append(parts, template{name: name})
		s = rest
	}
}

func (t template) expand(m sdk.Meter) string {
	switch t.name {
	case "meter":
		return m.Name
	case "type":
		return m.Type.String()
	case "unit":
		return m.Unit
	default:
		return t.text
	}
}
