package definition

import (
	"net/url"
	"strings"
)

// NeedsTrust reports whether an action is done in the name of the alarm's user, by a trust of
// Keystone.
func NeedsTrust(action string) bool { return strings.HasPrefix(action, "trust+") }

// Trust gives the id of the trust that an alarm's actions are done with, which stands in
// their URLs: trust+http://ID@host/path. "": none. An alarm has one for all of its actions.
func (a *Alarm) Trust() string {
	for _, list := range a.Actions {
		for _, action := range list {
			if !NeedsTrust(action) {
				continue
			}
			if u, err := url.Parse(action); err == nil && u.User != nil {
				return u.User.Username()
			}
		}
	}
	return ""
}
