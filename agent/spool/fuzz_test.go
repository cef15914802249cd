package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"testing"
	"time"
)

// FuzzOpen opens a directory whose newest segment and position are garbage. With
// sums, the checksums in it are made right, so that nonsense gets further.
func FuzzOpen(f *testing.F) {
	files := filled(f, 3, 60, Options{})
	for _, b := range files {
		position := appendPosition(nil, 3, place{seg: 1, off: 156, seq: 1, samples: 2})
		f.Add(b, position, true)
		f.Add(b[:len(b)-7], position[:20], false)
		f.Add(b[segmentHeaderSize:], []byte(nil), true)
	}
	f.Add([]byte(nil), []byte(nil), false)
	good := appendRecord(appendSegmentHeader(nil, 1, totals{}), segmentSeed(1), &item{Entry: entry(1, 60)})
	f.Fuzz(func(t *testing.T, segment, position []byte, sums bool) {
		segment, position = append([]byte(nil), segment...), append([]byte(nil), position...)
		if sums {
			mendSums(segment, position)
		}
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, fmt.Sprintf("%016x%s", 1, segmentExt)), good)
		writeFile(t, filepath.Join(dir, fmt.Sprintf("%016x%s", 2, segmentExt)), segment)
		writeFile(t, filepath.Join(dir, positionName), position)
		s := open(t, Options{Dir: dir})
		checkBalance(t, s.Stats())
		mustAppend(t, s, Entry{Payload: []byte("the last"), Samples: 1})
		for rounds := 0; ; rounds++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			d, err := s.Next(ctx)
			cancel()
			if err != nil {
				t.Fatalf("the new entry is not delivered: %v", err)
			}
			if err := s.Ack(d); err != nil {
				t.Fatal(err)
			}
			checkBalance(t, s.Stats())
			if string(d.Payload) == "the last" {
				break
			}
		}
		if st := s.Stats(); st.Waiting != (Count{}) {
			t.Fatalf("stats %+v", st)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("Next: %v", err)
		}
	})
}

// mendSums rewrites the checksums of whatever stands where a header would.
func mendSums(segment, position []byte) {
	mend := func(b []byte) {
		binary.LittleEndian.PutUint32(b[44:], crc32.Update(segmentSeed(2), castagnoli, b[:44]))
	}
	if len(segment) >= segmentHeaderSize {
		mend(segment)
	}
	for off := segmentHeaderSize; off+recordHeaderSize <= len(segment); {
		b := segment[off:]
		copy(b, recordMagic)
		n := int(binary.LittleEndian.Uint32(b[4:]) % 200)
		if n <= len(b)-recordHeaderSize {
			binary.LittleEndian.PutUint32(b[4:], uint32(n))
			binary.LittleEndian.PutUint32(b[40:], checksum(b[recordHeaderSize:recordHeaderSize+n]))
		}
		mend(b)
		off += recordHeaderSize + n
	}
	if len(position) >= positionSlotSize {
		binary.LittleEndian.PutUint32(position[48:], checksum(position[:48]))
	}
}
