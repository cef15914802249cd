package cli

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nephoscope/nepho/agent/config"
)

// The commands on metrics, measures and resources are clients of the aggregator's
// HTTP API, which is Gnocchi's: they work with a Gnocchi, too. Those on alarms are
// clients of the alarm plugin's, which is Aodh's.

// service is who is asked.
type service struct {
	kind         string
	plugin, what string
	address      string // where it listens if the configuration does not say
}

var (
	theAggregator = service{config.Storage, "aggregator", "aggregator", "127.0.0.1:8041"}
	theAlarms     = service{config.Alarm, "evaluator", "alarm evaluator", "127.0.0.1:8042"}
)

// clientHelp ends the help of each of these commands.
const clientHelp = `
The aggregator is asked through its HTTP API: at the address that the
configuration's [[storage.aggregator]] listens on, or at --url. Who asks is --user,
or the one whose Keystone token is in NEPHO_TOKEN or OS_TOKEN.`

// client asks the API.
type client struct {
	a       *App
	command string // for messages
	of      service
	http    *http.Client
	base    string
	header  http.Header
}

// clientFlags are the options of all commands that ask the API.
type clientFlags struct {
	of             service
	file           *string
	url, user, ca  string
	insecure, json bool
	timeout        time.Duration
}

func addClientFlags(flags *flag.FlagSet) *clientFlags { return addFlagsOf(theAggregator, flags) }

func addFlagsOf(of service, flags *flag.FlagSet) *clientFlags {
	f := &clientFlags{of: of, file: configFlag(flags)}
	flags.StringVar(&f.url, "url", os.Getenv("NEPHO_URL"), "`address` of the API, such as http://"+of.address+"; that of the configuration if not set")
	flags.StringVar(&f.user, "user", os.Getenv("NEPHO_USER"), "`name` or name:password to ask as; admin where the API wants a name")
	flags.StringVar(&f.ca, "ca", "", "PEM `file` with authorities to trust besides the system's")
	flags.BoolVar(&f.insecure, "insecure", false, "do not check the certificate of the API")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "how long to wait for an answer")
	flags.BoolVar(&f.json, "json", false, "print what the API answers")
	return f
}

// ask makes the client of a command, and tells what is in the way.
func (a *App) ask(command string, f *clientFlags) (*client, bool) {
	c, err := newClient(f)
	if err != nil {
		fmt.Fprintf(a.Stderr, "%s: %v\n", command, err)
		return nil, false
	}
	c.a, c.command = a, command
	return c, true
}

func newClient(f *clientFlags) (*client, error) {
	c := &client{of: f.of, base: f.url, header: http.Header{}}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	user := f.user
	if c.base == "" {
		loaded, _ := config.Load(config.Options{File: *f.file})
		at, err := apiOf(loaded, f.of)
		if err != nil {
			return nil, err
		}
		c.base = at.url
		if user == "" && at.auth == "basic" {
			user = "admin"
		}
		if pem, err := os.ReadFile(at.certificate); err == nil {
			roots.AppendCertsFromPEM(pem) // it is this machine's own
		}
	}
	if !strings.Contains(c.base, "://") {
		c.base = "http://" + c.base
	}
	if u, err := url.Parse(c.base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no address such as http://127.0.0.1:8041", c.base)
	}
	c.base = strings.TrimSuffix(c.base, "/")
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("cannot read the authorities: %w", err)
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", f.ca)
		}
	}
	token := os.Getenv("NEPHO_TOKEN")
	if token == "" {
		token = os.Getenv("OS_TOKEN")
	}
	switch {
	case user != "":
		name, password, _ := strings.Cut(user, ":")
		r := http.Request{Header: c.header}
		r.SetBasicAuth(name, password)
	case token != "":
		c.header.Set("X-Auth-Token", token)
	}
	c.http = &http.Client{Timeout: f.timeout, Transport: &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{RootCAs: roots, InsecureSkipVerify: f.insecure, MinVersion: tls.VersionTLS12},
	}}
	return c, nil
}

// place is where an instance serves its API.
type place struct{ url, auth, certificate string }

// apiOf gives the place of the first instance of a service in a configuration; the
// default one if there is none.
func apiOf(c *config.Config, of service) (place, error) {
	p := place{url: "http://" + of.address, auth: "basic"}
	for _, i := range c.Instances {
		if i.Kind != of.kind || i.Plugin != of.plugin {
			continue
		}
		option := func(name string) string {
			t := i.Options
			for {
				table, rest, deeper := strings.Cut(name, ".")
				v := t.Get(table)
				if v == nil {
					return ""
				}
				if !deeper {
					return v.Str
				}
				t, name = v.Table, rest
			}
		}
		if a := option("auth"); a != "" {
			p.auth = a
		}
		scheme := "http"
		if p.certificate = option("tls.cert"); p.certificate != "" {
			scheme = "https"
		}
		address := of.address
		if i.Options.Get("listen") != nil {
			address = option("listen")
		}
		if address == "" {
			return p, fmt.Errorf("%s serves no API: its option listen is empty", i.Name)
		}
		// What listens on all addresses does so on loopback, too.
		if host, port, err := net.SplitHostPort(address); err == nil && (host == "" || host == "0.0.0.0" || host == "::") {
			address = net.JoinHostPort("127.0.0.1", port)
		}
		p.url = scheme + "://" + address
		if prefix := strings.Trim(option("url_prefix"), "/"); prefix != "" {
			p.url += "/" + prefix
		}
		return p, nil
	}
	return p, nil
}

