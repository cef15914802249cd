package api

import (
	"math/rand/v2"
	"testing"
)

func TestMatchName(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"cpu", "cpu", true},
		{"cpu", "cpu_util", false},
		{"cpu", "CPU", false},
		{"cpu*", "cpu", true},
		{"cpu*", "cpu_util", true},
		{"*", "", true},
		{"", "", true},
		{"", "a", false},
		{"disk.*.bytes", "disk.read.bytes", true},
		{"disk.*.bytes", "disk.bytes", false},
		{"*a*b*", "xaxxbx", true},
		{"*a*b", "abab", true},
		{"*a*b", "aba", false},
		{"?pu", "cpu", true},
		{"?", "é", true},
		{"??", "é", false},
		{"[abc]pu", "cpu", true},
		{"[a-c]pu", "dpu", false},
		{"[!a-c]pu", "dpu", true},
		{"[!a-c]pu", "bpu", false},
		{"[]]x", "]x", true},
		{"[!]]x", "ax", true},
		{"[a-]", "-", true},
		{"[ä-ü]", "ö", true},
		{"[a", "[a", true},
		{"[", "[", true},
		{"[a", "a", false},
		{"x[", "x[", true},
		{`a\*`, `a\bc`, true},
		{"metric@[0-9]*", "metric@1=2", true},
	} {
		if got := matchName(c.pattern, c.name); got != c.want {
			t.Errorf("matchName(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

// slowMatch is matchName without brackets, from its definition.
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

func TestMatchNameRandomly(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func(letters string, most int) string {
		b := make([]byte, random.IntN(most))
		for i := range b {
			b[i] = letters[random.IntN(len(letters))]
		}
		return string(b)
	}
	for range 20_000 {
		pattern, name := text("aab?*", 8), text("ab", 10)
		if got := matchName(pattern, name); got != slowMatch(pattern, name) {
			t.Fatalf("matchName(%q, %q) = %v", pattern, name, got)
		}
	}
}
