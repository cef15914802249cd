package sdk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// journal is the file of a [State]: an 8-byte head, then groups.
//
//	head    "NSTATE", version (1), 0
//	group   length uint32, CRC-32C uint32 of the body, body of that length
//	body    batch id (16 bytes), time (int64, Unix seconds), entries
//	entry   key number uvarint; flags byte (1: key follows, 2: has a value);
//	        touched uvarint, Unix seconds;
//	        if 1: meter and resource, each with a uvarint length
//	        if 2: value with a uint32 length
//
// Numbers are little endian. Keys are numbered from 1 in order of appearance. A
// group counts as a whole or not at all; reading ends at the first that is torn
// or damaged.
type journal struct {
	f       *os.File
	path    string
	size    int64
	base    int64  // size after the last rewrite
	keys    uint32 // numbers given
	damaged int64  // bytes that could not be read
	broken  bool   // an append failed; only a rewrite mends that
	retry   time.Time
}

const (
	journalHead = "NSTATE\x01\x00"
	minRewrite  = 4 << 20

	rewritePause = 5 * time.Second // after one that failed
)

// entry is what replaying yields. first announces a group.
type entry struct {
	first   bool
	batch   [16]byte
	number  uint32
	key     Key
	live    bool
	touched int64
	value   []byte
}

func openJournal(path string, replay func(entry)) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f, path: path}
	if err := j.load(replay); err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

func (j *journal) load(replay func(entry)) error {
	data, err := io.ReadAll(j.f)
	if err != nil {
		return err
	}
	good := 0
	if bytes.HasPrefix(data, []byte(journalHead)) {
		good = len(journalHead)
		keys := []Key{{}}
		var entries []entry
		for {
			body, ok := nextGroup(data[good:])
			if ok {
				entries, ok = readGroup(body, &keys, entries[:0])
			}
			if !ok {
				break
			}
			for _, e := range entries {
				replay(e)
			}
			good += 8 + len(body)
		}
		j.keys = uint32(len(keys) - 1)
	}
	j.damaged = int64(len(data) - good)
	if good == 0 {
		// New, or nothing of ours: it starts afresh.
		if _, err := j.f.WriteAt([]byte(journalHead), 0); err != nil {
			return err
		}
		good = len(journalHead)
	}
	j.size = int64(good)
	j.base = j.size
	return j.f.Truncate(j.size)
}

func nextGroup(data []byte) (body []byte, ok bool) {
	if len(data) < 8 {
		return nil, false
	}
	n := int(binary.LittleEndian.Uint32(data))
	if n < 24 || n > len(data)-8 {
		return nil, false
	}
	body = data[8 : 8+n]
	return body, crc32.Checksum(body, castagnoli) == binary.LittleEndian.Uint32(data[4:])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readGroup appends the entries of a group, and its keys that are new; nothing
// when any of it is damaged.
func readGroup(body []byte, keys *[]Key, to []entry) ([]entry, bool) {
	known := *keys
	to = append(to, entry{first: true, batch: [16]byte(body[:16])})
	for b := body[24:]; len(b) > 0; {
		number, n := binary.Uvarint(b)
		if n <= 0 || n >= len(b) {
			return nil, false
		}
		flags := b[n]
		touched, m := binary.Uvarint(b[n+1:])
		if m <= 0 {
			return nil, false
		}
		b = b[n+1+m:]
		if flags&1 != 0 {
			meter, rest, ok := cutString(b)
			if !ok {
				return nil, false
			}
			resource, rest, ok := cutString(rest)
			if !ok || number != uint64(len(known)) {
				return nil, false
			}
			b, known = rest, append(known, Key{meter, resource})
		}
		if number == 0 || number >= uint64(len(known)) {
			return nil, false
		}
		e := entry{number: uint32(number), key: known[number], live: flags&2 != 0, touched: int64(touched)}
		if e.live {
			if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
				return nil, false
			}
			size := int(binary.LittleEndian.Uint32(b))
			e.value, b = b[4:4+size], b[4+size:]
		}
		to = append(to, e)
	}
	*keys = known
	return to, true
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return "", nil, false
	}
	return string(b[n : n+int(size)]), b[n+int(size):], true
}

// appendGroup begins a group; its head is filled in by append.
func appendGroup(to []byte, batch [16]byte, at int64) []byte {
	to = append(to, make([]byte, 8)...)
	to = append(to, batch[:]...)
	return binary.LittleEndian.AppendUint64(to, uint64(at))
}

func appendEntry(to []byte, number uint32, fresh bool, key Key, live bool, touched int64) []byte {
	to = binary.AppendUvarint(to, uint64(number))
	var flags byte
	if fresh {
		flags |= 1
	}
	if live {
		flags |= 2
	}
	to = append(to, flags)
	to = binary.AppendUvarint(to, uint64(touched))
	if fresh {
		to = binary.AppendUvarint(to, uint64(len(key.Meter)))
		to = append(to, key.Meter...)
		to = binary.AppendUvarint(to, uint64(len(key.Resource)))
		to = append(to, key.Resource...)
	}
	return to
}

func putLength(at []byte, n int) { binary.LittleEndian.PutUint32(at, uint32(n)) }

func (j *journal) number() uint32 {
	j.keys++
	return j.keys
}

func seal(group []byte) {
	body := group[8:]
	putLength(group, len(body))
	binary.LittleEndian.PutUint32(group[4:], crc32.Checksum(body, castagnoli))
}

func (j *journal) append(group []byte) error {
	if j.broken {
		return nil // wantsRewrite mends it
	}
	seal(group)
	if _, err := j.f.WriteAt(group, j.size); err != nil {
		j.broken = true
		return fmt.Errorf("cannot write state %q: %w", j.path, err)
	}
	j.size += int64(len(group))
	return nil
}

func (j *journal) wantsRewrite() bool {
	if j.broken {
		return time.Now().After(j.retry)
	}
	return j.size > max(minRewrite, 4*j.base)
}

// rewrite replaces the file by the groups that fill emits.
func (j *journal) rewrite(fill func(emit func([]byte) error) error) (err error) {
	tmp := j.path + ".new"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		j.broken, j.retry = true, time.Now().Add(rewritePause)
		return err
	}
	next := &journal{f: f, path: j.path}
	j.keys = 0
	defer func() {
		if err != nil {
			j.broken, j.retry = true, time.Now().Add(rewritePause) // the keys were numbered anew
			f.Close()
			os.Remove(tmp)
		}
	}()
	if _, err = f.WriteString(journalHead); err != nil {
		return err
	}
	next.size = int64(len(journalHead))
	if err = fill(next.append); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = os.Rename(tmp, j.path); err != nil {
		return err
	}
	j.f.Close()
	next.keys, next.base = j.keys, next.size
	*j = *next
	return nil
}

func (j *journal) close() error { return errors.Join(j.f.Sync(), j.f.Close()) }