// maxAnswer is the most bytes of an answer.
const maxAnswer = 1 << 30

// do asks, and decodes the answer into `into` unless that is nil. The raw answer is
// returned, too.
func (c *client) do(method, path string, query url.Values, body, into any) (raw []byte, header http.Header, err error) {
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var send io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, nil, err
		}
		send = bytes.NewReader(data)
	}
	r, err := http.NewRequest(method, address, send)
	if err != nil {
		return nil, nil, err
	}
	r.Header = c.header.Clone()
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if method != http.MethodDelete { // to which the answer is nothing, which Gnocchi does not call JSON
		r.Header.Set("Accept", "application/json")
	}
	answer, err := c.http.Do(r)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return nil, nil, fmt.Errorf("no %s answers at %s: %w", c.of.what, c.base, err)
	}
	defer answer.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("the answer broke off: %w", err)
	}
	if answer.StatusCode >= 300 {
		return nil, nil, refusal(answer.StatusCode, raw)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			return nil, nil, fmt.Errorf("what answers at %s is no %s: %w", c.base, c.of.what, err)
		}
	}
	return raw, answer.Header, nil
}

// refusal says why a request was refused, in the API's own words.
func refusal(code int, body []byte) error {
	var told struct {
		Description any `json:"description"` // Gnocchi's form
		Message     struct {
			Text string `json:"faultstring"`
		} `json:"error_message"` // Aodh's
	}
	if json.Unmarshal(body, &told) == nil && told.Description != nil {
		return fmt.Errorf("%d %s: %s", code, http.StatusText(code), describe(told.Description))
	}
	if told.Message.Text != "" && code != http.StatusUnauthorized {
		return fmt.Errorf("%d %s: %s", code, http.StatusText(code), told.Message.Text)
	}
	if code == http.StatusUnauthorized {
		return errors.New("401 Unauthorized: say who asks with --user NAME:PASSWORD, or with a token in NEPHO_TOKEN")
	}
	return fmt.Errorf("%d %s", code, http.StatusText(code))
}

// describe writes a description, which is a text or cause, reason and detail.
func describe(d any) string {
	m, ok := d.(map[string]any)
	if !ok {
		return fmt.Sprint(d)
	}
	var parts []string
	for _, key := range []string{"cause", "reason", "detail"} {
		switch v := m[key].(type) {
		case nil:
		case string:
			parts = append(parts, v)
		default:
			if data, err := json.Marshal(v); err == nil && string(data) != "[]" {
				parts = append(parts, string(data))
			}
		}
	}
	return strings.Join(parts, ": ")
}

// fail tells an error and gives the exit code.
func (c *client) fail(err error) int {
	fmt.Fprintf(c.a.Stderr, "%s: %v\n", c.command, err)
	return exitFailed
}

// pages asks for a list page by page until there are so many entries; 0 is all.
func (c *client) pages(method, path string, query url.Values, limit int, body any) (all []json.RawMessage, err error) {
	const page = 1000
	for {
		n := page
		if limit > 0 {
			n = min(page, limit-len(all))
		}
		query.Set("limit", fmt.Sprint(n))
		var part []json.RawMessage
		_, header, err := c.do(method, path, query, body, &part)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		next := nextMarker(header)
		if len(part) == 0 || next == "" || limit > 0 && len(all) >= limit {
			return all, nil
		}
		query.Set("marker", next)
	}
}

// nextMarker gives the marker in the header Link, "" if there is no next page.
func nextMarker(h http.Header) string {
	for _, link := range h.Values("Link") {
		address, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
		if !strings.Contains(rest, `rel="next"`) {
			continue
		}
		if u, err := url.Parse(address); err == nil {
			return u.Query().Get("marker")
		}
	}
	return ""
}

// table writes a list: as it came, or as a table made of its entries.
func table[T any](c *client, list []json.RawMessage, asJSON bool, heads string, row func(T) []string) int {
	if asJSON {
		return c.json(list)
	}
	w := tabwriter.NewWriter(c.a.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, heads)
	for _, raw := range list {
		var entry T
		if err := json.Unmarshal(raw, &entry); err != nil {
			return c.fail(fmt.Errorf("what answers at %s is no %s: %w", c.base, c.of.what, err))
		}
		fmt.Fprintln(w, strings.Join(row(entry), "\t"))
	}
	w.Flush()
	return exitOK
}

// json writes a value in several lines.
func (c *client) json(v any) int {
	if list, ok := v.([]json.RawMessage); ok && list == nil {
		v = []json.RawMessage{}
	}
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return c.fail(err)
	}
	fmt.Fprintf(c.a.Stdout, "%s\n", data)
	return exitOK
}

// fields writes names and values in two columns, and leaves out what has no value.
func (c *client) fields(pairs ...string) int {
	w := tabwriter.NewWriter(c.a.Stdout, 0, 4, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", pairs[i], pairs[i+1])
		}
	}
	w.Flush()
	return exitOK
}
