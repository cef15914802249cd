package sdk

import (
	"encoding/json"
	"math"
	"strconv"
)

// metadataText encodes a metadata value: text as it is, anything else as a JSON
// literal.
func metadataText(v any) (text string, literal bool, err error) {
	switch v := v.(type) {
	case string:
		return v, false, nil
	case nil:
		return "null", true, nil
	case bool:
		return strconv.FormatBool(v), true, nil
	case int:
		return strconv.Itoa(v), true, nil
	case int64:
		return strconv.FormatInt(v, 10), true, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64), false, nil
		}
	}
	data, err := json.Marshal(v)
	return string(data), true, err
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
