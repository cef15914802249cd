package remote

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/nephoscope/nepho/sdk/config"
)

// TLS says whom to trust, and who one is.
type TLS struct {
	CA       string `toml:"ca" doc:"PEM file with authorities that are trusted besides the system's."`
	Cert     string `toml:"cert" doc:"PEM file with a client certificate, and those that vouch for it."`
	Key      string `toml:"key" doc:"PEM file with the certificate's key."`
	Insecure bool   `toml:"insecure" doc:"Believe any certificate."`
}

// GnocchiOptions say how to reach a Gnocchi.
type GnocchiOptions struct {
	URL      string `toml:"url" doc:"URL of a Gnocchi, or of another Nepho's aggregator, such as https://gnocchi.example.com:8041; thresholds are about its metrics then, instead of those of storage. Empty for none."`
	Auth     string `toml:"auth" default:"basic" enum:"basic|keystone|none" doc:"How one says there who asks: basic, keystone (a token of the service user in the table keystone of the instance) or none. It has to be somebody who sees all metrics."`
	Username string `toml:"username" default:"admin" doc:"User, with auth basic."`
	Password string `toml:"password" secret:"true" doc:"Password, with auth basic; Gnocchi itself looks at none."`
	TLS
	Timeout time.Duration `toml:"timeout" default:"30s" min:"100ms" max:"10m" doc:"Most time of a request."`
}

// PrometheusOptions say how to reach a server with Prometheus's API.
type PrometheusOptions struct {
	URL      string `toml:"url" doc:"URL below which api/v1/query is, such as https://prometheus.example.com:9090; rules of the type prometheus are about it. Empty: they are about the storage."`
	Username string `toml:"username" doc:"User of HTTP basic authentication; empty for none."`
	Password string `toml:"password" secret:"true" doc:"Password of the user."`
	Token    string `toml:"token" secret:"true" doc:"Bearer token; empty for none."`
	TLS
	Timeout      time.Duration `toml:"timeout" default:"30s" min:"100ms" max:"10m" doc:"Most time of a request."`
	ProjectLabel string        `toml:"project_label" default:"project" doc:"Label with the id of a project: alarms of others than administrators see only series that have it, with their project's id. Empty: only administrators' alarms may ask."`
}

// Validate implements the check of options.
func (o *GnocchiOptions) Validate() error {
	if o.URL == "" {
		return nowhere(o.Password != "" || o.TLS != TLS{})
	}
	var errs []error
	if o.Auth == "basic" && o.Username == "" {
		errs = append(errs, config.KeyError("username", "auth basic needs one, such as admin"))
	}
	return errors.Join(append(errs, checkURL(o.URL, "https://gnocchi.example.com:8041"), o.TLS.check())...)
}

// Validate implements the check of options.
func (o *PrometheusOptions) Validate() error {
	if o.URL == "" {
		return nowhere(o.Username != "" || o.Password != "" || o.Token != "" || o.TLS != TLS{})
	}
	var errs []error
	switch {
	case o.Token != "" && o.Username != "":
		errs = append(errs, config.KeyError("token", "give a token or a username, not both"))
	case o.Password != "" && o.Username == "":
		errs = append(errs, config.KeyError("username", "a password belongs to a username"))
	}
	if !labelName.MatchString(o.ProjectLabel) {
		errs = append(errs, config.KeyError("project_label", "%q is no name of a label, such as project", o.ProjectLabel))
	}
	return errors.Join(append(errs, checkURL(o.URL, "https://prometheus.example.com:9090"), o.TLS.check())...)
}

// nowhere is wrong if it is said how somebody is reached, and not where.
func nowhere(how bool) error {
	if how {
		return config.KeyError("url", "is missing: the other options say how it is reached, and not where")
	}
	return nil
}

func checkURL(text, example string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return config.KeyError("url", "is no URL such as %s; who asks belongs to other options", example)
	}
	return nil
}

func (t *TLS) check() error {
	if (t.Cert == "") != (t.Key == "") {
		return config.KeyError("cert", "cert and key belong together")
	}
	return nil
}

func unknownAuth(name string) error {
	return fmt.Errorf("unknown auth %q: it can be basic, keystone or none", name)
}
