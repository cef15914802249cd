// Package supervisor keeps plugin processes alive: it starts them, notices their
// end at once, starts them again with growing pauses, has their instances
// started in each life, and ends them for good.
package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Spec says how a plugin's process is started.
type Spec struct {
	Kind, Name string
	// Path and Args are the executable and its arguments.
	Path string
	Args []string
	// Env is the process's whole environment but for what the protocol adds.
	Env []string
	// Bundled executables are the host's own and need no proof.
	Bundled bool
	// Checksum is the SHA-256 the executable must have, as "sha256:<hex>" or the
	// hex alone; empty asks for none.
	Checksum string
	// MTLS encrypts the connection and keeps other processes of the user off it.
	MTLS bool
	// SocketDir is a folder that only the host's user may enter.
	SocketDir string
	// MemoryLimit in bytes of resident memory ends the process when exceeded; 0 is
	// none. Go's garbage collector is told to keep below it, unless Env has
	// GOMEMLIMIT.
	MemoryLimit int64
	// Once leaves the process ended when it ends by itself.
	Once bool
	// Stdout is handed down for plugins that print for the operator; may be nil.
	Stdout *os.File
	Log    *slog.Logger
}

// check proves that the executable may be run.
func (s *Spec) check() error {
	if s.Bundled {
		return nil
	}
	info, err := os.Stat(s.Path)
	if err != nil {
		return fmt.Errorf("cannot find plugin: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("plugin %q is not an executable file", s.Path)
	}
	if err := trust(s.Path); err != nil {
		return err
	}
	if s.Checksum == "" {
		return nil
	}
	sum, err := Checksum(s.Path)
	if err != nil {
		return err
	}
	if want := strings.ToLower(strings.TrimPrefix(s.Checksum, "sha256:")); sum != want {
		return fmt.Errorf("plugin %q is refused because its SHA-256 is %s while the configuration says %s", s.Path, sum, want)
	}
	return nil
}

// Checksum gives the SHA-256 of a file in lower-case hex.
func Checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("cannot read plugin %q: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
