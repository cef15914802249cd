package sdk

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxParts bounds all metadata of a resource, or all traits of an event, so that
// any of them fits into a batch.
const maxParts = MaxBatchBytes / 2

// setEntry is an entry of a metadata set in its wire form.
type setEntry struct {
	key, text string
	literal   uint32 // 1: text is a JSON literal
}

// setTexts appends the wire form of m and of the tags it does not overrule,
// sorted by key.
func setTexts(to []setEntry, m Metadata, tags map[string]string) ([]setEntry, error) {
	size := 0
	for k, v := range m {
		text, literal, err := metadataText(v)
		if err != nil {
			return to, fmt.Errorf("metadata %.100q: %w", k, err)
		}
		if tooLong(k) || tooLong(text) {
			return to, fmt.Errorf("metadata %.100q has over %d bytes", k, MaxStringBytes)
		}
		to = append(to, setEntry{k, text, literal})
		size += len(k) + len(text) + 10
	}
	if size > maxParts {
		return to, fmt.Errorf("its metadata has over %d bytes", maxParts)
	}
	for k, text := range tags {
		if _, ok := m[k]; !ok {
			to = append(to, setEntry{key: k, text: text})
		}
	}
	slices.SortFunc(to, func(a, b setEntry) int { return strings.Compare(a.key, b.key) })
	return to, nil
}

// metadataText encodes a metadata value: text as it is, anything else as a JSON
// literal, which is told by 1.
func metadataText(v any) (text string, literal uint32, err error) {
	switch v := v.(type) {
	case string:
		return v, 0, nil
	case nil:
		return "null", 1, nil
	case bool:
		return strconv.FormatBool(v), 1, nil
	case int:
		return strconv.Itoa(v), 1, nil
	case int64:
		return strconv.FormatInt(v, 10), 1, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64), 0, nil
		}
	}
	data, err := json.Marshal(v)
	return string(data), 1, err
}

// metadataValue decodes what metadataText made. A literal that is not JSON
// stays text, for a stranger's mistake in one value must cost no batch.
func metadataValue(text string, literal bool) any {
	if !literal {
		return text
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	return v
}
