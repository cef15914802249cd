package timetext

import (
	"strconv"
	"time"
)

// FormatTime writes a time as 2014-01-01T10:00:45+00:00, with six digits behind the
// point if it is no whole number of seconds, nine if it is none of microseconds.
func FormatTime(t int64) string {
	var f Formatter
	return string(f.Append(make([]byte, 0, 35), t))
}

// Formatter writes times. It remembers the day of the last one, so that many times
// of few days are written fast. The zero value is ready. Not for concurrent use.
type Formatter struct {
	start, end int64    // of the day in date
	date       [11]byte // 2014-01-01T
}

// Append appends a time as [FormatTime] writes it. It allocates only if dst is too
// small; a time takes 35 bytes at most.
func (f *Formatter) Append(dst []byte, t int64) []byte {
	if t < f.start || t >= f.end {
		f.setDay(t)
	}
	rest := t - f.start
	nanos := rest % second
	clock := uint32(rest / second)
	dst = append(dst, f.date[:]...)
	dst = append(dst, pairs[clock/3600*2:][:2]...)
	dst = append(dst, ':')
	dst = append(dst, pairs[clock/60%60*2:][:2]...)
	dst = append(dst, ':')
	dst = append(dst, pairs[clock%60*2:][:2]...)
	if nanos != 0 {
		dst = appendFraction(dst, nanos)
	}
	return append(dst, "+00:00"...)
}

func (f *Formatter) setDay(t int64) {
	days, _ := floorDiv(t, day)
	f.start = days * day
	f.end = f.start + day
	year, month, dayOfMonth := time.Unix(days*(day/second), 0).UTC().Date()
	b := strconv.AppendInt(f.date[:0], int64(year), 10)
	b = appendTwo(append(b, '-'), int64(month))
	b = appendTwo(append(b, '-'), int64(dayOfMonth))
	f.date[len(b)] = 'T'
}

const pairs = "0001020304050607080910111213141516171819" +
	"2021222324252627282930313233343536373839" +
	"4041424344454647484950515253545556575859"

// appendTwo appends a number up to 59 with two digits.
func appendTwo(b []byte, v int64) []byte { return append(b, pairs[v*2:][:2]...) }

// appendFraction appends what is behind the point of seconds, nothing of 0.
func appendFraction(b []byte, nanos int64) []byte {
	if nanos == 0 {
		return b
	}
	digits := 9
	if nanos%1000 == 0 {
		nanos, digits = nanos/1000, 6
	}
	b = append(b, '.')
	b = append(b, "000000000"[:digits]...)
	for i := len(b) - 1; nanos != 0; i-- {
		b[i] = byte('0' + nanos%10)
		nanos /= 10
	}
	return b
}
