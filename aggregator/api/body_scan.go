package api

import (
	"encoding/binary"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// scanPadding is how many bytes of 0 have to follow the text that is scanned, so
// that what is looked for can be compared without looking for the end first. It is
// more than the longest thing that is compared at once.
const scanPadding = 64

// A scanner reads bodies with measures in one pass, as long as they look as nearly
// all clients write them: the keys timestamp and value and no other, numbers or dates
// and times in UTC, text without escapes. Of anything else it says so, wrong or only
// unusual, and [decodeMeasures] has to read the body. What both can read they read
// alike.
//
// The zero value is ready. Not for concurrent use.
type scanner struct {
	b []byte // the text, and padding
	i int    // the next byte

	// The day of the last time, and how it was written: most times are of one day.
	day      int64
	date8    uint64 // 2014-10-
	date2    uint16 // 06
	interned map[string]string
}

// scan reads a body into p. The text must be followed by [scanPadding] bytes of 0.
func (s *scanner) scan(padded []byte, shape bodyShape, p *posted) bool {
	s.b, s.i = padded, 0
	defer func() { s.b = nil }()
	s.space()
	ok := false
	switch shape {
	case measureList:
		ok = s.list(p)
	case measuresByID:
		ok = s.object(func() bool { return s.id(p) && s.colon() && s.list(p) })
	case measuresByName:
		ok = s.object(func() bool { return s.resource(p) })
	}
	s.space()
	return ok && s.i == len(padded)-scanPadding
}

// blank tells the bytes that JSON allows between its parts.
var blank = [256]bool{' ': true, '\t': true, '\n': true, '\r': true}

func (s *scanner) space() { s.i = skip(s.b, s.i) }

func skip(b []byte, i int) int {
	for blank[b[i]] {
		i++
	}
	return i
}

// colon reads a colon and the space around it.
func (s *scanner) colon() bool {
	s.space()
	if s.b[s.i] != ':' {
		return false
	}
	s.i = skip(s.b, s.i+1)
	return true
}

// object reads an object, whose members f reads.
func (s *scanner) object(f func() bool) bool {
	if s.b[s.i] != '{' {
		return false
	}
	s.i = skip(s.b, s.i+1)
	if s.b[s.i] == '}' {
		s.i++
		return true
	}
	for {
		if !f() {
			return false
		}
		s.space()
		switch s.b[s.i] {
		case ',':
			s.i = skip(s.b, s.i+1)
		case '}':
			s.i++
			return true
		default:
			return false
		}
	}
}

// text reads a string of ASCII characters without escapes. The result is valid as
// long as the body.
func (s *scanner) text() ([]byte, bool) {
	if s.b[s.i] != '"' {
		return nil, false
	}
	start := s.i + 1
	for i := start; ; i++ {
		switch c := s.b[i]; {
		case c == '"':
			s.i = i + 1
			return s.b[start:i], true
		case c < ' ' || c >= 0x7f || c == '\\':
			return nil, false
		}
	}
}

// intern is a string of the bytes. Names of metrics, policies and units are few, and
// come again and again.
func (s *scanner) intern(b []byte) string {
	if text, ok := s.interned[string(b)]; ok {
		return text
	}
	if s.interned == nil || len(s.interned) >= 4096 {
		s.interned = map[string]string{}
	}
	text := string(b)
	s.interned[text] = text
	return text
}

// id reads the id of a metric as a key.
func (s *scanner) id(p *posted) bool {
	b := s.b[s.i:]
	if len(b) < 38 || b[0] != '"' || b[37] != '"' {
		return false
	}
	id, ok := parseUUID((*[36]byte)(b[1:]))
	p.ids = append(p.ids, id)
	s.i += 38
	return ok
}

// parseUUID reads the usual form of a UUID, eight digits at once.
func parseUUID(b *[36]byte) (id uuid.UUID, ok bool) {
	if b[8] != '-' || b[13] != '-' || b[18] != '-' || b[23] != '-' {
		return id, false
	}
	word := func(high, low []byte) uint64 {
		return uint64(binary.LittleEndian.Uint32(high)) | uint64(binary.LittleEndian.Uint32(low))<<32
	}
	bad := uint64(0)
	for i, digits := range [4]uint64{word(b[0:], b[4:]), word(b[9:], b[14:]), word(b[19:], b[24:]), word(b[28:], b[32:])} {
		v, wrong := parseHex(digits)
		bad |= wrong
		binary.LittleEndian.PutUint32(id[i*4:], v)
	}
	return id, bad == 0
}

// parseHex reads eight hexadecimal digits, the first in the lowest byte, as four
// bytes, of which the first is the lowest again. wrong is not 0 if there are others
// than digits.
func parseHex(digits uint64) (v uint32, wrong uint64) {
	const ones = 0x0101010101010101
	const top = 0x80 * ones
	// Bit 6 tells letters from decimal digits; bit 5 large letters from small ones.
	letter := digits >> 6 & ones
	low := digits & (0x0f * ones)
	// A decimal digit has 3 in its high half, and at most 9 in the low one; a letter 4 or
	// 6, and 1 to 6.
	high := digits&(0xf0*ones)&^(letter*0x20) ^ (0x30*ones + letter*0x10)
	wrong = high | (low+0x76*ones-letter*0x76+letter*0x79)&top | letter&^((low+0x7f*ones)>>7)
	nibbles := low + letter*9
	nibbles = nibbles<<4 | nibbles>>8
	nibbles &= 0x00ff00ff00ff00ff
	nibbles |= nibbles >> 8
	return uint32(nibbles&0xffff) | uint32(nibbles>>16)&0xffff0000, wrong
}

// resource reads a resource and its metrics.
func (s *scanner) resource(p *posted) bool {
	text, ok := s.text()
	if !ok || !s.colon() {
		return false
	}
	p.resources = append(p.resources, string(text))
	return p.room() && s.object(func() bool { return s.namedMetric(p) })
}

// namedMetric reads a metric of the last resource.
func (s *scanner) namedMetric(p *posted) bool {
	name, ok := s.text()
	if !ok || !s.colon() {
		return false
	}
	p.named = append(p.named, namedMetric{resource: len(p.resources) - 1, name: s.intern(name)})
	if s.b[s.i] == '[' {
		return s.list(p)
	}
	m := &p.named[len(p.named)-1]
	seen := ""
	ok = s.object(func() bool {
		key, ok := s.text()
		if !ok || !s.colon() {
			return false
		}
		switch {
		case string(key) == "measures" && seen != "measures":
			seen = "measures"
			return s.list(p)
		case string(key) == "archive_policy_name":
			return s.textInto(&m.policy)
		case string(key) == "unit":
			return s.textInto(&m.unit)
		}
		return false
	})
	return ok && seen != ""
}

func (s *scanner) textInto(into *string) bool {
	text, ok := s.text()
	if ok {
		*into = s.intern(text)
	}
	return ok
}

// list reads the measures of a metric, and ends it. Their times have to be of one kind.
func (s *scanner) list(p *posted) bool {
	b, i := s.b, s.i
	if b[i] != '[' {
		return false
	}
	i = skip(b, i+1)
	if b[i] == ']' {
		s.i = i + 1
		return p.end()
	}
	first := kindUnknown
	for {
		t, v, kind, next := s.measure(i)
		if kind == kindUnknown || first != kindUnknown && kind != first {
			return false
		}
		first = kind
		p.points = append(p.points, window.Point{Time: t, Value: v})
		i = skip(b, next)
		switch b[i] {
		case ',':
			i = skip(b, i+1)
		case ']':
			s.i = i + 1
			return p.end()
		default:
			return false
		}
	}
}

// timeKind is how a time is written.
type timeKind uint8

const (
	kindUnknown  timeKind = iota
	kindNumber            // seconds since 1970
	kindDate              // ISO 8601
	kindRelative          // a timespan from now
)

// measure reads the measure at i, and gives what is after it. The kind is
// kindUnknown if it is unusual.
func (s *scanner) measure(i int) (t int64, v float64, kind timeKind, next int) {
	b := s.b
	if b[i] != '{' {
		return 0, 0, kindUnknown, i
	}
	i = skip(b, i+1)
	timeFirst := string(b[i:i+11]) == `"timestamp"`
	ok := true
	if timeFirst {
		if i = after(b, i+11, ':'); i < 0 {
			return 0, 0, kindUnknown, 0
		}
		if t, kind, i = s.time(i); kind == kindUnknown {
			return 0, 0, kindUnknown, 0
		}
		if i = after(b, i, ','); i < 0 {
			return 0, 0, kindUnknown, 0
		}
	}
	if string(b[i:i+7]) != `"value"` {
		return 0, 0, kindUnknown, 0
	}
	if i = after(b, i+7, ':'); i < 0 {
		return 0, 0, kindUnknown, 0
	}
	if v, i, ok = scanNumber(b, i); !ok {
		return 0, 0, kindUnknown, 0
	}
	if !timeFirst {
		if i = after(b, i, ','); i < 0 || string(b[i:i+11]) != `"timestamp"` {
			return 0, 0, kindUnknown, 0
		}
		if i = after(b, i+11, ':'); i < 0 {
			return 0, 0, kindUnknown, 0
		}
		if t, kind, i = s.time(i); kind == kindUnknown {
			return 0, 0, kindUnknown, 0
		}
	}
	if i = skip(b, i); b[i] != '}' {
		return 0, 0, kindUnknown, 0
	}
	return t, v, kind, i + 1
}

// after skips the byte c and the space around it. It is -1 if c is not there.
func after(b []byte, i int, c byte) int {
	if b[i] != c {
		if i = skip(b, i); b[i] != c {
			return -1
		}
	}
	if i++; b[i] > ' ' {
		return i
	}
	return skip(b, i)
}

// time reads a time: a number, or a string that holds one or a date and a time.
func (s *scanner) time(i int) (t int64, kind timeKind, next int) {
	b := s.b
	if b[i] != '"' {
		return scanSeconds(b, i)
	}
	i++
	if b[i+4] != '-' {
		if t, kind, i = scanSeconds(b, i); b[i] != '"' {
			return 0, kindUnknown, i
		}
		return t, kind, i + 1
	}
	if binary.LittleEndian.Uint64(b[i:]) != s.date8 || binary.LittleEndian.Uint16(b[i+8:]) != s.date2 {
		day, err := timetext.ParseTime(string(b[i:i+10]), time.Time{})
		if err != nil || day > lastDay || b[i+9] < '0' || b[i] < '0' {
			return 0, kindUnknown, i
		}
		s.day, s.date8, s.date2 = day, binary.LittleEndian.Uint64(b[i:]), binary.LittleEndian.Uint16(b[i+8:])
	}
	if c := b[i+10]; c != 'T' && c != ' ' {
		return 0, kindUnknown, i
	}
	// The digits of hh:mm:ss become their values, and the colons 0.
	clock := binary.LittleEndian.Uint64(b[i+11:]) ^ 0x30303a30303a3030
	if (clock+0x7676767676767676|clock)&0x8080808080808080 != 0 || clock&0x0000ff0000ff0000 != 0 {
		return 0, kindUnknown, i
	}
	hours := clock&15*10 + clock>>8&15
	minutes := clock>>24&15*10 + clock>>32&15
	seconds := clock>>48&15*10 + clock>>56
	if hours > 23 || minutes > 59 || seconds > 59 {
		return 0, kindUnknown, i
	}
	t = s.day + int64(hours*3600+minutes*60+seconds)*int64(time.Second)
	i += 19
	if b[i] == '.' {
		i++
		start := i
		nanos, unit := int64(0), int64(time.Second)
		for ; b[i]-'0' <= 9 && i-start < 9; i++ {
			unit /= 10
			nanos += int64(b[i]-'0') * unit
		}
		if i == start {
			return 0, kindUnknown, i
		}
		t += nanos
	}
	switch {
	case b[i] == 'Z':
		i++
	case string(b[i:i+6]) == "+00:00":
		i += 6
	}
	if b[i] != '"' {
		return 0, kindUnknown, i
	}
	return t, kindDate, i + 1
}

// lastDay is the last whole day that nanoseconds in an int64 reach.
const lastDay = (1<<63-1)/int64(24*time.Hour)*int64(24*time.Hour) - int64(24*time.Hour)

// scanSeconds reads seconds since 1970, of up to ten digits and nine behind the
// point.
func scanSeconds(b []byte, i int) (t int64, kind timeKind, next int) {
	start := i
	for ; b[i]-'0' <= 9; i++ {
		t = t*10 + int64(b[i]-'0')
	}
	// A leading 0 is no JSON, unless it is all there is; and 9.2e9 seconds are too many.
	if n := i - start; n == 0 || n > 10 || n > 1 && b[start] == '0' || t >= 9e9 {
		return 0, kindUnknown, i
	}
	t *= int64(time.Second)
	if b[i] == '.' {
		i++
		start = i
		unit := int64(time.Second)
		for ; b[i]-'0' <= 9; i++ {
			unit /= 10 // 0 after nanoseconds
			t += int64(b[i]-'0') * unit
		}
		if i == start || i-start > 9 {
			return 0, kindUnknown, i
		}
	}
	if c := b[i]; c == 'e' || c == 'E' {
		return 0, kindUnknown, i
	}
	return t, kindNumber, i
}

// tens are the powers of ten that a float64 holds exactly.
var tens = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// scanNumber reads a number as JSON has it. Quotients of numbers that are exact
// are correctly rounded; others are left to package strconv.
func scanNumber(b []byte, i int) (v float64, next int, ok bool) {
	start := i
	negative := b[i] == '-'
	if negative {
		i++
	}
	first := i
	mantissa := uint64(0)
	for ; b[i]-'0' <= 9; i++ {
		mantissa = mantissa*10 + uint64(b[i]-'0')
	}
	digits := i - first
	if digits == 0 || digits > 1 && b[first] == '0' {
		return 0, i, false
	}
	behind := 0
	if b[i] == '.' {
		i++
		point := i
		for ; b[i]-'0' <= 9; i++ {
			mantissa = mantissa*10 + uint64(b[i]-'0')
		}
		if behind = i - point; behind == 0 {
			return 0, i, false
		}
		digits += behind
	}
	exponent := b[i]|0x20 == 'e'
	if exponent {
		if i++; b[i] == '+' || b[i] == '-' {
			i++
		}
		power := i
		for b[i]-'0' <= 9 {
			i++
		}
		if i == power {
			return 0, i, false
		}
	}
	// 19 digits do not overflow, and of at most 2^53 every number is exact.
	if !exponent && digits <= 19 && mantissa <= 1<<53 && behind < len(tens) {
		v = float64(mantissa) / tens[behind]
		if negative {
			v = -v
		}
		return v, i, true
	}
	v, _ = strconv.ParseFloat(string(b[start:i]), 64) // out of range: infinite, as in Gnocchi
	return v, i, true
}
