package influxdb

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/nephoscope/nepho/sdk/config"
)

// tlsOptions are about connections to a server with https.
type tlsOptions struct {
	CA                 string `toml:"ca" doc:"PEM file with the authorities to trust instead of the system's."`
	Cert               string `toml:"cert" doc:"PEM file with the client's certificate."`
	Key                string `toml:"key" doc:"PEM file with the key of the client's certificate."`
	ServerName         string `toml:"server_name" doc:"Name that the server's certificate must have; that of the URL if empty."`
	InsecureSkipVerify bool   `toml:"insecure_skip_verify" doc:"Take any certificate: anybody in between can then read and change what is sent."`
}

func (o *tlsOptions) validate() error {
	switch {
	case o.Cert != "" && o.Key == "":
		return config.KeyError("tls.key", "is missing: a certificate is used with its key")
	case o.Key != "" && o.Cert == "":
		return config.KeyError("tls.cert", "is missing: a key is used with its certificate")
	}
	return nil
}

func (o *tlsOptions) config() (*tls.Config, error) {
	c := &tls.Config{ServerName: o.ServerName, InsecureSkipVerify: o.InsecureSkipVerify, MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("cannot read tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in tls.ca %q", o.CA)
		}
	}
	if o.Cert != "" {
		cert, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("cannot read tls.cert and tls.key: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}
