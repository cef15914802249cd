package evaluator

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/nephoscope/nepho/plugins/evaluator/action"
)

// TestActionsOfRules: what can't be done for an alarm that is written in TOML is refused where
// it is read, in the agent's configuration as in a file, with a reason.
func TestActionsOfRules(t *testing.T) {
	mail, keystone := options{SMTP: action.MailOptions{Server: "mail:25"}}, options{}
	keystone.Auth = "keystone"
	for text, want := range map[string]struct {
		o      options
		reason string // "": it is taken
	}{
		"https://hooks.example.com/x?y=z": {},
		"log:":                            {},
		"test://":                         {},
		"mailto:a@example.com":            {o: mail},
		"mailto:a@b.c,d@e.f?subject=x":    {o: mail},
		"zaqar://?topic=t":                {o: keystone},
		"mailto:b@example.com":            {reason: "set smtp.server"},
		"mailto:a":                        {o: mail, reason: "missing '@'"},
		"zaqar://?topic=u":                {reason: `set auth = "keystone"`},
		"zaqar://?subscriber=s":           {o: keystone, reason: "topic"},
		"trust+https://hooks.example.com": {o: keystone, reason: "the user who makes the alarm by the API"},
		"trust+zaqar://?queue_name=q":     {o: keystone, reason: "the user who makes the alarm by the API"},
		"trust+http://id@example.com":     {o: keystone, reason: "trust URL cannot contain a trust ID"},
		"trust:id":                        {o: keystone, reason: "Unsupported action trust:id"},
		"ftp://example.com":               {reason: "Unsupported action"},
		"https:///x":                      {reason: "Unable to parse action"},
		"://":                             {reason: "Unable to parse action"},
	} {
		for _, state := range []string{"ok", "alarm", "insufficient_data"} {
			rule := fmt.Sprintf("[[rule]]\nname = 'a'\ntype = 'event'\nevent_rule = { event_type = 'x' }\n%s_actions = ['log:', '%s']\n", state, text)
			inline, folder := want.o, want.o
			if err := toml.Unmarshal([]byte(rule), &inline); err != nil {
				t.Fatal(err)
			}
			folder.RulesFrom = t.TempDir()
			if err := os.WriteFile(filepath.Join(folder.RulesFrom, "a.toml"), []byte(rule), 0o600); err != nil {
				t.Fatal(err)
			}
			_, inFile := (&evaluator{options: folder}).written()
			_, inConfig := (&evaluator{options: inline}).written()
			checked := (&evaluator{options: inline}).Validate()
			for where, err := range map[string]error{"a.toml": inFile, ownOrigin: inConfig} {
				if (err == nil) != (want.reason == "") || err != nil && (!strings.Contains(err.Error(), want.reason) || !strings.Contains(err.Error(), where)) {
					t.Errorf("%s in %s: %v", text, where, err)
				}
			}
			// Other options are wrong here, too.
			if got := fmt.Sprint(checked); strings.Contains(got, "rule[0]") != (want.reason != "") || !strings.Contains(got, want.reason) {
				t.Errorf("%s is checked: %s", text, got)
			}
		}
	}
}
