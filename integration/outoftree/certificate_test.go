package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, plugin()) }

func TestConform(t *testing.T) {
	sdktest.Conform(t, sdktest.Options{Config: config(t.TempDir())})
}

func TestPoll(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, filepath.Join(dir, "a.pem"), time.Now().Add(48*time.Hour))
	writeCertificate(t, filepath.Join(dir, "b.pem"), time.Now().Add(-24*time.Hour))
	if err := os.WriteFile(filepath.Join(dir, "c.pem"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	samples, err := sdktest.Start(t, config(dir)).Poll(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1 of 3 resources failed") || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("error %v", err)
	}
	days := map[string]float64{}
	for _, s := range samples {
		days[filepath.Base(s.ResourceID)] = s.Volume
		if s.Name != "certificate.validity" || s.Unit != "d" || s.Metadata["subject"] != "CN=test" {
			t.Errorf("got %+v", s)
		}
	}
	if len(days) != 2 || days["a.pem"] < 1.9 || days["a.pem"] > 2 || days["b.pem"] > -1 {
		t.Errorf("days left: %v", days)
	}
}

func TestMistakes(t *testing.T) {
	_, err := sdktest.Launch(t, sdktest.Options{Config: `file = ["*.pem"]`})
	if err == nil || !strings.Contains(err.Error(), `did you mean "files"?`) {
		t.Errorf("error %v", err)
	}
}

func config(dir string) string { return fmt.Sprintf("files = [%q]", filepath.Join(dir, "*.pem")) }

func writeCertificate(t *testing.T, path string, until time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: until.AddDate(-1, 0, 0), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
