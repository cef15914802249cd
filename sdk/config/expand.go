package config

import (
	"fmt"
	"strings"
)

// Expand replaces references in all string values of the table, in place:
//
//	${NAME}            the environment variable; a problem if it is not set; the
//	                   value is marked Inserted
//	${NAME:-default}   the same, or the default if it is not set or empty
//	$$                 a literal $
//	file:/path         (the whole string) the file's content, without its last
//	                   newline; the value is marked Secret
//
// A $ before anything else stands for itself. Both may be combined, as in
// "file:${CREDENTIALS_DIRECTORY}/token". What was inserted is not expanded again,
// and a variable that holds "file:/..." reads no file. "file:///..." is left
// alone: it is an URL.
//
// A value that cannot be expanded becomes one of KindInvalid.
//
// env is usually os.LookupEnv and readFile os.ReadFile.
func (t *Table) Expand(env func(string) (string, bool), readFile func(string) ([]byte, error)) []Problem {
	e := expander{env: env, readFile: readFile}
	e.table(t)
	return e.problems
}

type expander struct {
	env      func(string) (string, bool)
	readFile func(string) ([]byte, error)
	problems []Problem
}

func (e *expander) table(t *Table) {
	for k, v := range t.All() {
		e.value(v, t.KeyPath(k))
	}
}

func (e *expander) value(v *Value, path string) {
	switch v.Kind {
	case KindString:
		e.str(v, path)
	case KindList:
		for i, element := range v.List {
			if element.Kind == KindTable {
				e.table(element.Table)
			} else {
				e.value(element, indexKey(path, i))
			}
		}
	case KindTable:
		e.table(v.Table)
	}
}

func (e *expander) str(v *Value, path string) {
	isFile := strings.HasPrefix(v.Str, "file:") && !strings.HasPrefix(v.Str, "file://")
	env := func(name string) (string, bool) {
		value, set := e.env(name)
		v.Inserted = v.Inserted || value != ""
		return value, set
	}
	text, problem := expandVariables(v.Str, env)
	if problem != nil {
		e.fail(v, path, *problem)
		return
	}
	v.Str = text
	name := strings.TrimPrefix(text, "file:")
	if !isFile || !strings.HasPrefix(name, "/") {
		return
	}
	content, err := e.readFile(name)
	if err != nil {
		e.fail(v, path, Problem{Message: fmt.Sprintf("cannot read the value: %v", err)})
		return
	}
	v.Str, v.Secret = strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r"), true
}

// fail makes a value invalid, lest Decode call it wrong a second time.
func (e *expander) fail(v *Value, path string, p Problem) {
	v.Kind = KindInvalid
	p.Pos, p.Key = v.Pos, path
	e.problems = append(e.problems, p)
}

// expandVariables replaces ${NAME}, ${NAME:-default} and $$ in s.
func expandVariables(s string, env func(string) (string, bool)) (string, *Problem) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			b.WriteString(s)
			return b.String(), nil
		}
		b.WriteString(s[:i])
		switch s[i+1] {
		case '$':
			b.WriteByte('$')
			s = s[i+2:]
			continue
		case '{':
		default:
			b.WriteByte('$')
			s = s[i+1:]
			continue
		}
		reference, rest, closed := strings.Cut(s[i+2:], "}")
		if !closed {
			return "", &Problem{Message: "${ without a closing }", Hint: "write $${ for a literal ${"}
		}
		name, fallback, hasFallback := strings.Cut(reference, ":-")
		if !isVariableName(name) {
			return "", &Problem{
				Message: fmt.Sprintf("%q is not the name of an environment variable", name),
				Hint:    "write $${ for a literal ${",
			}
		}
		value, set := env(name)
		if hasFallback && value == "" {
			value, set = fallback, true
		}
		if !set {
			return "", &Problem{
				Message: fmt.Sprintf("environment variable %s is not set", name),
				Hint:    fmt.Sprintf("${%s:-text} gives a default", name),
			}
		}
		b.WriteString(value)
		s = rest
	}
}

func isVariableName(s string) bool {
	for i, c := range s {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
