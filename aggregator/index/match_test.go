package index

import "testing"

// slowMatch is Match without brackets, from its definition.
func slowMatch(pattern, name string) bool {
	switch {
	case pattern == "":
		return name == ""
	case pattern[0] == '*':
		for i := range len(name) + 1 {
			if slowMatch(pattern[1:], name[i:]) {
				return true
			}
		}
		return false
	}
	return name != "" && (pattern[0] == '?' || pattern[0] == name[0]) && slowMatch(pattern[1:], name[1:])
}

func TestMatchRandomly(t *testing.T) {
	r := random(1)
	text := func(letters string, most int) string {
		b := make([]byte, r.IntN(most))
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		return string(b)
	}
	for range 20_000 {
		pattern, name := text("aab?*", 8), text("ab", 10)
		if got := Match(pattern, name); got != slowMatch(pattern, name) {
			t.Fatalf("Match(%q, %q) = %v", pattern, name, got)
		}
	}
}
