package derive

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

// Patterns are a pair of regular expressions, or of what they are replaced by.
type Patterns struct {
	Name string `toml:"name" doc:"For the meter's name."`
	Unit string `toml:"unit" doc:"For the unit."`
}

// Source says which samples are derived from, and how their names are taken apart.
type Source struct {
	Unit    string   `toml:"unit" doc:"Only samples in this unit are used; others pass unchanged."`
	MapFrom Patterns `toml:"map_from" doc:"Regular expressions that target.map_to replaces."`
}

// Naming says how the derived meter is called.
type Naming struct {
	Name  string   `toml:"name" doc:"Name of the new meter."`
	Unit  string   `toml:"unit" doc:"Unit of the new meter."`
	MapTo Patterns `toml:"map_to" doc:"What replaces the parts that source.map_from matches; \\1 or $1 is a group."`
}

// Namer gives the derived meter for each meter that comes in.
type Namer struct {
	unit       string // of the source; empty takes all
	name       string
	targetUnit string
	nameMap    *replacement
	unitMap    *replacement
}

// NewNamer checks and compiles the options; its errors are [config.KeyError]s,
// joined, relative to a struct that has them as source and target.
func NewNamer(source Source, naming Naming) (*Namer, error) {
	n := &Namer{unit: source.Unit, name: naming.Name, targetUnit: naming.Unit}
	var errName, errUnit error
	n.nameMap, errName = newReplacement("name", source.MapFrom.Name, naming.MapTo.Name)
	n.unitMap, errUnit = newReplacement("unit", source.MapFrom.Unit, naming.MapTo.Unit)
	return n, errors.Join(errName, errUnit)
}

// Selects tells whether samples of m are to be derived from.
func (n *Namer) Selects(m sdk.Meter) bool { return n.unit == "" || n.unit == m.Unit }

// Meter names what is derived from m: by the mapping if it matches, else by the
// target's name, else by the default; and likewise for the unit.
func (n *Namer) Meter(m, otherwise sdk.Meter) sdk.Meter {
	return sdk.Meter{
		Name: first(n.nameMap.apply(m.Name), n.name, otherwise.Name),
		Type: otherwise.Type,
		Unit: first(n.unitMap.apply(m.Unit), n.targetUnit, otherwise.Unit),
	}
}

// PerSecond is the unit of a rate of what is counted in unit.
func PerSecond(unit string) string {
	if unit == "" {
		return "1/s"
	}
	return unit + "/s"
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// replacement is a compiled pair of map_from and map_to; nil maps nothing.
type replacement struct {
	from *regexp.Regexp
	to   string // as [regexp.Regexp.Expand] has it
}

func newReplacement(of, from, to string) (*replacement, error) {
	switch {
	case from == "" && to == "":
		return nil, nil
	case to == "":
		return nil, config.KeyError("source.map_from."+of, "has no target.map_to.%s that says what replaces the match", of)
	case from == "":
		return nil, config.KeyError("target.map_to."+of, "has no source.map_from.%s that says what it replaces", of)
	}
	compiled, err := regexp.Compile(from)
	if err != nil {
		return nil, config.KeyError("source.map_from."+of, "%w", patternError(err))
	}
	template, err := Template(compiled, to)
	if err != nil {
		return nil, config.KeyError("target.map_to."+of, "%w", err)
	}
	return &replacement{compiled, template}, nil
}

// patternError adds what someone needs who knows Python's regular expressions.
func patternError(err error) error {
	if text := err.Error(); strings.Contains(text, "(?") || strings.Contains(text, `\`) {
		return fmt.Errorf("%w; look-around and back-references inside of the pattern do not exist here", err)
	}
	return err
}

// apply gives "" where the pattern matches nothing.
func (r *replacement) apply(text string) string {
	if r == nil || !r.from.MatchString(text) {
		return ""
	}
	return r.from.ReplaceAllString(text, r.to)
}

var errGroupName = errors.New(`has a group without an end: write \1, \g<name>, $1 or ${name}, and $$ for a dollar sign`)

// Template makes a replacement for [regexp.Regexp.Expand] from text in which
// groups are written \1 or \g<name>, as in Python, or $1 or ${name}, as in Go. It
// refuses groups that pattern does not have.
func Template(pattern *regexp.Regexp, text string) (string, error) {
	var out strings.Builder
	for text != "" {
		group, rest, err := cutGroup(text)
		if err != nil {
			return "", err
		}
		switch {
		case group == "" && rest != text: // an escaped \ or $
			out.WriteString(strings.ReplaceAll(text[:1], "$", "$$"))
		case group == "":
			out.WriteString(text[:1])
			rest = text[1:]
		default:
			n, notNumber := strconv.Atoi(group)
			if notNumber == nil && n > pattern.NumSubexp() || notNumber != nil && pattern.SubexpIndex(group) < 0 {
				return "", fmt.Errorf("names the group %s, which the pattern %s does not have", group, pattern)
			}
			out.WriteString("${" + group + "}")
		}
		text = rest
	}
	return out.String(), nil
}

// cutGroup takes a group, or an escaped character, off the beginning of text.
// rest is text itself where there is neither.
func cutGroup(text string) (group, rest string, err error) {
	if len(text) < 2 || text[0] != '\\' && text[0] != '$' {
		if text == "$" {
			return "", "", errGroupName
		}
		return "", text, nil
	}
	body := text[1:]
	switch {
	case body[0] == text[0]:
		return "", text[2:], nil
	case strings.HasPrefix(text, `\g<`):
		return cutName(text[3:], ">")
	case strings.HasPrefix(text, "${"):
		return cutName(text[2:], "}")
	}
	n := 0
	for n < len(body) && n < 2 && body[n] >= '0' && body[n] <= '9' {
		n++
	}
	if n == 0 && text[0] == '$' {
		return "", "", errGroupName
	}
	if n == 0 {
		return "", text, nil
	}
	return body[:n], body[n:], nil
}

func cutName(text, end string) (group, rest string, err error) {
	group, rest, ok := strings.Cut(text, end)
	if !ok || group == "" {
		return "", "", errGroupName
	}
	return group, rest, nil
}
