package parts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Certificates are PEM files of a private certificate authority and of two
// certificates that it signed.
type Certificates struct {
	CA string
	// Cert and Key are a server's, good for localhost and 127.0.0.1.
	Cert, Key string
	// ClientCert and ClientKey are a client's.
	ClientCert, ClientKey string
}

// NewCertificates makes certificates that are valid for a day, in a directory
// that goes when tb ends.
func NewCertificates(tb TB) Certificates {
	tb.Helper()
	dir := newDir(tb)
	c := Certificates{
		CA:         filepath.Join(dir, "ca.pem"),
		Cert:       filepath.Join(dir, "server.pem"),
		Key:        filepath.Join(dir, "server.key"),
		ClientCert: filepath.Join(dir, "client.pem"),
		ClientKey:  filepath.Join(dir, "client.key"),
	}
	ca := template("Nepho test authority", 1)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caKey := newKey(tb)
	sign(tb, c.CA, ca, ca, caKey, caKey)

	server := template("localhost", 2)
	server.DNSNames, server.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	serverKey := newKey(tb)
	sign(tb, c.Cert, server, ca, serverKey, caKey)
	writeKey(tb, c.Key, serverKey)

	client := template("nepho", 3)
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	clientKey := newKey(tb)
	sign(tb, c.ClientCert, client, ca, clientKey, caKey)
	writeKey(tb, c.ClientKey, clientKey)
	return c
}

// Pool returns the authority's certificate for a tls.Config.
func (c Certificates) Pool(tb TB) *x509.CertPool {
	tb.Helper()
	data, err := os.ReadFile(c.CA)
	if err != nil {
		tb.Fatalf("cannot read %q: %v", c.CA, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		tb.Fatalf("no certificate in %q", c.CA)
	}
	return pool
}

func template(name string, serial int64) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func newKey(tb TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("cannot make a key: %v", err)
	}
	return key
}

func sign(tb TB, path string, cert, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		tb.Fatalf("cannot make certificate %q: %v", cert.Subject.CommonName, err)
	}
	writePEM(tb, path, "CERTIFICATE", der)
}

func writeKey(tb TB, path string, key *ecdsa.PrivateKey) {
	tb.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		tb.Fatalf("cannot encode a key: %v", err)
	}
	writePEM(tb, path, "EC PRIVATE KEY", der)
}

func writePEM(tb TB, path, kind string, der []byte) {
	tb.Helper()
	writeFile(tb, path, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}
