// Package broker connects the amqp publisher and the amqp notification to
// RabbitMQ: their common options, fail-over between addresses, TLS, and
// connections that cannot hang for ever.
package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/nephoscope/nepho/sdk/config"
)

// Options say how to reach RabbitMQ. An instance's struct embeds them and calls
// Validate.
type Options struct {
	URLs              []string      `toml:"urls" default:"amqp://guest:guest@127.0.0.1:5672/" secret:"true" doc:"Addresses of RabbitMQ (amqp:// or amqps://, with the virtual host as path), tried in this order."`
	Username          string        `toml:"username" doc:"User name, in place of the one in the address."`
	Password          string        `toml:"password" secret:"true" doc:"Password, in place of the one in the address."`
	TLS               TLS           `toml:"tls" doc:"Certificates for amqps addresses."`
	Heartbeat         time.Duration `toml:"heartbeat" default:"10s" min:"1s" max:"10m" doc:"A connection is dead when nothing came over it for twice this time."`
	ConnectionTimeout time.Duration `toml:"connection_timeout" default:"10s" min:"100ms" max:"10m" doc:"How long connecting to one address may take, handshakes included."`
}

// TLS options. Without any, the system's authorities are trusted.
type TLS struct {
	CA                 string `toml:"ca" doc:"PEM file of the authorities to trust."`
	Cert               string `toml:"cert" doc:"PEM file of the client's certificate."`
	Key                string `toml:"key" doc:"PEM file of the client's key."`
	ServerName         string `toml:"server_name" doc:"Name that the server's certificate must have; the address's if empty."`
	InsecureSkipVerify bool   `toml:"insecure_skip_verify" default:"false" doc:"Takes any certificate of the server."`
}

// Validate is called by the Validate of the struct that embeds the options.
func (o *Options) Validate() error {
	var errs []error
	if len(o.URLs) == 0 {
		errs = append(errs, config.KeyError("urls", "at least one address is needed"))
	}
	for i, u := range o.URLs {
		if _, err := parse(u); err != nil {
			errs = append(errs, config.KeyError(fmt.Sprintf("urls[%d]", i), "%w", err))
		}
	}
	if (o.TLS.Cert == "") != (o.TLS.Key == "") {
		errs = append(errs, config.KeyError("tls", "cert and key go together"))
	}
	return errors.Join(errs...)
}

// Check reads the certificates, to complain early.
func (o *Options) Check() error {
	_, err := o.TLS.config()
	return err
}

// parse reads an address. Its errors don't repeat the address, which may hold a
// password.
func parse(address string) (amqp.URI, error) {
	uri, err := amqp.ParseURI(address)
	var ue *url.Error
	if errors.As(err, &ue) {
		err = errors.New("not an address such as amqps://user:password@host:5671/vhost (special characters in user and password must be written as %XX)")
	}
	return uri, err
}

// login gives the user name and password in force for an address; nil leaves it
// to the address, which may ask for another way to log in.
func (o *Options) login(uri amqp.URI) []amqp.Authentication {
	if o.Username == "" && o.Password == "" {
		return nil
	}
	plain := uri.PlainAuth()
	if o.Username != "" {
		plain.Username = o.Username
	}
	if o.Password != "" {
		plain.Password = o.Password
	}
	return []amqp.Authentication{plain}
}

// config gives nil when there is nothing to say, so that the query parameters of
// an address count.
func (t TLS) config() (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	c := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	if t.CA != "" {
		data, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("cannot read certificate authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("no certificate in PEM form in %q", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("cannot load client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
