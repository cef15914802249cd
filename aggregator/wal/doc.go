// Package wal is the write-ahead log: records are durable here before anybody
// is told that they were taken.
//
// The path of a record:
//
//	Write    gives it a position and queues it (commit.go)
//	Wait     writes all that is queued and syncs once for all of it, unless that
//	         is going on for what was queued before: then a goroutine does it next
//	         (commit.go)
//	Replay   reads it again after a restart (replay.go, scan.go)
//	Tail     copies it elsewhere while the log is in use (tail.go)
//	Trim     deletes its segment when it is kept elsewhere (log.go)
//
// When the disk is full or fails, everything that was queued is refused, and so
// is what comes later, until a new segment can be begun; that is tried by itself,
// again and again (fail.go). What is behind the last good record of the failed
// segment is never looked at again. Each Open begins a new segment too, so a log
// never goes on after a record that was half-written.
//
// Behind the records of the segment that is written to there are zeros, which the next
// records replace (ahead.go).
//
// # Files
//
// A log's folder holds:
//
//	lock                     locked (flock) by the process that has the log open
//	0000000000000000.wal     segments: the position of their first record
//
// All numbers are little-endian. All checksums are CRC-32C (Castagnoli).
//
// A segment starts with a header of 40 bytes:
//
//	 0  8  magic "NephoWal"
//	 8  4  version, 2 (1 has no record with the highest bit of its length)
//	12  4  zero
//	16  8  position of the first record, as in the name
//	24  8  position of the end of the segment before: what that one holds from
//	       there on does not count, and there is nothing between the two
//	32  4  zero
//	36  4  CRC of bytes 0-35
//
// Records follow without gaps, each a header of 16 bytes, a payload, and zeros up
// to a multiple of 8:
//
//	 0  4  magic F9 4E 57 A1
//	 4  4  length of the payload; the highest bit tells that all before this record
//	       was durable when it was written
//	 8  4  CRC of the payload
//	12  4  CRC of bytes 0-11, continued from the record's position: from its upper
//	       half xor its lower one
//	16  n  payload
//
// The position of a record is that of the segment and the bytes of all records
// between. Its own checksum keeps the header of a damaged record usable, and the
// multiple of 8 and the position in it keep anything but a record at its own place,
// such as the copy of one inside a payload, from being taken for one. So reading
// finds the next sound record after any damage. Zeros may follow the last record of a
// segment.
//
// Of records that were written together when the machine stopped, a disk may keep later
// ones and lose earlier ones. Nobody was told that they are durable, and so what
// is missing behind the last record with the highest bit is torn, and not damage.
package wal
