package index

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/nephoscope/nepho/aggregator/database"
)

// readRules reads all rules: by pattern descending, then name, which is the order
// in which they are tried.
func readRules(ctx context.Context, s *database.Session) ([]Rule, error) {
	var list []Rule
	rows, err := s.Query(ctx, "SELECT r.name, r.pattern, p.name FROM rule r JOIN policy p ON p.id = r.policy ORDER BY r.pattern DESC, r.name")
	err = database.Each(rows, err, func(rows *sql.Rows) error {
		var r Rule
		err := rows.Scan(&r.Name, &r.Pattern, &r.Policy)
		list = append(list, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the archive policy rules: %w", err)
	}
	return list, nil
}

// Rules are all rules: by pattern descending, then name.
func (x *Index) Rules(ctx context.Context) (list []Rule, err error) {
	err = x.read(ctx, func(s *database.Session) (err error) {
		list, err = readRules(ctx, s)
		return err
	})
	return list, err
}

// Rule is the rule of a name. The error is a [*NotFoundError].
func (x *Index) Rule(ctx context.Context, name string) (Rule, error) {
	list, err := x.Rules(ctx)
	if err != nil {
		return Rule{}, err
	}
	return findRule(list, name)
}

func findRule(list []Rule, name string) (Rule, error) {
	for _, r := range list {
		if r.Name == name {
			return r, nil
		}
	}
	return Rule{}, &NotFoundError{KindRule, name}
}

// CreateRule creates a rule. The error is an [*ExistsError], or a [*NotFoundError]
// of the policy.
func (x *Index) CreateRule(ctx context.Context, r Rule) error {
	if err := checkText("name", r.Name); err != nil {
		return err
	}
	if err := checkText("metric_pattern", r.Pattern); err != nil {
		return err
	}
	return x.update(ctx, func(u *update) error {
		list, err := readPolicies(ctx, u.Session)
		if err != nil {
			return err
		}
		p, err := findPolicy(list, r.Policy)
		if err != nil {
			return err
		}
		n, err := u.Exec(ctx, "INSERT INTO rule (name, pattern, policy) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", r.Name, r.Pattern, p.ID)
		switch {
		case database.IsForeign(err): // the policy was deleted just now
			return &NotFoundError{KindPolicy, r.Policy}
		case err == nil && n == 0:
			return &ExistsError{KindRule, r.Name}
		}
		return err
	})
}

// RenameRule gives a rule another name. The error is a [*NotFoundError], or an
// [*ExistsError] of the new name.
func (x *Index) RenameRule(ctx context.Context, name, to string) (r Rule, err error) {
	if err := checkText("name", to); err != nil {
		return Rule{}, err
	}
	err = x.update(ctx, func(u *update) error {
		n, err := u.Exec(ctx, "UPDATE rule SET name = ? WHERE name = ?", to, name)
		switch {
		case database.IsUnique(err):
			return &ExistsError{KindRule, to}
		case err != nil:
			return err
		case n == 0:
			return &NotFoundError{KindRule, name}
		}
		list, err := readRules(ctx, u.Session)
		if err == nil {
			r, err = findRule(list, to)
		}
		return err
	})
	return r, err
}

// DeleteRule deletes a rule. The error is a [*NotFoundError].
func (x *Index) DeleteRule(ctx context.Context, name string) error {
	return x.update(ctx, func(u *update) error {
		n, err := u.Exec(ctx, "DELETE FROM rule WHERE name = ?", name)
		if err == nil && n == 0 {
			err = &NotFoundError{KindRule, name}
		}
		return err
	})
}

// Match reports whether a name matches a pattern of a rule, which is a shell's: *
// is any text, ? any character, [abc] and [a-z] one of some, [!abc] one that is none
// of them. A [ that nothing closes is itself. As in Gnocchi, nothing is special
// about slashes and dots.
func Match(pattern, name string) bool {
	// Where to go on when what follows the last * does not match: it takes one more.
	retry, taken := "", ""
	starred := false
	for {
		switch {
		case strings.HasPrefix(pattern, "*"):
			pattern = pattern[1:]
			retry, taken, starred = pattern, name, true
			continue
		case name == "" && pattern == "":
			return true
		case name != "" && pattern != "":
			r, size := utf8.DecodeRuneInString(name)
			if rest, ok := matchOne(pattern, r); ok {
				pattern, name = rest, name[size:]
				continue
			}
		}
		if !starred || taken == "" {
			return false
		}
		_, size := utf8.DecodeRuneInString(taken)
		taken = taken[size:]
		pattern, name = retry, taken
	}
}

// matchOne matches a character with the start of a pattern that is no *, and gives
// the pattern's rest.
func matchOne(pattern string, r rune) (rest string, ok bool) {
	first, size := utf8.DecodeRuneInString(pattern)
	rest = pattern[size:]
	switch first {
	case '?':
		return rest, true
	case '[':
		if set, after, closed := cutSet(rest); closed {
			return after, inSet(set, r)
		}
	}
	return rest, first == r
}

// cutSet cuts what is between brackets. A ] that comes first is part of it.
func cutSet(s string) (set, rest string, closed bool) {
	from := len(s) - len(strings.TrimPrefix(s, "!"))
	if strings.HasPrefix(s[from:], "]") {
		from++
	}
	end := strings.IndexByte(s[from:], ']')
	if end < 0 {
		return "", "", false
	}
	return s[:from+end], s[from+end+1:], true
}

func inSet(set string, r rune) bool {
	negated := strings.HasPrefix(set, "!")
	runes := []rune(strings.TrimPrefix(set, "!"))
	found := false
	for i := 0; i < len(runes); i++ {
		if i+2 < len(runes) && runes[i+1] == '-' {
			found = found || runes[i] <= r && r <= runes[i+2]
			i += 2
		} else {
			found = found || runes[i] == r
		}
	}
	return found != negated
}
