// Package glob matches meter names and event types against lists of patterns, as
// options like meters = ["cpu", "disk.*", "!disk.device.allocation"] have them.
//
// In a pattern * stands for any text, dots included, ? for one character, [a-c]
// for one of a class, [^a-c] for one outside of it, and \ takes away the next
// character's meaning. A pattern describes the whole name.
package glob

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Globs is a compiled list of patterns. It does not change, so any number of
// goroutines may use it; nil matches everything.
type Globs struct {
	include []pattern
	exclude []pattern
}

// Error says which pattern of a list cannot be compiled.
type Error struct {
	Index   int    // in the list
	Pattern string // as it is written
	Reason  string
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("pattern %q: %s", e.Pattern, e.Reason)
}

// Compile reads a list of patterns. One that begins with ! excludes what it
// matches, wherever in the list it stands. A list without an including pattern
// includes everything else; so an empty list matches all names. The error is an
// [*Error].
func Compile(patterns []string) (*Globs, error) {
	g := &Globs{}
	for i, text := range patterns {
		body, exclude := strings.CutPrefix(text, "!")
		p, err := compile(body)
		if err != nil {
			return nil, &Error{Index: i, Pattern: text, Reason: err.Error()}
		}
		if exclude {
			g.exclude = append(g.exclude, p)
		} else {
			g.include = append(g.include, p)
		}
	}
	return g, nil
}

// Match reports whether the list selects name. It does not allocate.
func (g *Globs) Match(name string) bool {
	if g == nil {
		return true
	}
	for i := range g.exclude {
		if g.exclude[i].match(name) {
			return false
		}
	}
	for i := range g.include {
		if g.include[i].match(name) {
			return true
		}
	}
	return len(g.include) == 0
}

// All reports whether the list selects every name there is, so that matching can
// be left out.
func (g *Globs) All() bool {
	if g == nil {
		return true
	}
	if len(g.exclude) > 0 {
		return false
	}
	for _, p := range g.include {
		if p.form == prefix && p.text == "" {
			return true
		}
	}
	return len(g.include) == 0
}

// form is how a pattern is matched; nearly all patterns are of the quick forms.
type form uint8

const (
	exact   form = iota // "cpu"
	prefix              // "disk.*", and "*"
	suffix              // "*.rate"
	ends                // "disk.*.rate"
	general             // everything else, by its parts
)

type pattern struct {
	form  form
	text  string // of the quick forms; of ends, what is before the *
	tail  string // of ends, what is after it
	parts []part
}

// part is one element of a general pattern.
type part struct {
	kind    partKind
	char    rune
	negated bool
	ranges  []charRange
}

type partKind uint8

const (
	character partKind = iota
	anyText
	anyCharacter
	class
)

type charRange struct{ low, high rune }

func (p *pattern) match(name string) bool {
	switch p.form {
	case exact:
		return name == p.text
	case prefix:
		return strings.HasPrefix(name, p.text)
	case suffix:
		return strings.HasSuffix(name, p.text)
	case ends:
		return len(name) >= len(p.text)+len(p.tail) && strings.HasPrefix(name, p.text) && strings.HasSuffix(name, p.tail)
	default:
		return matchParts(p.parts, name)
	}
}

// matchParts tries the parts from left to right. On a mismatch only the last *
// needs to take more text, so the cost is at most len(parts) * len(name).
func matchParts(parts []part, name string) bool {
	i, at := 0, 0
	star, starAt := -1, 0
	for {
		if i < len(parts) && parts[i].kind == anyText {
			star, starAt = i, at
			i++
			continue
		}
		if at == len(name) && i == len(parts) {
			return true
		}
		if at < len(name) {
			r, width := utf8.DecodeRuneInString(name[at:])
			if i < len(parts) && parts[i].matches(r) {
				i++
				at += width
				continue
			}
		}
		if star < 0 || starAt == len(name) {
			return false
		}
		_, width := utf8.DecodeRuneInString(name[starAt:])
		starAt += width
		i, at = star+1, starAt
	}
}

func (p *part) matches(r rune) bool {
	switch p.kind {
	case character:
		return r == p.char
	case class:
		for _, c := range p.ranges {
			if c.low <= r && r <= c.high {
				return !p.negated
			}
		}
		return p.negated
	default:
		return true
	}
}
