package influxdb

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/nephoscope/nepho/sdk"
)

// maxAnswer is how much of an answer is read. InfluxDB 1.x quotes each line that
// it cannot parse; the beginning and the end of that say enough.
const maxAnswer = 1 << 20

// client makes requests, one at a time, over a connection that it keeps.
type client struct {
	// transport is used as it is: it follows no redirects, which would send the
	// credentials to who knows whom, and its errors show no URL.
	transport *http.Transport

	log      *slog.Logger
	write    string // URL
	shown    string // the server's URL as errors may show it
	query    string // URL to create the database at; empty if that is not wanted
	database string
	header   http.Header
	timeout  time.Duration

	gzip       *gzip.Writer // nil: no compression
	compressed bytes.Buffer
}

func newClient(p *influxdb, log *slog.Logger) (*client, error) {
	base, err := url.Parse(p.URL)
	if err != nil {
		return nil, errors.New("url cannot be parsed") // it is not quoted: it may hold a secret
	}
	tlsConfig, err := p.TLS.config()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: p.ConnectTimeout}).DialContext,
		TLSHandshakeTimeout: p.ConnectTimeout,
		TLSClientConfig:     tlsConfig,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: 1,
		DisableCompression:  true,
	}
	if p.Proxy != "" {
		proxy, err := url.Parse(p.Proxy)
		if err != nil {
			return nil, errors.New("proxy cannot be parsed")
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	c := &client{
		transport: transport,
		log:       log,
		shown:     base.Scheme + "://" + base.Host,
		timeout:   p.RequestTimeout,
		header: http.Header{
			"User-Agent": {"nepho"}, "Content-Type": {"text/plain; charset=utf-8"},
			// Without values it is not sent, but has the transport try again when a kept
			// connection turns out to be closed: points that come twice change nothing.
			"Idempotency-Key": {},
		},
	}
	parameters := base.Query()
	set := func(key, value string) {
		if value != "" {
			parameters.Set(key, value)
		}
	}
	set("precision", "ns")
	path := "write"
	if p.Bucket != "" {
		path = "api/v2/write"
		set("org", p.Org)
		set("bucket", p.Bucket)
	} else {
		set("db", p.Database)
		set("rp", p.RetentionPolicy)
		set("consistency", p.Consistency)
		if p.CreateDatabase {
			c.query, c.database = base.JoinPath("query").String(), p.Database
		}
	}
	target := base.JoinPath(path)
	target.RawQuery = parameters.Encode()
	c.write = target.String()
	switch {
	case p.Token != "":
		c.header.Set("Authorization", "Token "+p.Token)
	case p.Username != "":
		c.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(p.Username+":"+p.Password)))
	}
	if p.Gzip {
		c.header.Set("Content-Encoding", "gzip")
		c.gzip, err = gzip.NewWriterLevel(&c.compressed, gzip.BestSpeed)
	}
	for name, value := range p.Headers {
		c.header.Set(name, value)
	}
	return c, err
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// rejected is the error of a request that the server understood, but of which it
// takes some or all lines not.
type rejected struct {
	reason string
	// dropped is how many lines were refused, as far as the server told.
	dropped int
	// foreign says that the answer does not read as if from such a server.
	foreign bool
}

func (r *rejected) Error() string { return r.reason }

var errTooLarge = errors.New("the server takes no request of this size")

// Pauses where only a person can help.
const (
	deniedPause  = time.Minute
	missingPause = 30 * time.Second
	longestPause = 10 * time.Minute // that a server may ask for
)

// writeLines sends the text, which may be reused afterwards. The error is nil if
// all of it was taken, a *rejected or errTooLarge if that is a matter of the
// text, and otherwise what asks the host to come again.
func (c *client) writeLines(ctx context.Context, text []byte) error {
	body := text
	if c.gzip != nil {
		c.compressed.Reset()
		c.gzip.Reset(&c.compressed)
		if _, err := c.gzip.Write(text); err != nil {
			return fmt.Errorf("cannot compress: %w", err)
		}
		if err := c.gzip.Close(); err != nil {
			return fmt.Errorf("cannot compress: %w", err)
		}
		body = c.compressed.Bytes()
	}
	answer, err := c.post(ctx, c.write, body, c.header)
	if err != nil {
		return err
	}
	if answer.status == http.StatusNotFound && c.query != "" && strings.Contains(answer.message, "database not found") {
		if err := c.createDatabase(ctx); err != nil {
			return err
		}
		if answer, err = c.post(ctx, c.write, body, c.header); err != nil {
			return err
		}
	}
	return c.judge(answer)
}

