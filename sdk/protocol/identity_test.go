package protocol

import (
	"crypto/tls"
	"net"
	"testing"
)

// Only who holds the identity of a process's life can talk over its connection.
func TestIdentity(t *testing.T) {
	config := func() *tls.Config {
		t.Helper()
		identity, err := NewIdentity()
		if err != nil {
			t.Fatal(err)
		}
		c, err := TLSConfig(identity)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	shake := func(server, client *tls.Config) (serverErr, clientErr error) {
		a, b := net.Pipe()
		done := make(chan error, 1)
		go func() {
			s := tls.Server(a, server)
			err := s.Handshake()
			if err == nil {
				_, err = s.Write([]byte("x")) // what a client that was refused learns late
			}
			a.Close()
			done <- err
		}()
		c := tls.Client(b, client)
		clientErr = c.Handshake()
		if clientErr == nil {
			_, clientErr = c.Read(make([]byte, 1))
		}
		b.Close()
		return <-done, clientErr
	}
	mine, other := config(), config()
	if s, c := shake(mine, mine); s != nil || c != nil {
		t.Errorf("errors %v, %v", s, c)
	}
	if s, c := shake(mine, other); s == nil || c == nil {
		t.Errorf("a stranger is let in: errors %v, %v", s, c)
	}
	bare := other.Clone()
	bare.Certificates, bare.RootCAs = nil, mine.RootCAs
	if s, c := shake(mine, bare); s == nil || c == nil {
		t.Errorf("who has no key is let in: errors %v, %v", s, c)
	}
	for _, broken := range []string{"", "garbage"} {
		if _, err := TLSConfig([]byte(broken)); err == nil {
			t.Errorf("identity %q is taken", broken)
		}
	}
}
