package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/sdk/config"
)

// Serving are the options that all APIs have; where one listens, and how long bodies
// may be, differ from API to API. Plugins embed them in theirs.
type Serving struct {
	Unprotected bool `toml:"unprotected" doc:"Listen on other addresses than loopback although anybody may do anything: with auth none, and with auth basic without users."`
	auth.Options
	URLPrefix        string        `toml:"url_prefix" doc:"Path below which the API is, such as /telemetry; the root if empty."`
	OperationTimeout time.Duration `toml:"operation_timeout" default:"10s" min:"100ms" doc:"Most time of a request; one for a stream may take longer while its client goes on reading."`
	ProxyHeaders     bool          `toml:"proxy_headers" doc:"Believe the headers Forwarded and X-Forwarded-*, which a proxy in front sets."`
	CORSOrigins      []string      `toml:"cors_origins" doc:"Origins whose web pages may use the API, such as https://grafana.example.com; * is all."`
	TLS              TLS           `toml:"tls" doc:"For https."`
}

// TLS are the options of an API's certificate.
type TLS struct {
	Cert string `toml:"cert" doc:"PEM file with the certificate of the API and those that vouch for it; the API is https then."`
	Key  string `toml:"key" doc:"PEM file with the certificate's key."`
}

// Check gives what is wrong with the options of an API that listens on an address.
func (o *Serving) Check(listen string) error {
	errs := []error{o.Options.Validate(), checkListen(listen, o.Open(), o.Unprotected)}
	if strings.ContainsAny(o.URLPrefix, "?#{} ") {
		errs = append(errs, config.KeyError("url_prefix", "is no path such as /telemetry"))
	}
	for i, origin := range o.CORSOrigins {
		if u, err := url.Parse(origin); origin != "*" && (err != nil || u.Host == "" || u.Path != "" || u.Scheme != "http" && u.Scheme != "https") {
			errs = append(errs, config.KeyError(fmt.Sprintf("cors_origins[%d]", i), "%q is no origin such as https://grafana.example.com", origin))
		}
	}
	if (o.TLS.Cert == "") != (o.TLS.Key == "") {
		errs = append(errs, config.KeyError("tls", "cert and key belong together"))
	}
	return errors.Join(errs...)
}

// Site gives the options of a site whose requests are made by those whom who knows, and
// have bodies of at most a number of bytes.
func (o *Serving) Site(who auth.Authenticator, maxBody config.Size, log *slog.Logger) Options {
	return Options{
		Auth: who, Log: log, MaxBody: int64(maxBody), Timeout: o.OperationTimeout, ProxyHeaders: o.ProxyHeaders,
		URLPrefix: o.URLPrefix, CORSOrigins: o.CORSOrigins,
	}
}

// Serve begins to serve a handler: see [Listen].
func (o *Serving) Serve(ctx context.Context, what, listen string, h http.Handler, log *slog.Logger) (*Server, error) {
	return Listen(ctx, what, listen, o.TLS.Cert, o.TLS.Key, h, log)
}
