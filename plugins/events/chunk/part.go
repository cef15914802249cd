package chunk

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// maxPart is the longest part, without compression, that is read.
const maxPart = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Forms of parts.
const (
	plain      = 0
	compressed = 1
)

// seal makes a part of entries: a CRC-32C of what follows, the form, the length
// without compression, and the entries.
func seal(z *zstd.Encoder, to, entries []byte) []byte {
	start := len(to)
	to = append(to, 0, 0, 0, 0, compressed)
	to = binary.AppendUvarint(to, uint64(len(entries)))
	head := len(to)
	to = z.EncodeAll(entries, to)
	if len(to)-head >= len(entries) {
		to = append(to[:head], entries...)
		to[start+4] = plain
	}
	binary.LittleEndian.PutUint32(to[start:], crc32.Checksum(to[start+4:], castagnoli))
	return to
}

// decoder is shared: its DecodeAll may be called concurrently.
var decoder = func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxPart))
	if err != nil {
		panic("BUG: the options of the decoder are wrong: " + err.Error())
	}
	return d
}()

// open is the inverse of seal.
func open(data []byte) ([]byte, error) {
	if len(data) < 6 || binary.LittleEndian.Uint32(data) != crc32.Checksum(data[4:], castagnoli) {
		return nil, damaged("a part has a wrong checksum")
	}
	r := reader{data: data[5:]}
	length := r.uvarint()
	if r.failed || length > maxPart {
		return nil, damaged("a part has the length %d", length)
	}
	entries := r.rest()
	switch data[4] {
	case plain:
	case compressed:
		var err error
		if entries, err = decoder.DecodeAll(r.rest(), make([]byte, 0, length)); err != nil {
			return nil, damaged("a part can't be decompressed: %v", err)
		}
	default:
		return nil, damaged("a part has the form %d", data[4])
	}
	if uint64(len(entries)) != length {
		return nil, damaged("a part has %d bytes instead of %d", len(entries), length)
	}
	return entries, nil
}

func appendEntry(to []byte, key string, body []byte) []byte {
	to = appendText(to, key)
	to = binary.AppendUvarint(to, uint64(len(body)))
	return append(to, body...)
}

// entries calls f with each entry of an opened part.
func entries(data []byte, f func(key string, body []byte) error) error {
	r := reader{data: data}
	for r.left() > 0 {
		key := r.bytes(r.count())
		body := r.bytes(r.count())
		if r.failed {
			return damaged("an entry of a part is cut off")
		}
		if err := f(string(key), body); err != nil {
			return err
		}
	}
	return nil
}
