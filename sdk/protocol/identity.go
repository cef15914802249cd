package protocol

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// IdentityVariable is the environment variable that hands a plugin the identity
// of its connection: a PEM certificate and its PEM private key. Without it the
// connection is not encrypted.
const IdentityVariable = "NEPHO_IDENTITY"

// identityName is the name in the certificate.
const identityName = "nepho-plugin"

// NewIdentity makes the certificate and key of one life of a plugin's process.
// Both ends of the connection prove that they hold this key and accept no other,
// so that only the host and the process that it started can talk to each other.
//
// go-plugin's own scheme, a P-521 key at each end, takes more than ten
// milliseconds of each start and half a megabyte of each process.
func NewIdentity() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: identityName}, DNSNames: []string{identityName},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		// It lives as long as its process; the clock may be stepped meanwhile.
		NotBefore: now.AddDate(-30, 0, 0), NotAfter: now.AddDate(30, 0, 0),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}

// TLSConfig gives the configuration of either end for an identity.
func TLSConfig(identity []byte) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(identity, identity)
	if err != nil {
		return nil, fmt.Errorf("cannot use the connection's identity: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(identity) {
		return nil, errors.New("cannot use the connection's identity: it holds no certificate")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, ServerName: identityName,
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256}, // the second for the gRPC of other languages
	}, nil
}
