package api

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// jsonWriter writes an answer with measures as JSON. The caller appends what is
// around the measures.
type jsonWriter struct {
	pieces
	times timetext.Formatter
}

func (j *jsonWriter) start(w http.ResponseWriter) { j.begin(w, mediaJSON) }

// raw appends text that is JSON.
func (j *jsonWriter) raw(text string) { j.b = append(j.b, text...) }

// measures appends [time,granularity,value] of each measure, with commas before all
// but the first if first is set. It gives what first is for those that follow.
// granularity is JSON. Values that are no numbers are null.
func (j *jsonWriter) measures(s *window.Series, granularity string, first bool) bool {
	for i, t := range s.Times {
		if !first {
			j.b = append(j.b, ',')
		}
		first = false
		j.b = append(j.b, '[', '"')
		j.b = j.times.Append(j.b, t)
		j.b = append(j.b, '"', ',')
		j.b = append(j.b, granularity...)
		j.b = append(j.b, ',')
		j.b = append(appendFloat(j.b, s.Values[i]), ']')
		if len(j.b) >= flushAt {
			if j.flush(); j.err != nil {
				break
			}
		}
	}
	return first
}

// appendFloat appends a number as Python writes it, which Gnocchi's clients see:
// the shortest digits that give it back, and always a point or an exponent. What is
// no number is null.
func appendFloat(dst []byte, v float64) []byte {
	size := math.Abs(v)
	if size < 1e12 {
		// Many values are whole, or have few digits. A quotient of whole numbers with at most
		// 15 digits is the only one of them that gives v, so it is the shortest.
		if whole := int64(v); float64(whole) == v && (whole != 0 || !math.Signbit(v)) {
			return append(strconv.AppendInt(dst, whole, 10), ".0"...)
		}
		if thousandths := int64(math.RoundToEven(v * 1000)); float64(thousandths)/1000 == v && thousandths != 0 {
			return appendThousandths(dst, thousandths)
		}
	}
	switch {
	case size >= 1e-4 && size < 1e16 || v == 0:
		n := len(dst)
		dst = strconv.AppendFloat(dst, v, 'f', -1, 64)
		for _, c := range dst[n:] {
			if c == '.' {
				return dst
			}
		}
		return append(dst, ".0"...)
	case math.IsInf(v, 0) || math.IsNaN(v):
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, v, 'e', -1, 64)
}

// appendThousandths appends a number that is not whole, without zeros at its end.
func appendThousandths(dst []byte, v int64) []byte {
	if v < 0 {
		dst = append(dst, '-')
		v = -v
	}
	rest := v % 1000
	dst = append(strconv.AppendInt(dst, v/1000, 10), '.', byte('0'+rest/100))
	if rest %= 100; rest == 0 {
		return dst
	}
	dst = append(dst, byte('0'+rest/10))
	if rest %= 10; rest == 0 {
		return dst
	}
	return append(dst, byte('0'+rest))
}

// jsonSpan is a granularity as Gnocchi's answers have it: seconds.
func jsonSpan(d time.Duration) string { return string(appendFloat(nil, d.Seconds())) }
