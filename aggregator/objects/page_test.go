package objects

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzReadPage reads parts of a page whose file is garbage: either it is damaged, or the
// bytes are right.
func FuzzReadPage(f *testing.F) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 600) // 9,600: three units
	key := pageKey{hashName("object"), 3}
	whole := filepath.Join(f.TempDir(), "page")
	if err := writePage(whole, key, data); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(whole)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, uint16(0), uint16(9600))
	f.Add(good[:5000], uint16(4000), uint16(100))
	f.Add(append(bytes.Clone(good), good...), uint16(4095), uint16(2))
	f.Fuzz(func(t *testing.T, file []byte, offset, length uint16) {
		from := int(offset) % len(data)
		b := make([]byte, 1+int(length)%(len(data)-from))
		if err := readPage(bytes.NewReader(file), key, int64(len(data)), b, int64(from)); err == nil && !bytes.Equal(b, data[from:from+len(b)]) {
			t.Fatal("wrong bytes")
		}
	})
}

func TestPageFileNames(t *testing.T) {
	key := pageKey{hashName("x"), 0x12ab}
	if got, ok := parsePageFile(key.file()); !ok || got != key {
		t.Fatalf("%q is read as %v, %v", key.file(), got, ok)
	}
	for _, name := range []string{"", lockName, key.file() + "x", "X" + key.file()[1:], key.file()[1:]} {
		if _, ok := parsePageFile(name); ok {
			t.Errorf("%q is taken for a page", name)
		}
	}
}
