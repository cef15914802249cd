package glob

import (
	"errors"
	"strings"
	"unicode/utf8"
)

func compile(text string) (pattern, error) {
	if text == "" {
		return pattern{}, errors.New("is empty")
	}
	if !utf8.ValidString(text) {
		return pattern{}, errors.New("is not valid UTF-8")
	}
	const special = `*?[\`
	if !strings.ContainsAny(text, special) {
		return pattern{form: exact, text: text}, nil
	}
	if before, found := strings.CutSuffix(text, "*"); found && !strings.ContainsAny(before, special) {
		return pattern{form: prefix, text: before}, nil
	}
	if after, found := strings.CutPrefix(text, "*"); found && !strings.ContainsAny(after, special) {
		return pattern{form: suffix, text: after}, nil
	}
	if before, after, found := strings.Cut(text, "*"); found && !strings.ContainsAny(before+after, special) {
		return pattern{form: ends, text: before, tail: after}, nil
	}
	parts, err := compileParts([]rune(text))
	return pattern{form: general, parts: parts}, err
}

func compileParts(text []rune) ([]part, error) {
	var parts []part
	for len(text) > 0 {
		var p part
		var err error
		switch text[0] {
		case '*':
			p, text = part{kind: anyText}, text[1:]
		case '?':
			p, text = part{kind: anyCharacter}, text[1:]
		case '[':
			p, text, err = compileClass(text[1:])
		default:
			p.kind = character
			p.char, text, err = escaped(text)
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// compileClass reads a class after its opening bracket, by the rules of path.Match.
func compileClass(text []rune) (part, []rune, error) {
	p := part{kind: class}
	if len(text) > 0 && text[0] == '^' {
		p.negated, text = true, text[1:]
	}
	for {
		if len(text) > 0 && text[0] == ']' && len(p.ranges) > 0 {
			return p, text[1:], nil
		}
		var c charRange
		var err error
		if c.low, text, err = classChar(text); err != nil {
			return p, nil, err
		}
		c.high = c.low
		if len(text) > 0 && text[0] == '-' {
			if c.high, text, err = classChar(text[1:]); err != nil {
				return p, nil, err
			}
		}
		p.ranges = append(p.ranges, c)
	}
}

func classChar(text []rune) (rune, []rune, error) {
	if len(text) == 0 {
		return 0, nil, errors.New("has a [ without a ]")
	}
	if text[0] == '-' || text[0] == ']' {
		return 0, nil, errors.New(`has a misplaced - or ] between [ and ], write \- or \]`)
	}
	return escaped(text)
}

// escaped reads one character that may have a backslash before it.
func escaped(text []rune) (rune, []rune, error) {
	if text[0] == '\\' {
		text = text[1:]
		if len(text) == 0 {
			return 0, nil, errors.New(`ends with a \`)
		}
	}
	return text[0], text[1:], nil
}
