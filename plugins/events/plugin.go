// Package events is the storage plugin that keeps events and serves them by Panko's
// HTTP API, version 2. The events are kept by package store, in chunks as package chunk
// makes them; package api answers. See DESIGN.md.
package events

import (
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the storage.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "events",
		Summary: "Keeps events, one copy of each, and serves them by Panko's API",
		Sample:  sample,
		Storage: func() sdk.Storage { return &storage{} },
	}
}

// options are what operators set.
type options struct {
	Database  string        `toml:"database" secret:"true" doc:"Where events are kept: postgres://USER:PASSWORD@HOST/DATABASE, or the path of a SQLite file; events.sqlite in the instance's folder in data_dir if empty."`
	Retention time.Duration `toml:"retention" default:"2160h" min:"0s" doc:"How long events are kept, by days; 0s is for ever."`

	Listen      string `toml:"listen" default:"127.0.0.1:8977" doc:"Host and port of the HTTP API; empty for none."`
	Unprotected bool   `toml:"unprotected" doc:"Listen on other addresses than loopback although anybody may see everything: with auth none, and with auth basic without users."`
	auth.Options
	URLPrefix        string        `toml:"url_prefix" doc:"Path below which the API is, such as /event; the root if empty."`
	DefaultLimit     int           `toml:"default_limit" default:"100" min:"1" max:"1000000" doc:"How many events a list has at most when its request has no limit."`
	MaxBody          config.Size   `toml:"max_body" default:"1MiB" min:"1KiB" max:"1GiB" doc:"Longest body of a request."`
	OperationTimeout time.Duration `toml:"operation_timeout" default:"10s" min:"100ms" doc:"Most time of a request; one for a stream of events may take longer while its client goes on reading."`
	ProxyHeaders     bool          `toml:"proxy_headers" doc:"Believe the headers Forwarded and X-Forwarded-*, which a proxy in front sets."`
	CORSOrigins      []string      `toml:"cors_origins" doc:"Origins whose web pages may use the API, such as https://dashboard.example.com; * is all."`

	TLS tlsOptions `toml:"tls" doc:"For https."`
}

type tlsOptions struct {
	Cert string `toml:"cert" doc:"PEM file with the certificate of the API and those that vouch for it; the API is https then."`
	Key  string `toml:"key" doc:"PEM file with the certificate's key."`
}

// Validate implements the check of options.
func (s *storage) Validate() error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, config.KeyError(key, format, args...))
	}
	if err := database.CheckURL(s.Database); err != nil {
		wrong("database", "%w", err)
	}
	errs = append(errs, s.Options.Validate(), web.CheckListen(s.Listen, s.Options.Open(), s.Unprotected))
	if strings.ContainsAny(s.URLPrefix, "?#{} ") {
		wrong("url_prefix", "is no path such as /event")
	}
	for i, o := range s.CORSOrigins {
		if u, err := url.Parse(o); o != "*" && (err != nil || u.Host == "" || u.Path != "" || u.Scheme != "http" && u.Scheme != "https") {
			wrong(fmt.Sprintf("cors_origins[%d]", i), "%q is no origin such as https://dashboard.example.com", o)
		}
	}
	if (s.TLS.Cert == "") != (s.TLS.Key == "") {
		wrong("tls", "cert and key belong together")
	}
	return errors.Join(errs...)
}
