package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Pos is a place in a configuration file. Lines and columns (in characters)
// count from 1; zero means unknown, as for values that no file holds.
type Pos struct {
	File   string
	Line   int
	Column int
}

// String returns "file:line:col" as far as it is known.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	s := strconv.Itoa(p.Line)
	if p.Column > 0 {
		s += ":" + strconv.Itoa(p.Column)
	}
	if p.File == "" {
		return s
	}
	return p.File + ":" + s
}

// Problem is one mistake in a configuration. It is an error.
type Problem struct {
	Pos     Pos
	Key     string // dotted path of the key or table, such as "pollster.libvirt.uri"
	Message string // what is wrong
	Hint    string // what to do about it, such as `did you mean "interval"?`; may be empty
}

// Error returns "file:line:col: key: message (hint)", leaving out what is empty.
func (p Problem) Error() string {
	var b strings.Builder
	for _, part := range []string{p.Pos.String(), p.Key} {
		if part != "" {
			b.WriteString(part)
			b.WriteString(": ")
		}
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Sort orders problems by file, line and column; those of the same place stay
// in the order in which they were found.
func Sort(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column),
		)
	})
}

// Join returns the problems as one error, nil if there are none.
func Join(problems []Problem) error {
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p
	}
	return errors.Join(errs...)
}

// Report writes one line for every problem, sorted, and a line that counts them,
// such as "3 problems in 2 files". It writes nothing if there are none.
func Report(w io.Writer, problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	sorted := slices.Clone(problems)
	Sort(sorted)
	var b strings.Builder
	files := make(map[string]bool)
	for _, p := range sorted {
		b.WriteString(p.Error() + "\n")
		if p.Pos.File != "" {
			files[p.Pos.File] = true
		}
	}
	b.WriteString(count(len(problems), "problem"))
	if len(files) > 0 {
		b.WriteString(" in " + count(len(files), "file"))
	}
	b.WriteString("\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// KeyError returns an error about one key, for use in a Validate method. The key
// is relative to the struct that is validated and may reach into it, as in
// "servers[1].url"; Decode finds its position.
func KeyError(key, format string, args ...any) error {
	return &keyError{key: key, err: fmt.Errorf(format, args...)}
}

type keyError struct {
	key string
	err error
}

func (e *keyError) Error() string { return e.key + ": " + e.err.Error() }
func (e *keyError) Unwrap() error { return e.err }

// didYouMean is the hint that names the word of among nearest to word; without
// one it lists all of them if they are few.
func didYouMean(word string, among []string, what string) string {
	if s := Suggest(word, among); s != "" {
		return fmt.Sprintf("did you mean %q?", s)
	}
	const few = 12
	if len(among) == 0 || len(among) > few {
		return ""
	}
	sorted := slices.Clone(among)
	slices.Sort(sorted)
	return what + ": " + strings.Join(sorted, ", ")
}
