// Nepho-pollster-certificates is a pollster that lives outside of Nepho's tree:
// it tells how long certificates are still valid.
package main

import (
	"context"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

type certificates struct {
	Files []string `toml:"files" default:"/etc/ssl/private/*.pem,/etc/letsencrypt/live/*/cert.pem" doc:"globs of PEM files"`
}

func (c *certificates) Discover(context.Context) ([]sdk.Resource, error) { return find(c.Files) }

func (c *certificates) PollResource(_ context.Context, r sdk.Resource, out *sdk.Builder) error {
	cert, err := read(r.ID)
	if err != nil {
		return err
	}
	r.Metadata = sdk.Metadata{"subject": cert.Subject.String(), "issuer": cert.Issuer.String()}
	out.On(r).Add(validity, time.Until(cert.NotAfter).Hours()/24)
	return nil
}

var validity = sdk.Meter{Name: "certificate.validity", Type: sdk.Gauge, Unit: "d"}

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name: "certificates", Summary: "Tells how long certificates are still valid.",
		Meters:           []sdk.MeterInfo{{Meter: validity, Doc: "time left; negative when it has run out"}},
		ResourcePollster: func() sdk.ResourcePollster { return &certificates{} },
	}
}

func main() { sdk.Serve(plugin()) }
