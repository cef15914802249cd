package evaluator

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/nephoscope/nepho/plugins/evaluator/action"
	"github.com/nephoscope/nepho/plugins/evaluator/api"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// supports says why an action can't be done with these options.
func (o *options) supports(u *url.URL) error {
	switch u.Scheme {
	case "mailto":
		if o.SMTP.Server == "" {
			return errors.New("there is no server for mail: set smtp.server")
		}
		_, _, err := action.Recipients(u)
		return err
	case "zaqar", "trust+zaqar":
		if o.Auth != "keystone" {
			return errors.New(`it takes Keystone to find Zaqar: set auth = "keystone" and keystone`)
		}
		return action.CheckZaqar(u)
	}
	return nil
}

// checkActions finds actions that can't be done for an alarm of the configuration.
func (o *options) checkActions(a *def.Alarm) error {
	for _, text := range slices.Concat(a.Actions[:]...) {
		u, err := api.CheckAction(text)
		if err != nil {
			return err
		}
		if def.NeedsTrust(text) {
			err = errors.New("a trust is made in the name of the user who makes the alarm by the API, and here is none: take it without trust+ (webhooks can check a signature, by actions.secret), or make the alarm by the API")
		} else {
			err = o.supports(u)
		}
		if err != nil {
			return fmt.Errorf("action %q can't be done: %w", text, err)
		}
	}
	return nil
}
