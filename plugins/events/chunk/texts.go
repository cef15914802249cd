package chunk

import (
	"encoding/binary"
	"encoding/hex"
)

// Kinds of texts. UUIDs and other hexadecimal ids are kept as the bytes that they
// stand for. A text has one kind only, so that equal texts are equal as they are kept.
const (
	kindText    = iota
	kindUUID    // 01234567-89ab-cdef-0123-456789abcdef
	kindHex     // 16 to 128 digits in lower case, an even number
	kindRequest // req- and a UUID: ids of requests in OpenStack
	kinds
)

const requestPrefix = "req-"

// kindOf gives a text's kind, and the digits that it consists of otherwise.
func kindOf(text string) (kind byte, digits string) {
	n := len(text)
	switch {
	case n == 36 && isUUID(text):
		return kindUUID, text
	case n == 40 && text[:4] == requestPrefix && isUUID(text[4:]):
		return kindRequest, text[4:]
	case n >= 16 && n <= 128 && n%2 == 0 && isHex(text):
		return kindHex, text
	}
	return kindText, ""
}

func isHex(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isUUID(text string) bool {
	return text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-' &&
		isHex(text[:8]) && isHex(text[9:13]) && isHex(text[14:18]) && isHex(text[19:23]) && isHex(text[24:])
}

// appendDigits appends the bytes of hexadecimal digits, among which may be dashes.
func appendDigits(to []byte, digits string) []byte {
	value := func(c byte) byte {
		if c <= '9' {
			return c - '0'
		}
		return c - 'a' + 10
	}
	for i := 0; i < len(digits); i += 2 {
		if digits[i] == '-' {
			i++
		}
		to = append(to, value(digits[i])<<4|value(digits[i+1]))
	}
	return to
}

// textsWriter collects texts.
type textsWriter struct {
	kinds, lengths, text, binary []byte
}

func (w *textsWriter) reset() {
	w.kinds, w.lengths, w.text, w.binary = w.kinds[:0], w.lengths[:0], w.text[:0], w.binary[:0]
}

func (w *textsWriter) add(text string) {
	kind, digits := kindOf(text)
	w.kinds = append(w.kinds, kind)
	if kind == kindText {
		w.lengths = binary.AppendUvarint(w.lengths, uint64(len(text)))
		w.text = append(w.text, text...)
		return
	}
	if kind == kindHex {
		w.lengths = binary.AppendUvarint(w.lengths, uint64(len(text)/2))
	}
	w.binary = appendDigits(w.binary, digits)
}

// appendTo appends the texts: their number, their kinds, the lengths of those whose
// kind has not one only, how many bytes those of kindText have, these, and the bytes of
// the others to the end.
func (w *textsWriter) appendTo(to []byte) []byte {
	to = binary.AppendUvarint(to, uint64(len(w.kinds)))
	to = append(to, w.kinds...)
	to = append(to, w.lengths...)
	to = binary.AppendUvarint(to, uint64(len(w.text)))
	to = append(to, w.text...)
	return append(to, w.binary...)
}

// texts are texts as they are kept.
type texts struct {
	kinds        []byte
	starts, ends []uint32 // in text for kindText, in binary for others
	text, binary []byte
}

func readTexts(r *reader) (t texts, err error) {
	n := r.count()
	t.kinds = r.bytes(n)
	places := make([]uint32, 2*n)
	t.starts, t.ends = places[:n], places[n:]
	var text, binary uint64
	for i, kind := range t.kinds {
		length := uint64(16)
		if kind == kindText || kind == kindHex {
			length = r.uvarint()
		}
		place := &binary
		if kind == kindText {
			place = &text
		}
		if kind >= kinds || length > maxPart || *place+length > maxPart {
			return t, damaged("a text has the kind %d and %d bytes", kind, length)
		}
		t.starts[i] = uint32(*place)
		*place += length
		t.ends[i] = uint32(*place)
	}
	length := r.count()
	t.text, t.binary = r.bytes(length), r.rest()
	if r.failed || uint64(len(t.text)) != text || uint64(len(t.binary)) != binary {
		return t, damaged("texts are cut off")
	}
	return t, nil
}

func (t *texts) len() int { return len(t.kinds) }

// append appends a text.
func (t *texts) append(to []byte, i int) []byte {
	if t.kinds[i] == kindText {
		return append(to, t.text[t.starts[i]:t.ends[i]]...)
	}
	b := t.binary[t.starts[i]:t.ends[i]]
	switch t.kinds[i] {
	case kindHex:
		return hex.AppendEncode(to, b)
	case kindRequest:
		to = append(to, requestPrefix...)
	}
	to = hex.AppendEncode(to, b[:4])
	for at := 4; at < 10; at += 2 {
		to = hex.AppendEncode(append(to, '-'), b[at:at+2])
	}
	return hex.AppendEncode(append(to, '-'), b[10:])
}

// get gives a text. Its bytes are a copy.
func (t *texts) get(i int) string {
	if t.kinds[i] == kindText {
		return string(t.text[t.starts[i]:t.ends[i]])
	}
	var buffer [160]byte
	return string(t.append(buffer[:0], i))
}

// wanted is a text as it is looked for.
type wanted struct {
	kind   byte
	stored string
}

func want(text string) wanted {
	kind, digits := kindOf(text)
	if kind == kindText {
		return wanted{kind, text}
	}
	return wanted{kind, string(appendDigits(nil, digits))}
}

// equal reports whether text i is the one that is looked for.
func (t *texts) equal(i int, w wanted) bool {
	if t.kinds[i] != w.kind || int(t.ends[i]-t.starts[i]) != len(w.stored) {
		return false
	}
	from := t.text
	if w.kind != kindText {
		from = t.binary
	}
	return string(from[t.starts[i]:t.ends[i]]) == w.stored
}
