package index

import (
	"strings"
	"unicode/utf8"
)

// likePattern is a pattern of search.Like, taken apart.
type likePattern []likePart

// likePart is a character, or what stands for others.
type likePart struct {
	rune rune
	kind likeKind
}

type likeKind uint8

const (
	literal likeKind = iota
	anyOne
	anyText
)

func parseLike(pattern string) likePattern {
	var p likePattern
	escaped := false
	for _, r := range pattern {
		switch {
		case escaped:
			p, escaped = append(p, likePart{r, literal}), false
		case r == '\\':
			escaped = true
		case r == '%':
			p = append(p, likePart{kind: anyText})
		case r == '_':
			p = append(p, likePart{kind: anyOne})
		default:
			p = append(p, likePart{r, literal})
		}
	}
	if escaped {
		p = append(p, likePart{'\\', literal})
	}
	return p
}

// sql is the pattern for PostgreSQL's LIKE.
func (p likePattern) sql() string {
	var b strings.Builder
	for _, part := range p {
		switch part.kind {
		case anyText:
			b.WriteByte('%')
		case anyOne:
			b.WriteByte('_')
		default:
			if strings.ContainsRune(`%_\`, part.rune) {
				b.WriteByte('\\')
			}
			b.WriteRune(part.rune)
		}
	}
	return b.String()
}

// glob is the pattern for SQLite's GLOB.
func (p likePattern) glob() string {
	var b strings.Builder
	for _, part := range p {
		switch part.kind {
		case anyText:
			b.WriteByte('*')
		case anyOne:
			b.WriteByte('?')
		default:
			if strings.ContainsRune("*?[", part.rune) {
				b.WriteString("[" + string(part.rune) + "]")
			} else {
				b.WriteRune(part.rune)
			}
		}
	}
	return b.String()
}

// bounds are the least text that can match, and the least after it that can't, as
// texts compare by bytes; "" where there is none. They let an index be used.
func (p likePattern) bounds() (from, to string) {
	var prefix []rune
	for _, part := range p {
		if part.kind != literal {
			break
		}
		prefix = append(prefix, part.rune)
	}
	from = string(prefix)
	for i := len(prefix) - 1; i >= 0; i-- {
		if next := prefix[i] + 1; next <= utf8.MaxRune {
			if next == 0xD800 { // surrogates are no characters
				next = 0xE000
			}
			return from, string(append(prefix[:i:i], next))
		}
	}
	return from, ""
}
