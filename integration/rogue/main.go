// Rogue is a plugin for tests that misbehaves as it is told.
//
// Its kind is in the name under which it is started: nepho-KIND-rogue. What its
// process does wrong is in the environment variable ROGUE; what its instances do
// wrong is in their option mode, one of the constants below. With neither it is
// a good plugin: its pollster gives numbered samples.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// Values of ROGUE.
const (
	dieAtStart     = "die-at-start"
	panicAtStart   = "panic-at-start"
	noHandshake    = "no-handshake"
	badHandshake   = "bad-handshake"
	oldProtocol    = "old-protocol"
	newProtocol    = "new-protocol"
	otherCore      = "other-core"
	netRPC         = "netrpc"
	noiseBefore    = "noise-before"
	noiseAfter     = "noise-after"
	raw            = "raw" // raw:WHAT, see raw.go
	grandchild     = "grandchild"
	ignoresSignals = "ignores-signals"
)

func main() {
	behaviour, what, _ := strings.Cut(os.Getenv("ROGUE"), ":")
	switch behaviour {
	case "":
	case dieAtStart:
		fmt.Fprintln(os.Stderr, "this plugin dies at its start")
		os.Exit(3)
	case panicAtStart:
		panic("this plugin panics at its start")
	case noHandshake:
		time.Sleep(time.Hour)
	case badHandshake:
		handshake("Hello, I am a program that prints to the standard output.")
	case oldProtocol:
		handshake("1|0|unix|/nowhere|grpc")
	case newProtocol:
		handshake("1|99|unix|/nowhere|grpc")
	case otherCore:
		handshake("9|1|unix|/nowhere|grpc")
	case netRPC:
		handshake("1|1|unix|/nowhere|netrpc")
	case noiseBefore:
		// As a C library would, past os.Stdout.
		syscall.Write(1, []byte("Initialised libnoise 1.2\n"))
	case noiseAfter:
		go makeNoise()
	case grandchild:
		leaveGrandchild()
	case ignoresSignals: // as every plugin does
	case raw:
		serveRaw(kind(), what)
		return
	default:
		fmt.Fprintf(os.Stderr, "this plugin knows no behaviour %q\n", behaviour)
		os.Exit(2)
	}
	sdk.Serve(describe(kind()))
}

func kind() string {
	name := strings.TrimPrefix(filepath.Base(os.Args[0]), "nepho-")
	kind, _, _ := strings.Cut(name, "-")
	return kind
}

func describe(kind string) sdk.Plugin {
	p := sdk.Plugin{Name: "rogue", Version: "6.6.6", Summary: "Misbehaves as it is told."}
	switch kind {
	case "transformer":
		p.Transformer = func() sdk.Transformer { return new(transformer) }
	case "publisher":
		p.Publisher = func() sdk.Publisher { return new(publisher) }
	case "alarm":
		p.Alarm = func() sdk.Alarm { return new(alarm) }
	case "notification":
		p.Notification = func() sdk.Notification { return new(notification) }
	default:
		p.Pollster = func() sdk.Pollster { return new(pollster) }
	}
	return p
}

func handshake(line string) {
	syscall.Write(1, []byte(line+"\n")) // os.Stdout is standard error by now
	time.Sleep(time.Hour)
}

// makeNoise prints to the real standard output after the handshake, without
// end: lines, and one line that never ends.
func makeNoise() {
	time.Sleep(200 * time.Millisecond)
	line := append([]byte(strings.Repeat("noise ", 100)), '\n')
	for range 10_000 {
		syscall.Write(1, line)
	}
	for {
		if _, err := syscall.Write(1, line[:len(line)-1]); err != nil {
			return
		}
	}
}

// leaveGrandchild starts a process that holds the plugin's standard output and
// error and outlives it.
func leaveGrandchild() {
	cmd := exec.Command("sleep", "300")
	cmd.Stdout, cmd.Stderr = os.NewFile(1, "stdout"), os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot leave a grandchild:", err)
	}
}

// misbehave does what concerns no kind in particular, and gives false when the
// mode is none of these.
func misbehave(mode string) bool {
	switch mode {
	case "":
	case "hang":
		select {} // whatever the context says
	case "die":
		os.Exit(3)
	case "panic":
		panic("this plugin panics in a call")
	case "panic-aside":
		// Not where the SDK could catch it.
		go panic("this plugin panics in a goroutine")
		time.Sleep(time.Hour)
	case "spew":
		spew(os.Stderr)
	default:
		return false
	}
	return true
}

// spew prints megabytes of what log lines must not be.
func spew(w io.Writer) {
	fmt.Fprintln(w, strings.Repeat("a very long line ", 1<<20)) // 17 MiB
	for range 50_000 {
		fmt.Fprintln(w, "one of very many lines")
	}
	binary := make([]byte, 1<<20)
	for i := range binary {
		binary[i] = byte(i * 7)
	}
	w.Write(binary)
	fmt.Fprintln(w)
	for _, line := range []string{
		`{"@message":1}`, `{"@message":null,"@level":{}}`, `{"@message":"level","@level":17}`, `{"@timestamp":[],"@message":"time"}`,
		`{`, `{}`, `[]`, `null`, `{"@message":"nested","a":` + strings.Repeat(`{"a":`, 5000) + `1` + strings.Repeat(`}`, 5000) + `}`,
		`{"@message":"secretly \u0000 \u001b[31m red","k\n=v":"a\nlevel=ERROR forged"}`, "\x1b[31mred\x1b[0m", "\xff\xfe\x00",
	} {
		fmt.Fprintln(w, line)
	}
}
