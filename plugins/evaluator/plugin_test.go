package evaluator

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/sdk/config"
)

// problems are what is wrong with the options of an instance, a line each.
func problems(t *testing.T, toml string) string {
	t.Helper()
	table, list := config.Parse("t", []byte(toml))
	if len(list) == 0 {
		list = table.Decode(&evaluator{})
	}
	var lines []string
	for _, p := range list {
		lines = append(lines, p.Error())
	}
	return strings.Join(lines, "\n")
}

// What is wrong is told with its key and what to do about it.
func TestOptions(t *testing.T) {
	const gnocchi, prometheus = "gnocchi = { url = 'https://gnocchi.example.com:8041/x'", "prometheus = { url = 'http://127.0.0.1:9090'"
	for toml, want := range map[string]string{
		"":                             "",
		"listen = ''":                  "",
		"storage = ''\ndatabase = 'x'": "",
		"evaluation_intervall = '1s'":  `t:1:1: evaluation_intervall: unknown option (did you mean "evaluation_interval"?)`,
		"evaluation_interval = '1ms'":  `t:1:1: evaluation_interval: "1ms" is out of range, allowed are 1s to 24h`,
		"user_alarm_quota = -2":        "t:1:1: user_alarm_quota: -2 is out of range, it must be at least -1",

		"database = 'mysql://root:secret@db/x'":  "t:1:1: database: is neither a path nor a URL such as postgres://nepho@127.0.0.1/nepho",
		"database = 'postgres://a:b@db/x?y=%zz'": "t:1:1: database: is neither a path nor a URL such as postgres://nepho@127.0.0.1/nepho",
		"database = 'postgres://nepho@db/nepho'": "",

		"listen = '8042'":                                                        `t:1:1: listen: "8042" is not like 127.0.0.1:8041 or [::1]:8041`,
		"listen = '0.0.0.0:8042'":                                                `t:1:1: listen: anybody who reaches 0.0.0.0:8042 could do anything: with auth = basic list basic.users, choose keystone or remoteuser, or set unprotected = true if the network is yours alone`,
		"listen = '0.0.0.0:8042'\nunprotected = true":                            "",
		"listen = '0.0.0.0:8042'\nbasic = { users = { a = 'b' } }":               "",
		"auth = 'noauth'":                                                        `t:1:1: auth: "noauth" is not one of basic, keystone, remoteuser, none`,
		"auth = 'keystone'":                                                      "t:1:1: keystone.auth_url: auth keystone needs the URL of Keystone, such as https://keystone:5000/v3\nt:1:1: keystone.username: auth keystone needs a service user, or an application credential",
		"url_prefix = '/a b'":                                                    "t:1:1: url_prefix: is no path such as /telemetry",
		"cors_origins = ['*', 'https://a.example.com/x']":                        `t:1:22: cors_origins[1]: "https://a.example.com/x" is no origin such as https://grafana.example.com`,
		"tls = { key = '/x' }":                                                   "t:1:1: tls: cert and key belong together",
		"actions = { cert = '/x' }":                                              "t:1:13: actions.cert: cert and key belong together",
		"actions = { retry_min = '1m', retry_max = '1s' }":                       "t:1:31: actions.retry_max: is less than retry_min",
		"target = [{ url = 'hooks.example.com' }]":                               `t:1:13: target[0].url: "hooks.example.com" is no beginning of a URL such as https://hooks.example.com/pager`,
		"target = [{ url = 'https://a/', key = '/x' }]":                          "t:1:11: target[0].cert: cert and key belong together",
		"target = [{ secret = 'x' }]":                                            "t:1:11: target[0].url: required option is missing",
		"smtp = { server = 'mail' }":                                             "t:1:10: smtp.server: \"mail\" is no host and port such as mail.example.com:587\nt:1:1: smtp.from: \"\" is no address such as nepho@example.com",
		"smtp = { server = 'm:25', from = 'a@b', tls = 'none', username = 'u' }": "t:1:41: smtp.tls: with none everybody on the way can read the password",
		"smtp = { server = 'm:25', from = 'a@b', tls = 'none' }":                 "",

		gnocchi + " }": "",
		gnocchi + ", auth = 'none', username = '' }":                      "",
		gnocchi + ", username = '' }":                                     "t:1:57: gnocchi.username: auth basic needs one, such as admin",
		gnocchi + ", cert = '/x' }":                                       "t:1:57: gnocchi.cert: cert and key belong together",
		gnocchi + ", auth = 'token' }":                                    `t:1:57: gnocchi.auth: "token" is not one of basic, keystone, none`,
		gnocchi + ", timeout = '1h' }":                                    `t:1:57: gnocchi.timeout: "1h" is out of range, allowed are 100ms to 10m`,
		gnocchi + " }\nstorage = 'other'":                                 `t:1:13: gnocchi.url: thresholds are about this Gnocchi or about storage "other", not both: leave one of them out`,
		gnocchi + " }\nstorage = ''":                                      "",
		gnocchi + ", auth = 'keystone' }":                                 "t:1:1: keystone.auth_url: auth keystone needs the URL of Keystone, such as https://keystone:5000/v3\nt:1:1: keystone.username: auth keystone needs a service user, or an application credential",
		gnocchi + ", auth = 'keystone' }\n" + keystone:                    "",
		gnocchi + ", auth = 'keystone' }\nauth = 'keystone'\n" + keystone: "",
		"gnocchi = { password = 'x' }":                                    "t:1:1: gnocchi.url: is missing: the other options say how it is reached, and not where",
		"gnocchi = { url = 'gnocchi.example.com:8041' }":                  "t:1:13: gnocchi.url: is no URL such as https://gnocchi.example.com:8041; who asks belongs to other options",
		"gnocchi = { url = 'http://admin:secret@gnocchi' }":               "t:1:13: gnocchi.url: is no URL such as https://gnocchi.example.com:8041; who asks belongs to other options",
		"gnocchi = { url = 'http://gnocchi/?x=y' }":                       "t:1:13: gnocchi.url: is no URL such as https://gnocchi.example.com:8041; who asks belongs to other options",

		prometheus + ", token = 'x' }":                    "",
		prometheus + ", username = 'x', password = 'y' }": "",
		prometheus + ", username = 'x', token = 'y' }":    "t:1:63: prometheus.token: give a token or a username, not both",
		prometheus + ", password = 'y' }":                 "t:1:1: prometheus.username: a password belongs to a username",
		prometheus + ", key = '/x' }":                     "t:1:1: prometheus.cert: cert and key belong together",
		prometheus + ", project_label = '' }":             "",
		prometheus + ", project_label = 'a-b' }":          `t:1:47: prometheus.project_label: "a-b" is no name of a label, such as project`,
		"prometheus = { ca = '/x' }":                      "t:1:1: prometheus.url: is missing: the other options say how it is reached, and not where",
		"prometheus = { url = 'ftp://prometheus' }":       "t:1:16: prometheus.url: is no URL such as https://prometheus.example.com:9090; who asks belongs to other options",

		"rule = [{ name = 'a', type = 'event', event_rule = {} }]":                              "",
		"rule = [{ name = 'a', type = 'event', event_rule = {} }, { name = 'b' }]":              "t:1:58: rule[1]: Invalid input for field/attribute type. Value: 'None'. Mandatory field missing.",
		"rule = [{ name = 'a', type = 'event', event_rule = {}, state = 'ok' }]":                "t:1:9: rule[0]: state can't be written here: evaluation finds it",
		"rule = [{ name = 'a', type = 'prometheus', prometheus_rule = { query = 'up' } }]":      "t:1:9: rule[0]: Invalid input for field/attribute threshold. Value: 'None'. Mandatory field missing.",
		"rule = [{ name = 'a', type = 'event', event_rule = {}, alarm_actions = ['ftp://x'] }]": "t:1:9: rule[0]: Unsupported action ftp://x",
		"rule = [{ name = 'a', type = 'event', event_rule = {}, description = nan }]":           "t:1:9: rule[0]: it has a value that JSON does not know: json: unsupported value: NaN",
	} {
		if got := problems(t, toml); got != want {
			t.Errorf("%s\n got: %s\nwant: %s", toml, got, want)
		}
	}
}

const keystone = "keystone = { auth_url = 'https://keystone:5000/v3', username = 'nepho', password = 'x' }"

// Examples can be taken as they are: the sample, also with all options that it shows, and
// the configuration that is shipped.
func TestExamples(t *testing.T) {
	shipped, err := os.ReadFile("../../conf/alarms.toml")
	if err != nil {
		t.Fatal(err)
	}
	option := regexp.MustCompile(`(?m)^# (\[|[a-z_]+ *= )`)
	n := 0
	for name, text := range map[string]string{
		"sample.toml": sample, "all of sample.toml": option.ReplaceAllString(sample, "$1"),
		"conf/alarms.toml": string(shipped), "all of conf/alarms.toml": option.ReplaceAllString(string(shipped), "$1"),
	} {
		table, list := config.Parse(name, []byte(text))
		if len(list) > 0 {
			t.Fatal(list)
		}
		for _, instance := range table.Get("alarm").Table.Get("evaluator").List {
			e := &evaluator{}
			if list := instance.Table.Decode(e); len(list) > 0 {
				t.Errorf("%s: %v", name, list)
			}
			n += len(e.Rules)
		}
	}
	if n != 2 {
		t.Errorf("the examples have %d alarms", n)
	}
}