// judge makes an error of what the server answered to lines.
func (c *client) judge(a *answer) error {
	switch code := a.status; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusBadRequest || code == http.StatusUnprocessableEntity:
		return &rejected{reason: fmt.Sprintf("%s answered %d: %s", c.shown, code, a.short()), dropped: a.dropped(), foreign: !a.isInflux}
	case code == http.StatusRequestEntityTooLarge:
		return errTooLarge
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return sdk.RetryAfter(fmt.Errorf("%s denies access: %d: %s; check username and password, or token", c.shown, code, a.short()), deniedPause)
	case code == http.StatusNotFound:
		return sdk.RetryAfter(fmt.Errorf("%s does not find what is written to: %s; check url, database and bucket", c.shown, a.short()), missingPause)
	case code >= 300 && code < 400:
		return sdk.RetryAfter(fmt.Errorf("%s redirects to %s, which is not followed; put the right address into url", c.shown, a.location), missingPause)
	default:
		err := fmt.Errorf("%s answered %d: %s", c.shown, code, a.short())
		if a.retryAfter > 0 {
			return sdk.RetryAfter(err, min(a.retryAfter, longestPause))
		}
		return err
	}
}

// createDatabase makes the database. Making one that is there changes nothing.
func (c *client) createDatabase(ctx context.Context) error {
	name := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(c.database)
	form := url.Values{"q": {`CREATE DATABASE "` + name + `"`}}
	header := c.header.Clone()
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	header.Del("Content-Encoding")
	answer, err := c.post(ctx, c.query, []byte(form.Encode()), header)
	if err != nil {
		return fmt.Errorf("cannot create database %q: %w", c.database, err)
	}
	if answer.status != http.StatusOK || answer.message != "" {
		return sdk.RetryAfter(fmt.Errorf("cannot create database %q: %s answered %d: %s; create it by hand, or let the user do so",
			c.database, c.shown, answer.status, answer.short()), missingPause)
	}
	c.log.Info("created the database", "database", c.database)
	return nil
}

// post makes a request. When it returns, nobody reads body any more.
func (c *client) post(ctx context.Context, to string, body []byte, header http.Header) (*answer, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	shared := &source{bytes: body}
	defer shared.revoke()
	request, err := http.NewRequestWithContext(limited, http.MethodPost, to, &sourceReader{source: shared})
	if err != nil {
		return nil, fmt.Errorf("cannot make a request to %s", c.shown)
	}
	request.Header = header
	request.ContentLength = int64(len(body))
	// For when it is tried again.
	request.GetBody = func() (io.ReadCloser, error) { return &sourceReader{source: shared}, nil }
	response, err := c.transport.RoundTrip(request)
	if err == nil {
		var a *answer
		a, err = readAnswer(response)
		response.Body.Close()
		if err == nil {
			return a, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("no answer from %s within %v", c.shown, c.timeout)
	default:
		return nil, fmt.Errorf("cannot write to %s: %w", c.shown, err)
	}
}

// source is a request's body. After an early answer the transport may go on
// reading it, while its memory serves the next request: revoke ends that.
type source struct {
	mu    sync.Mutex
	bytes []byte
	over  bool
}

func (s *source) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

type sourceReader struct {
	*source
	at int
}

func (r *sourceReader) Read(to []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.over:
		return 0, errors.New("the request is over")
	case r.at == len(r.bytes):
		return 0, io.EOF
	}
	n := copy(to, r.bytes[r.at:])
	r.at += n
	return n, nil
}

func (r *sourceReader) Close() error { return nil }

// answer is what a server answered.
type answer struct {
	status     int
	message    string
	isInflux   bool // the message is in a form of InfluxDB's
	retryAfter time.Duration
	location   string
}

func readAnswer(r *http.Response) (*answer, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	a := &answer{status: r.StatusCode, retryAfter: retryAfter(r.Header.Get("Retry-After"), time.Now())}
	if u, err := r.Location(); err == nil {
		a.location = u.Scheme + "://" + u.Host
	}
	a.message, a.isInflux = messageOf(body)
	if a.message == "" {
		a.message = r.Header.Get("X-Influxdb-Error")
	}
	return a, nil
}

// messageOf finds the message in an answer's body: 1.x has it in error, also in
// the results of queries, 2.x in message.
func messageOf(body []byte) (message string, isInflux bool) {
	var m struct {
		Error   string
		Message string
		Results []struct{ Error string }
	}
	if json.Unmarshal(body, &m) != nil {
		return strings.TrimSpace(string(body)), false
	}
	message = m.Error
	if m.Message != "" {
		message = m.Message
	}
	for _, r := range m.Results {
		if message == "" {
			message = r.Error
		}
	}
	return message, message != ""
}

// short gives the message for people.
func (a *answer) short() string {
	const most = 300
	message := a.message
	if len(message) > most {
		message = message[:most/2] + " ... " + message[len(message)-most/2:]
	}
	if message == "" {
		return http.StatusText(a.status)
	}
	return strings.ToValidUTF8(message, "")
}

// dropped reads how many lines a partial write left out: "... dropped=3".
func (a *answer) dropped() int {
	i := strings.LastIndex(a.message, "dropped=")
	if i < 0 || !strings.Contains(a.message, "partial write") {
		return 0
	}
	var n int
	if _, err := fmt.Sscanf(a.message[i:], "dropped=%d", &n); err != nil || n < 0 {
		return 0
	}
	return n
}

// retryAfter reads the header of that name: seconds or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := time.ParseDuration(value + "s"); err == nil && seconds > 0 {
		return seconds
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
