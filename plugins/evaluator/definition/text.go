package definition

import "slices"

var (
	states     = []string{"insufficient data", "ok", "alarm"}
	severities = []string{"low", "moderate", "critical"}
	// comparisons are in the order in which Aodh lists them.
	comparisons = []string{"lt", "le", "eq", "ne", "ge", "gt"}
)

// String gives the state's text.
func (s State) String() string { return text(states, int(s)) }

// ParseState reads a state's text.
func ParseState(s string) (State, bool) {
	i := slices.Index(states, s)
	return State(max(i, 0)), i >= 0
}

// String gives the severity's text.
func (s Severity) String() string { return text(severities, int(s)) }

// ParseSeverity reads a severity's text.
func ParseSeverity(s string) (Severity, bool) {
	i := slices.Index(severities, s)
	return Severity(max(i, 0)), i >= 0
}

func text(texts []string, i int) string {
	if i < len(texts) {
		return texts[i]
	}
	return "unknown"
}

// Holds compares a value with a threshold as IEEE arithmetic has it: with NaN
// only ne holds.
func (c Comparison) Holds(value, threshold float64) bool {
	switch c {
	case "lt":
		return value < threshold
	case "le":
		return value <= threshold
	case "ne":
		return value != threshold
	case "ge":
		return value >= threshold
	case "gt":
		return value > threshold
	default:
		return value == threshold
	}
}
