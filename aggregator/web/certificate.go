package web

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is that of a server. It is read again when its files have changed, since
// servers run for longer than certificates are valid.
type certificate struct {
	what      string
	cert, key string
	log       *slog.Logger

	mu    sync.Mutex
	files [2]fileState // those that were read last
	held  *tls.Certificate
}

// fileState tells whether a file was changed.
type fileState struct {
	changed time.Time
	size    int64
}

func stateOf(path string) (f fileState) {
	if info, err := os.Stat(path); err == nil {
		f = fileState{info.ModTime(), info.Size()}
	}
	return f
}

// read reads the files if they have changed.
func (c *certificate) read() error {
	files := [2]fileState{stateOf(c.cert), stateOf(c.key)}
	if c.held != nil && files == c.files {
		return nil
	}
	c.files = files
	read, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err == nil {
		c.held = &read
	}
	return err
}

// get is for [tls.Config.GetCertificate]. Files that can't be read, as while one of them is
// new and the other is not yet, leave the certificate of before.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.read(); err != nil {
		c.log.Warn("cannot load the new certificate of "+c.what+"; the one of before is used until its files change again", "error", err)
	}
	return c.held, nil
}
