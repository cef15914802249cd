package objects

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A page of the cache is a file with a part of an object. It is made of units, each of
// which has a checksum before it, so that a small read is verified without reading the
// whole page:
//
//	0  4  CRC-32C, little-endian, of the unit's bytes, continued from that of the
//	      name's hash and the page's number (4 bytes, little-endian) xor the number
//	      of the unit in the page
//	4  n  up to 4,096 bytes of the object, fewer only at its end
//
// The file's name is the hash of the object's name and the number of the page.
const (
	pageSize = 256 << 10 // bytes of the object in a page
	unitSize = 4 << 10
	sumSize  = 4
	hashSize = 16
	pageExt  = ".page"
)

// castagnoli is a lookup table, never written after this.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pageKey names a page.
type pageKey struct {
	hash   [hashSize]byte // of the object's name
	number uint32         // in the object
}

func hashName(name string) [hashSize]byte {
	sum := sha256.Sum256([]byte(name))
	return [hashSize]byte(sum[:hashSize])
}

func (k pageKey) file() string { return fmt.Sprintf("%x-%08x%s", k.hash, k.number, pageExt) }

func parsePageFile(name string) (k pageKey, ok bool) {
	if len(name) != 2*hashSize+1+8+len(pageExt) || name[2*hashSize] != '-' || name[len(name)-len(pageExt):] != pageExt {
		return k, false
	}
	_, err := hex.Decode(k.hash[:], []byte(name[:2*hashSize]))
	number, err2 := strconv.ParseUint(name[2*hashSize+1:len(name)-len(pageExt)], 16, 32)
	k.number = uint32(number)
	return k, err == nil && err2 == nil && k.file() == name
}

// fileSize is that of a page of n bytes.
func fileSize(n int64) int64 { return n + (n+unitSize-1)/unitSize*sumSize }

// seed is what the checksums of a page begin with.
func (k pageKey) seed() uint32 {
	return crc32.Checksum(binary.LittleEndian.AppendUint32(k.hash[:], k.number), castagnoli)
}

// unitSum is the checksum of a unit.
func unitSum(seed uint32, unit int64, b []byte) uint32 {
	return crc32.Update(seed^uint32(unit), castagnoli, b)
}

// buffers are for pages as they are in files.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, pageSize+pageSize/unitSize*sumSize)
	return &b
}}

// writePage keeps a page. Half of it, if that is what comes out, does not have the
// right checksums.
func writePage(path string, key pageKey, data []byte) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b := (*buf)[:0]
	seed := key.seed()
	for unit := int64(0); len(data) > 0; unit++ {
		n := min(len(data), unitSize)
		b = binary.LittleEndian.AppendUint32(b, unitSum(seed, unit, data[:n]))
		b = append(b, data[:n]...)
		data = data[n:]
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

var errDamaged = errors.New("a page of the cache is damaged")

// openPage reads a part of the page in a file.
func openPage(path string, key pageKey, size int64, b []byte, offset int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(readPage(f, key, size, b, offset), f.Close())
}

// readPage reads a part of a page of size bytes.
func readPage(f io.ReaderAt, key pageKey, size int64, b []byte, offset int64) error {
	first, last := offset/unitSize, (offset+int64(len(b))-1)/unitSize
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	from, to := first*(unitSize+sumSize), min((last+1)*(unitSize+sumSize), fileSize(size))
	raw := (*buf)[:to-from]
	if _, err := f.ReadAt(raw, from); err != nil {
		return err
	}
	skip, seed := offset-first*unitSize, key.seed()
	for unit := first; unit <= last; unit++ {
		n := min(len(raw), unitSize+sumSize)
		data := raw[sumSize:n]
		if binary.LittleEndian.Uint32(raw) != unitSum(seed, unit, data) {
			return errDamaged
		}
		b = b[copy(b, data[skip:]):]
		skip, raw = 0, raw[n:]
	}
	return nil
}

// foundPage is a page that is there when a cache is opened.
type foundPage struct {
	key      pageKey
	size     int64
	modified time.Time
}

// findPages returns the pages in a folder, oldest first.
func findPages(dir string) ([]foundPage, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []foundPage
	for _, e := range entries {
		key, ok := parsePageFile(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("page %q: %w", filepath.Join(dir, e.Name()), err)
		}
		found = append(found, foundPage{key, info.Size(), info.ModTime()})
	}
	slices.SortFunc(found, func(a, b foundPage) int {
		return cmp.Or(a.modified.Compare(b.modified), cmp.Compare(a.key.file(), b.key.file()))
	})
	return found, nil
}
