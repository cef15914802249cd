package api

import "unicode/utf8"

// matchName reports whether a name matches a shell's pattern, as Python's fnmatch
// does: * is any text, ? any character, [abc] and [a-z] one of them, [!abc] one of
// the others. A bracket that is not closed is one. Case counts.
func matchName(pattern, name string) bool {
	// Where to go on when what follows the last * does not match: one character later.
	again, at := "", -1
	p, i := pattern, 0
	for {
		if p == "" && i == len(name) {
			return true
		}
		if p != "" && p[0] == '*' {
			p = p[1:]
			again, at = p, i
			continue
		}
		if p != "" && i < len(name) {
			c, size := utf8.DecodeRuneInString(name[i:])
			if rest, ok := matchOne(p, c); ok {
				p, i = rest, i+size
				continue
			}
		}
		if at < 0 || at == len(name) {
			return false
		}
		_, size := utf8.DecodeRuneInString(name[at:])
		at += size
		p, i = again, at
	}
}

// matchOne matches a character with the start of a pattern that is not empty, and
// gives the rest of it.
func matchOne(pattern string, c rune) (rest string, ok bool) {
	first, size := utf8.DecodeRuneInString(pattern)
	rest = pattern[size:]
	switch first {
	case '?':
		return rest, true
	case '[':
		if after, ok, closed := matchClass(rest, c); closed {
			return after, ok
		}
	}
	return rest, first == c
}

// matchClass matches a character with what is behind an opening bracket.
func matchClass(class string, c rune) (rest string, ok, closed bool) {
	not := class != "" && class[0] == '!'
	if not {
		class = class[1:]
	}
	for first := true; class != ""; first = false {
		low, size := utf8.DecodeRuneInString(class)
		class = class[size:]
		if low == ']' && !first {
			return class, ok != not, true
		}
		high := low
		if len(class) > 1 && class[0] == '-' && class[1] != ']' {
			high, size = utf8.DecodeRuneInString(class[1:])
			class = class[1+size:]
		}
		ok = ok || low <= c && c <= high
	}
	return "", false, false
}
