package config

import "strings"

// Suggest returns the word of among that is nearest to word by edit distance
// (insert, delete, replace, swap of neighbours), ignoring case and the
// difference between '-' and '_'; empty if none is near enough to be meant.
func Suggest(word string, among []string) string {
	limit := 1 + len(word)/4
	best, distance := "", limit+1
	w := fold(word)
	for _, candidate := range among {
		c := fold(candidate)
		if abs(len(c)-len(w)) > limit {
			continue
		}
		d := editDistance(w, c)
		if d < distance || d == distance && candidate < best {
			best, distance = candidate, d
		}
	}
	// Replacing most of a short word is not a typing mistake.
	if distance > limit || distance >= len(word) {
		return ""
	}
	return best
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

func abs(i int) int { return max(i, -i) }

// editDistance is the optimal string alignment distance of two byte strings.
func editDistance(a, b string) int {
	before, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			replace := previous[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			current[j] = min(previous[j]+1, current[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
