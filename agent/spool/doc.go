// Package spool is the bounded queue that stands before one sink: what sources
// hand over is stored here until the sink has taken it.
//
// A spool lives in a directory of its own, or in memory. The path of an entry:
//
//	Append   checks the limit and queues the entry for the committer
//	         (append.go)
//	commit   one goroutine writes all that is queued and syncs once for all of
//	         it; from here on the entry is durable (commit.go, transaction.go)
//	Next     hands the entry to the consumer, from memory when the consumer
//	         keeps up, otherwise from disk with read-ahead (consume.go,
//	         reader.go)
//	Ack      moves the position past it; a segment with nothing left to deliver
//	         is deleted (consume.go, ledger.go, position.go)
//
// Delivery is at-least-once and in order. After kill -9 only entries that were
// not acknowledged come again; after a power loss also some that were, because
// the position is written at every Ack but not synced.
//
// At any moment, in entries and in samples:
//
//	recovered + appended = acked + dropped + waiting
//
// # Files
//
// A spool directory holds:
//
//	lock                     locked (flock) by the process that has the spool open
//	position                 how far the consumer has acknowledged
//	0000000000000001.seg     segments: 16 hexadecimal digits, rising, gaps allowed
//	*.aside                  segments that could not be understood, never touched
//
// All numbers are little-endian. All checksums are CRC-32C (Castagnoli).
//
// A segment starts with a header of 48 bytes:
//
//	 0  8  magic "NephoSpl"
//	 8  4  version, 1
//	12  4  zero
//	16  8  number of the first entry of the segment (entries are numbered
//	       from 0 through the life of the spool)
//	24  8  samples in all entries before that one
//	32  8  held entries before that one
//	40  4  zero
//	44  4  CRC of the segment's number (8 bytes, from its name) and of bytes 0-43
//
// Records follow without gaps, each a header of 48 bytes and a payload:
//
//	 0  4  magic F5 4E 70 E7
//	 4  4  length of the payload
//	 8  4  samples in the entry
//	12  4  flags: bit 0 held; the others are zero
//	16  8  number of the entry
//	24  8  samples in all entries before this one
//	32  8  time of Append, nanoseconds since 1970 UTC
//	40  4  CRC of the payload
//	44  4  CRC of the segment's number (8 bytes) and of bytes 0-43
//	48  n  payload
//
// The running numbers tell how many entries and samples a damaged stretch
// held, even when the damage hit the headers themselves, and how much a
// segment holds without reading it: the header of the next one says. The
// segment's number in the checksum keeps a copy of a record that happens to be
// inside a payload from being taken for a record.
//
// The position file has two slots of 52 bytes, at 0 and at 512, written in
// turn; the valid one with the higher generation counts:
//
//	 0  4  magic "NpPo"
//	 4  4  version, 1
//	 8  8  generation
//	16  8  number of the segment of the next entry to deliver
//	24  8  offset in that segment
//	32  8  number of the next entry to deliver
//	40  8  samples in all entries before that one
//	48  4  CRC of bytes 0-47
package spool
