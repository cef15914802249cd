package index

import (
	"slices"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
)

// eachChunk calls f for each piece of a list.
func eachChunk[T any](list []T, f func([]T) error) error {
	for _, chunk := range padded(list) {
		if err := f(chunk); err != nil {
			return err
		}
	}
	return nil
}

// chunkSizes are how many things one statement is about: only so many, since each
// is another statement to prepare.
var chunkSizes = []int{256, 32, 4, 1}

// padded cuts a list into pieces of these sizes, the last of which says its last
// thing again and again until it has one: for questions, where that does no harm.
func padded[T any](list []T) [][]T {
	var pieces [][]T
	for i, size := range chunkSizes {
		for len(list) >= size {
			pieces = append(pieces, list[:size])
			list = list[size:]
		}
		if i+1 < len(chunkSizes) && len(list) > chunkSizes[i+1] {
			list = slices.Clip(list)
			for last := list[len(list)-1]; len(list) < size; {
				list = append(list, last)
			}
			return append(pieces, list)
		}
	}
	return pieces
}

// chunks cuts a list into pieces of these sizes.
func chunks[T any](list []T) [][]T {
	var pieces [][]T
	for _, size := range chunkSizes {
		for len(list) >= size {
			pieces = append(pieces, list[:size])
			list = list[size:]
		}
	}
	return pieces
}

// places is a list of placeholders in parentheses.
func places(place string, n int) string { return "(" + listed(place, n) + ")" }

// listed repeats a text with commas between.
func listed(text string, n int) string {
	b := make([]byte, 0, n*(len(text)+1))
	for range n {
		b = append(append(b, text...), ',')
	}
	return string(b[:len(b)-1])
}

// numberArgs are numbers as arguments.
func numberArgs[T ~int64 | ~uint64](numbers []T) []any {
	args := make([]any, len(numbers))
	for i, n := range numbers {
		args[i] = int64(n)
	}
	return args
}

// unique is a list without doubles, sorted.
func unique[T any](list []T, compare func(a, b T) int) []T {
	list = slices.Clone(list)
	slices.SortFunc(list, compare)
	return slices.CompactFunc(list, func(a, b T) bool { return compare(a, b) == 0 })
}

// uuids are UUIDs as arguments.
func uuids(s *database.Session, ids []uuid.UUID) []any {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = s.UUID(id)
	}
	return args
}
