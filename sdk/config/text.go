package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Redacted stands for a secret wherever a value is printed.
const Redacted = "***"

// Text returns the table as TOML, secrets as [Redacted]. Besides the values that
// are marked Secret these are the values of keys that look like one (password,
// secret, token and the like) and the passwords in URLs.
func (t *Table) Text() string {
	var b strings.Builder
	writeTable(&b, t, nil, false)
	return b.String()
}

// writeTable writes scalars first: TOML has no way back from a sub-table's header.
func writeTable(b *strings.Builder, t *Table, path []string, secret bool) {
	for k, v := range t.All() {
		if !hasHeader(v) {
			b.WriteString(quoteKey(k) + " = ")
			writeValue(b, v, secret || looksSecret(k))
			b.WriteByte('\n')
		}
	}
	for k, v := range t.All() {
		if !hasHeader(v) {
			continue
		}
		sub := append(path[:len(path):len(path)], quoteKey(k))
		header := strings.Join(sub, ".")
		if v.Kind == KindTable {
			if !onlyHeaders(v.Table) {
				writeHeader(b, "["+header+"]")
			}
			writeTable(b, v.Table, sub, secret || looksSecret(k))
			continue
		}
		for _, e := range v.List {
			writeHeader(b, "[["+header+"]]")
			writeTable(b, e.Table, sub, secret || looksSecret(k))
		}
	}
}

func writeHeader(b *strings.Builder, header string) {
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	b.WriteString(header + "\n")
}

// hasHeader reports whether v is written under a header of its own.
func hasHeader(v *Value) bool {
	if v.Secret {
		return false
	}
	if v.Kind != KindList || len(v.List) == 0 {
		return v.Kind == KindTable
	}
	return !slices.ContainsFunc(v.List, func(e *Value) bool { return e.Kind != KindTable || e.Secret })
}

// onlyHeaders reports whether t needs no header of its own: those of its
// sub-tables imply it.
func onlyHeaders(t *Table) bool {
	for _, v := range t.All() {
		if !hasHeader(v) {
			return false
		}
	}
	return t.Len() > 0
}

func writeValue(b *strings.Builder, v *Value, secret bool) {
	if v.Secret || secret && (v.Kind == KindString && v.Str != "" || v.Kind == KindInt) {
		b.WriteString(quoteString(Redacted))
		return
	}
	switch v.Kind {
	case KindInvalid:
		b.WriteString(`"(invalid)"`)
	case KindString:
		b.WriteString(quoteString(redactURL(v.Str)))
	case KindTime:
		b.WriteString(v.Str)
	case KindInt:
		b.WriteString(strconv.FormatInt(v.Int, 10))
	case KindFloat:
		b.WriteString(formatFloat(v.Float))
	case KindBool:
		b.WriteString(strconv.FormatBool(v.Bool))
	case KindList:
		b.WriteByte('[')
		for i, e := range v.List {
			if i > 0 {
				b.WriteString(", ")
			}
			writeValue(b, e, secret)
		}
		b.WriteByte(']')
	case KindTable:
		separator := "{ "
		for k, e := range v.Table.All() {
			b.WriteString(separator + quoteKey(k) + " = ")
			writeValue(b, e, secret || looksSecret(k))
			separator = ", "
		}
		if separator == "{ " {
			b.WriteByte('{')
		} else {
			b.WriteByte(' ')
		}
		b.WriteByte('}')
	}
}

func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(f, 'g', -1, 64)), "+")
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// looksSecret guards the values of plugins whose options are not known here.
func looksSecret(key string) bool {
	key = fold(key)
	for _, word := range []string{"password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "access_key", "private_key", "community"} {
		if strings.HasSuffix(key, word) || strings.HasSuffix(key, word+"s") {
			return true
		}
	}
	return false
}

// redactURL replaces the password of an URL, if s is one that has one.
func redactURL(s string) string {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return s
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return s
	}
	user, _, hasPassword := strings.Cut(authority[:at], ":")
	if !hasPassword {
		return s
	}
	return scheme + "://" + user + ":" + Redacted + rest[at:]
}

// quoteKey returns a key as TOML writes it, bare if it can be.
func quoteKey(key string) string {
	for _, c := range key {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return quoteString(key)
		}
	}
	if key == "" {
		return `""`
	}
	return key
}

// quoteString returns s as a basic TOML string.
func quoteString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
