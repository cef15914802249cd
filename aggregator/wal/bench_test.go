package wal

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkWrite is Write alone, with what the disk takes behind it; trimmed, so that
// it does not fill the disk.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{100, 1000, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := open(b, Options{Dir: b.TempDir(), Sync: time.Second})
			record := text(1, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var last Commit
			for i := 0; b.Loop(); i++ {
				c, err := l.Write(record)
				if err != nil {
					b.Fatal(err)
				}
				last = c
				if i%(100_000_000/size) == 0 {
					if err := l.Trim(c.Position); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := last.Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkCommit is writers that wait for each of their records, synced.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			l := open(b, Options{Dir: b.TempDir()})
			record := text(1, 1000)
			b.ReportAllocs()
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c, err := l.Write(record)
					if err == nil {
						err = c.Wait(background)
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkReplay(b *testing.B) {
	for _, size := range []int{100, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			dir := b.TempDir()
			l := open(b, Options{Dir: dir})
			fill(b, l, 64_000_000/size, size)
			closeLog(b, l)
			l = open(b, Options{Dir: dir})
			b.SetBytes(64_000_000)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Replay(0, func(Position, []byte) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
