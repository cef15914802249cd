package api

import (
	"encoding/binary"
	"math"
	"net/http"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// mediaMeasures is the content type of measures in their binary form.
const mediaMeasures = "application/vnd.nepho.measures"

// The binary form, little-endian, everything at a multiple of eight bytes:
//
//	8   "NEPHOMS1"
//	and per series
//	16  id of the metric, in the order of its text
//	8   granularity in nanoseconds; 0 for periods of the calendar
//	4   number of measures
//	4   number of runs
//	1   length of the method's name
//	1   letter of the calendar's period, or 0
//	14  name of the method, and bytes of 0
//	16  per run: time of its first measure, in nanoseconds since 1970, and number of its
//	    measures, which are one granularity apart
//	8   per measure: the value
//
// At the end is a series without id, method, and measures; its granularity is the
// number of series before it. So an answer that was cut off is known for one.
const (
	binaryMagic = "NEPHOMS1"
	binaryHead  = 48
	binaryName  = 34 // where the name of the method is in the head
)

// wantsBinary reports whether a request asks for the binary form, and refuses it if
// it takes neither that nor JSON.
func wantsBinary(r *http.Request) (bool, error) {
	accept := r.Header.Values("Accept")
	if names(accept, mediaMeasures) {
		return true, nil
	}
	if !accepts(accept, mediaJSON) {
		return false, &Error{http.StatusNotAcceptable, "The server answers with " + mediaJSON + " or " + mediaMeasures + " only."}
	}
	return false, nil
}

// binaryWriter writes an answer with measures in the binary form.
type binaryWriter struct {
	pieces
	count int
}

func (w *binaryWriter) start(to http.ResponseWriter) {
	w.begin(to, mediaMeasures)
	w.b = append(w.b, binaryMagic...)
	w.count = 0
}

// series appends a series.
func (w *binaryWriter) series(id uuid.UUID, method policy.Method, period timetext.Period, s *window.Series) {
	w.b = appendSeries(w.b, id, method, period, s)
	w.count++
	w.flush()
}

// end appends what marks the end.
func (w *binaryWriter) end() {
	w.b = append(w.b, make([]byte, binaryHead)...)
	binary.LittleEndian.PutUint64(w.b[len(w.b)-binaryHead+16:], uint64(w.count))
}

// appendSeries appends a series in the binary form.
func appendSeries(b []byte, id uuid.UUID, method policy.Method, period timetext.Period, s *window.Series) []byte {
	head := len(b)
	b = append(b, make([]byte, binaryHead)...)
	runs := uint32(0)
	for i := 0; i < len(s.Times); runs++ {
		first := i
		for i++; i < len(s.Times) && period.Letter == 0 && s.Times[i]-s.Times[i-1] == int64(period.Span); i++ {
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(s.Times[first]))
		b = binary.LittleEndian.AppendUint64(b, uint64(i-first))
	}
	h := b[head : head+binaryHead]
	copy(h, id[:])
	binary.LittleEndian.PutUint64(h[16:], uint64(period.Span))
	binary.LittleEndian.PutUint32(h[24:], uint32(len(s.Values)))
	binary.LittleEndian.PutUint32(h[28:], runs)
	h[32] = uint8(copy(h[binaryName:], method.String()))
	h[33] = period.Letter
	for _, v := range s.Values {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}
