package filter

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestLimits: what would cost too much to search for is refused, and what is half as long
// is not.
func TestLimits(t *testing.T) {
	or := func(n int, part string) string {
		return `{"or": [` + strings.TrimSuffix(strings.Repeat(part+", ", n), ", ") + `]}`
	}
	for name, query := range map[string]func(n int) string{
		"conditions":      func(n int) string { return or(700*n, `{"=": {"name": "a"}}`) },
		"values":          func(n int) string { return `{"in": {"name": ["a"` + strings.Repeat(`, "a"`, 5000*n) + `]}}` },
		"values of lists": func(n int) string { return or(100*n, `{"in": {"name": ["a"`+strings.Repeat(`, "a"`, 90)+`]}}`) },
		"levels": func(n int) string {
			return strings.Repeat(`{"not": `, 40*n) + `{"=": {"name": "a"}}` + strings.Repeat("}", 40*n)
		},
		"patterns":             func(n int) string { return or(15*n, `{"=~": {"name": "a"}}`) },
		"a long pattern":       func(n int) string { return `{"=~": {"name": "` + strings.Repeat("a", 600*n) + `"}}` },
		"a pattern that grows": func(n int) string { return fmt.Sprintf(`{"=~": {"name": "(a{20}b?){%d}"}}`, 25*n) },
		"a text":               func(n int) string { return fmt.Sprintf(`{"=": {"name": %q}}`, strings.Repeat("a", 600_000*n)) },
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Complex(query(1), Alarms); err != nil {
				t.Error(err)
			}
			var wrong *Error
			if _, err := Complex(query(2), Alarms); !errors.As(err, &wrong) {
				t.Errorf("twice as much: %v", err)
			}
		})
	}
}
