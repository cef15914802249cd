package integration

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/nephoscope/nepho/integration/parts"
)

// loads are the series load{project="..."} of a Prometheus. They are written to it: those
// that it scrapes end whenever a busy machine is too slow for a scrape.
type loads struct {
	server *parts.PrometheusServer
	values map[string]float64 // by project
	at     int64              // of the newest points, in milliseconds since 1970
}

// set gives the series of projects new points, and ends those of others.
func (l *loads) set(t *testing.T, values map[string]float64) {
	t.Helper()
	l.at = max(l.at+1, time.Now().UnixMilli())
	var request prompb.WriteRequest
	add := func(project string, v float64) {
		request.Timeseries = append(request.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: "load"}, {Name: "project", Value: project}},
			Samples: []prompb.Sample{{Value: v, Timestamp: l.at}},
		})
	}
	for project := range l.values {
		if _, goesOn := values[project]; !goesOn {
			add(project, math.Float64frombits(value.StaleNaN))
		}
	}
	for project, v := range values {
		add(project, v)
	}
	l.values = values
	raw, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client().Post(l.server.URL+"/api/v1/write", "application/x-protobuf", bytes.NewReader(snappy.Encode(nil, raw)))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		t.Fatalf("Prometheus takes no points: %s", answer.Status)
	}
}

