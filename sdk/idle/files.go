package idle

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// releaseFiles unmaps the pages of the program's file. Its start ran through the
// initialisers of every package that is linked in, and around each page that is
// touched the kernel maps others: two thirds of the file, of which an idle process
// needs a third. What is needed again is mapped again, without reading it as long
// as the kernel has it in its cache. It may now drop the rest from there first.
//
// It does so with all files that are mapped privately and can't be written to. A
// mapping with pages that differ from the file is left as it is, for these would
// be lost: relocations, and the breakpoints of debuggers and probes.
func releaseFiles() {
	file, err := os.Open("/proc/self/smaps")
	if err != nil {
		return // nothing is lost, just not as much won
	}
	defer file.Close()
	var begin, end uint64 // of a mapping that may go; both 0 in others
	for s := bufio.NewScanner(file); s.Scan(); {
		name, value, _ := bytes.Cut(s.Bytes(), []byte(" "))
		switch {
		case !bytes.HasSuffix(name, []byte(":")): // the first line of a mapping
			begin, end = span(s.Bytes())
		case string(name) == "Anonymous:" || string(name) == "Swap:": // these differ
			if string(bytes.TrimSpace(value)) != "0 kB" {
				begin, end = 0, 0
			}
		case string(name) == "VmFlags:" && end > begin: // its last line
			syscall.Syscall(syscall.SYS_MADVISE, uintptr(begin), uintptr(end-begin), syscall.MADV_DONTNEED) //nolint:errcheck // as above
		}
	}
}

// span reads the first line of a mapping, such as
//
//	00400000-01545000 r-xp 00000000 fe:00 9987892    /usr/bin/nepho
//
// and gives where it begins and ends, or zeros if it is not a private one of a
// file, or can be written to.
func span(line []byte) (begin, end uint64) {
	fields := bytes.Fields(line)
	if len(fields) < 6 || fields[5][0] != '/' || len(fields[1]) != 4 || fields[1][1] != '-' || fields[1][3] != 'p' {
		return 0, 0
	}
	from, to, _ := bytes.Cut(fields[0], []byte("-"))
	begin, err := strconv.ParseUint(string(from), 16, 64)
	if err != nil {
		return 0, 0
	}
	if end, err = strconv.ParseUint(string(to), 16, 64); err != nil {
		return 0, 0
	}
	return begin, end
}
