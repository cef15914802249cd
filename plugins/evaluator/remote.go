package evaluator

import (
	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/plugins/evaluator/evaluate"
	"github.com/nephoscope/nepho/plugins/evaluator/remote"
	"github.com/nephoscope/nepho/sdk/config"
)

// bundled is the storage that is asked unless another one is named.
const bundled = "aggregator"

// ask says who is asked about thresholds and expressions.
func (e *evaluator) ask(who auth.Authenticator, o *evaluate.Options) error {
	switch {
	case e.Gnocchi.URL != "":
		var service remote.Service
		if e.Gnocchi.Auth == "keystone" {
			keystone, ok := who.(*auth.Keystone)
			if !ok { // the API does not use it
				var err error
				if keystone, err = auth.NewKeystone(e.Keystone, e.log); err != nil {
					return err
				}
			}
			service = keystone.Service
		}
		g, err := remote.NewGnocchi(e.Gnocchi, service, e.log)
		if err != nil {
			return err
		}
		o.Series, e.remotes = g, append(e.remotes, g)
	case e.Storage != "":
		e.host.storage, o.Series = e.Storage, e.host
	}
	if e.Prometheus.URL != "" {
		p, err := remote.NewPrometheus(e.Prometheus)
		if err != nil {
			return err
		}
		o.Prometheus, e.remotes = p, append(e.remotes, p)
	}
	return nil
}

// checkRemotes gives what is wrong with the options of remote sources.
func (e *evaluator) checkRemotes() (errs []error) {
	if e.Gnocchi.URL != "" && e.Storage != "" && e.Storage != bundled {
		errs = append(errs, config.KeyError("gnocchi.url", "thresholds are about this Gnocchi or about storage %q, not both: leave one of them out", e.Storage))
	}
	if e.Gnocchi.URL != "" && e.Gnocchi.Auth == "keystone" && e.Auth != "keystone" {
		service := auth.Options{Auth: "keystone", Keystone: e.Keystone}
		errs = append(errs, service.Validate())
	}
	return errs
}