// Alarms are about a Prometheus, of which others than administrators see their project's
// series only.
func TestAlarmsAboutPrometheus(t *testing.T) {
	t.Parallel()
	prometheus := parts.Prometheus(t, parts.PrometheusOptions{})
	load := loads{server: prometheus}
	hook := newWebhook(t, 0)
	strict := &alarmAgent{aodh: fmt.Sprintf("http://127.0.0.1:%d", parts.FreePort(t))}
	const users = "auth = 'basic'\nbasic = { users = { chief = 'c', alice = 'a', mallory = 'm' }, admins = ['chief'] }\n"
	a := &alarmAgent{aodh: fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))}
	a.Agent = StartAgent(t, fmt.Sprintf(`[[alarm.evaluator]]
listen = '%s'
storage = ''
evaluation_interval = '1s'
prometheus = { url = '%s/' }
%s[[alarm.evaluator]]
name = 'strict'
listen = '%s'
storage = ''
evaluation_interval = '1s'
prometheus = { url = '%[2]s', project_label = '' }
%[3]s`, a.aodh, prometheus.URL, users, strings.TrimPrefix(strict.aodh, "http://")))
	a.aodh, strict.Agent = "http://"+a.aodh, a.Agent
	chief, alice, mallory := person{user: "chief", password: "c"}, person{user: "alice", password: "a"}, person{user: "mallory", password: "m"}
	hooks := fmt.Sprintf(`, "ok_actions": [%[1]q], "alarm_actions": [%[1]q], "insufficient_data_actions": [%[1]q]`, hook.URL)
	make := func(p person, at *alarmAgent, query string) string {
		t.Helper()
		var made shown
		code, text, err := p.ask("POST", at.aodh+"/v2/alarms", rule(query, "prometheus", fmt.Sprintf(`{"query": %q, %s}`, query, over50), hooks))
		if err != nil || code != http.StatusCreated || json.Unmarshal([]byte(text), &made) != nil {
			t.Fatalf("%d: %s %v", code, text, err)
		}
		return made.ID
	}
	state := func(p person, at *alarmAgent, id string) (s shown) {
		t.Helper()
		code, text, err := p.ask("GET", at.aodh+"/v2/alarms/"+id, "")
		if err != nil || code != http.StatusOK || json.Unmarshal([]byte(text), &s) != nil {
			t.Fatalf("%d: %s %v", code, text, err)
		}
		return s
	}
	var told []string
	alarms := []string{ // whose states go together
		make(chief, a, "sum(load)"), make(chief, a, `load{project="alice"} * 1`), make(chief, strict, "max(load)"),
		make(alice, a, "load"), make(alice, a, `sum({__name__=~"load|other"})`), make(alice, a, `max_over_time(load{project=~".*"}[1s:200ms])`), make(alice, a, "load + scalar(vector(0))"),
	}
	expect := func(want string) {
		t.Helper()
		told = append(told, want)
		for i, id := range alarms {
			Eventually(t, fmt.Sprintf("the webhook is told of %q", told), func() error {
				if got := hook.toldStates(id); !slices.Equal(got, told) {
					return fmt.Errorf("of alarm %d it is told of %q", i, got)
				}
				return nil
			})
		}
	}
	// Of mallory's series there are only small ones; those of others are none.
	load.set(t, map[string]float64{"alice": 100, "mallory": 1})
	own := make(mallory, a, "load")
	expect("alarm")
	load.set(t, map[string]float64{"alice": 2, "mallory": 1})
	expect("ok")
	Eventually(t, "one has a state by one's own series", func() error {
		if s := state(mallory, a, own); s.State != "ok" || !strings.Contains(s.Reason, "most recent: 1.0") {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	load.set(t, map[string]float64{"alice": 100, "mallory": 1})
	expect("alarm")

	// What has no values says why, once its state was another one; and the log says once
	// what is wrong with an expression.
	for _, f := range []struct {
		p            person
		at           *alarmAgent
		query, want  string
		isTold, once string // in the log
	}{
		{mallory, a, `load{project="alice"}`, "datapoints are unknown", "", ""},
		{mallory, a, `load{project!="mallory"}`, "datapoints are unknown", "", ""},
		{mallory, a, `load{project="x"} or load{project="alice"}`, "datapoints are unknown", "", ""},
		{mallory, a, `absent(load{project="alice"}) * 0 > 1 or load{project=~"alice"}`, "datapoints are unknown", "", ""},
		{mallory, strict, "load", "only alarms of administrators may ask Prometheus here: there is no project_label", "what an alarm asks for is refused", "no project_label"},
		{chief, a, `"text"`, "and not numbers", "what an alarm asks for is refused", "not numbers"},
		{chief, a, "load * on () group_left () load", "Prometheus answers 422: ", "what an alarm asks for is refused", "many-to-many"},
		{chief, a, "nothing", "datapoints are unknown", "", ""},
	} {
		id := make(f.p, f.at, f.query)
		if code, text, err := f.p.ask("PUT", f.at.aodh+"/v2/alarms/"+id+"/state", `"ok"`); err != nil || code != http.StatusOK {
			t.Fatalf("%d: %s %v", code, text, err)
		}
		Eventually(t, "the alarm has no data", func() error {
			if s := state(f.p, f.at, id); s.State != "insufficient data" || !strings.Contains(s.Reason, f.want) {
				return fmt.Errorf("%s: %+v", f.query, s)
			}
			return nil
		})
		if f.isTold != "" {
			a.AwaitLog("alarm=" + id) // the log arrives by another way than the state
		}
		lines := 0
		for l := range strings.Lines(a.Log()) {
			if strings.Contains(l, "alarm="+id) {
				lines++
				if f.isTold == "" || !strings.Contains(l, f.isTold) || !strings.Contains(l, f.once) {
					t.Errorf("%s: the log has %s", f.query, l)
				}
			}
		}
		if (f.isTold != "") != (lines == 1) {
			t.Errorf("%s: the log has %d lines of it", f.query, lines)
		}
	}

	// Series that end, and a Prometheus that goes, are no data; both come back.
	load.set(t, map[string]float64{"mallory": 1})
	// The sum and the maximum of all have values, and the past has.
	alarms = slices.Concat(alarms[1:2], alarms[3:5], alarms[6:])
	expect("insufficient data")
	load.set(t, map[string]float64{"alice": 2, "mallory": 1})
	expect("ok")
	prometheus.Kill9()
	expect("insufficient data")
	for _, id := range alarms {
		if s := state(chief, a, id); !strings.Contains(s.Reason, "cannot ask Prometheus at "+prometheus.URL) {
			t.Errorf("the reason is %q", s.Reason)
		}
	}
	prometheus.Start()
	expect("ok")
	load.set(t, map[string]float64{"alice": 100, "mallory": 1})
	expect("alarm")
	for _, instance := range []string{"evaluator", "strict"} {
		for _, text := range []string{"fails; it is tried again and again", "works again"} {
			told := func() (lines int) {
				for l := range strings.Lines(a.Log()) {
					if strings.Contains(l, "asking for PromQL "+text) && strings.Contains(l, "instance="+instance) {
						lines++
					}
				}
				return lines
			}
			Eventually(t, fmt.Sprintf("it is told of %s that PromQL %s", instance, text), func() error { return want(told() > 0, "it is not") })
			if n := told(); n != 1 {
				t.Errorf("that PromQL %s is told %d times of %s", text, n, instance)
			}
		}
	}
}

// A Prometheus is asked by https, with whatever it wants to know who asks.
func TestPrometheusCredentials(t *testing.T) {
	t.Parallel()
	mine, foreign := parts.NewCertificates(t), parts.NewCertificates(t)
	byPassword := parts.Prometheus(t, parts.PrometheusOptions{Certificates: &mine, User: "nepho", Password: "secret"})
	byCertificate := parts.Prometheus(t, parts.PrometheusOptions{Certificates: &mine, ClientCertificate: true})
	byToken := bearerProxy(t, byPassword.URL, mine, "nepho", "secret", "t0ken")
	hook := newWebhook(t, 0)
	var config strings.Builder
	cases := []struct{ name, prometheus, complaint string }{
		{"password", fmt.Sprintf("url = '%s', ca = '%s', username = 'nepho', password = 'secret'", byPassword.URL, mine.CA), ""},
		{"insecure", fmt.Sprintf("url = '%s', insecure = true, username = 'nepho', password = 'secret'", byPassword.URL), ""},
		{"certificate", fmt.Sprintf("url = '%s', ca = '%s', cert = '%s', key = '%s'", byCertificate.URL, mine.CA, mine.ClientCert, mine.ClientKey), ""},
		{"token", fmt.Sprintf("url = '%s/below', ca = '%s', token = 't0ken'", byToken, mine.CA), ""},
		{"badpassword", fmt.Sprintf("url = '%s', ca = '%s', username = 'nepho', password = 'guess'", byPassword.URL, mine.CA), `Prometheus answers 401: Unauthorized; set who asks in the options`},
		{"badtoken", fmt.Sprintf("url = '%s/below', ca = '%s', token = 'guess'", byToken, mine.CA), `Prometheus answers 401: .*; set who asks in the options`},
		{"badca", fmt.Sprintf("url = '%s', ca = '%s', username = 'nepho', password = 'secret'", byPassword.URL, foreign.CA), `certificate signed by unknown authority.*; set ca to the PEM file`},
		{"noca", fmt.Sprintf("url = '%s', username = 'nepho', password = 'secret'", byPassword.URL), `certificate signed by unknown authority.*; set ca to the PEM file`},
		{"nocertificate", fmt.Sprintf("url = '%s', ca = '%s'", byCertificate.URL, mine.CA), `; if it wants a client certificate, set cert and key`},
		{"badcertificate", fmt.Sprintf("url = '%s', ca = '%s', cert = '%s', key = '%s'", byCertificate.URL, mine.CA, foreign.ClientCert, foreign.ClientKey), `; if it wants a client certificate, set cert and key`},
		{"plain", fmt.Sprintf("url = '%s'", strings.Replace(byPassword.URL, "https:", "http:", 1)), `Prometheus answers 400: Client sent an HTTP request to an HTTPS server.*; look whether url is right`},
	}
	for _, c := range cases {
		fmt.Fprintf(&config, "[[alarm.evaluator]]\nname = '%s'\nlisten = ''\nstorage = ''\nevaluation_interval = '1s'\nprometheus = { %s }\n", c.name, c.prometheus)
		fmt.Fprintf(&config, "rule = [{ name = 'one', type = 'prometheus', alarm_actions = ['%s/%s'], prometheus_rule = { query = 'vector(60)', comparison_operator = 'gt', threshold = 50 } }]\n", hook.URL, c.name)
	}
	a := StartAgent(t, config.String())
	for _, c := range cases {
		if c.complaint != "" {
			a.AwaitLog(`asking for PromQL fails;.*` + c.complaint + `.*instance=` + c.name + `|asking for PromQL fails;.*instance=` + c.name + `.*` + c.complaint)
			continue
		}
		Eventually(t, "the webhook is told by "+c.name, func() error {
			if !slices.ContainsFunc(hook.got(""), func(n told) bool { return n.path == "/"+c.name }) {
				return errNot
			}
			return nil
		})
	}
	for _, n := range hook.got("") {
		for _, c := range cases {
			if n.path == "/"+c.name && c.complaint != "" {
				t.Errorf("%s: the webhook is told of %s", c.name, n.Current)
			}
		}
	}
	for _, secret := range []string{"secret", "guess", "t0ken"} {
		if strings.Contains(a.Log(), secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
}

// bearerProxy is a proxy in front of a Prometheus, below the path /below, that wants a token.
func bearerProxy(t *testing.T, to string, c parts.Certificates, user, password, token string) string {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.SetBasicAuth(user, password) },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.Pool(t)}, DisableKeepAlives: true},
	}
	s := httptest.NewUnstartedServer(http.StripPrefix("/below", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "no such token", http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	})))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}
