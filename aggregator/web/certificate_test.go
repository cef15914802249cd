package web

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair makes a certificate of a number, and its key.
func pair(t *testing.T, number int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(number), DNSNames: []string{"test"}, NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})
}

// A certificate that is renewed while the server runs is the one that clients see, and
// files that are no pair leave the one of before.
func TestRenewedCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	age := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	write := func(path string, data []byte) {
		t.Helper()
		age = age.Add(time.Second)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, age, age); err != nil {
			t.Fatal(err)
		}
	}
	first, firstKey := pair(t, 1)
	write(cert, first)
	write(key, firstKey)
	var log bytes.Buffer
	server, err := Listen(t.Context(), "the test", "127.0.0.1:0", cert, key, New(fill(Options{})), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop(t.Context())
	seen := func(want int64) {
		t.Helper()
		for range 3 {
			c, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", server.Address)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != want {
				t.Errorf("clients see certificate %d, want %d", got, want)
			}
			c.Close()
		}
	}
	seen(1)
	second, secondKey := pair(t, 2)
	write(cert, second)
	seen(1) // the key is that of before
	write(key, secondKey)
	seen(2)
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	seen(2)
	third, thirdKey := pair(t, 3)
	write(key, thirdKey)
	write(cert, third)
	seen(3)
	if err := server.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "the one of before is used"); n != 2 {
		t.Errorf("%d lines tell that the files are no pair:\n%s", n, log.String())
	}
}
