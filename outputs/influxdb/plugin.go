// Package influxdb is the publisher that writes to whatever takes InfluxDB's line
// protocol over HTTP: InfluxDB 1.x and 2.x, VictoriaMetrics and others.
//
// A batch becomes requests of a bounded size (encode.go), each is sent and its
// answer understood (client.go), and what the server refuses is narrowed down to
// the rows it is about (delivery.go).
package influxdb

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the publisher.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:      "influxdb",
		Summary:   "Writes samples and events to InfluxDB 1.x or 2.x, VictoriaMetrics and others in line protocol over HTTP",
		Sample:    sample,
		Publisher: func() sdk.Publisher { return &influxdb{} },
	}
}

// influxdb is an instance: its options, and what Start makes of them.
type influxdb struct {
	URL string `toml:"url" default:"http://127.0.0.1:8086" doc:"Where the server listens; a path is put before that of the API."`

	Database        string `toml:"database" doc:"InfluxDB 1.x: database to write to; nepho if no bucket is given."`
	RetentionPolicy string `toml:"retention_policy" doc:"InfluxDB 1.x: retention policy; the database's default one if empty."`
	Consistency     string `toml:"consistency" enum:"any|one|quorum|all" doc:"InfluxDB Enterprise: write consistency."`
	CreateDatabase  bool   `toml:"create_database" default:"true" doc:"InfluxDB 1.x: create the database when the server says that it is not there."`
	Username        string `toml:"username" doc:"User for basic authentication."`
	Password        string `toml:"password" secret:"true" doc:"Password of the user."`

	Bucket string `toml:"bucket" doc:"InfluxDB 2.x: bucket to write to. Selects the 2.x API."`
	Org    string `toml:"org" doc:"InfluxDB 2.x: organization that owns the bucket."`
	Token  string `toml:"token" secret:"true" doc:"InfluxDB 2.x: API token."`

	Measurement  string   `toml:"measurement" default:"{meter}" doc:"Measurement of a sample; {meter}, {type} and {unit} are replaced."`
	Tags         []string `toml:"sample_tags" default:"resource_id,project_id,user_id,source,unit" enum:"resource_id|project_id|user_id|source|unit|type|meter" doc:"Properties of a sample that become tags."`
	MetadataTags []string `toml:"metadata_tags" doc:"Globs of resource metadata that become tags; nested keys are written with dots."`

	Events           bool     `toml:"events" default:"true" doc:"Write events, too; false leaves them out."`
	EventMeasurement string   `toml:"event_measurement" default:"events" doc:"Measurement of events."`
	EventTags        []string `toml:"event_tags" default:"resource_id" doc:"Globs of traits that become tags; all others become fields."`

	Gzip           bool              `toml:"gzip" default:"true" doc:"Compress requests."`
	MaxLines       int               `toml:"max_lines" default:"5000" min:"1" max:"100000" doc:"Lines of one request at most."`
	MaxBytes       config.Size       `toml:"max_bytes" default:"8MiB" min:"1KiB" max:"256MiB" doc:"Bytes of one request at most, before compression."`
	RequestTimeout time.Duration     `toml:"request_timeout" default:"10s" min:"1ms" doc:"How long a request may take from its first byte to the end of its answer."`
	ConnectTimeout time.Duration     `toml:"connect_timeout" default:"5s" min:"1ms" doc:"How long connecting, and TLS on top, may take each."`
	Headers        map[string]string `toml:"headers" secret:"true" doc:"More HTTP headers of each request."`
	Proxy          string            `toml:"proxy" secret:"true" doc:"URL of an HTTP proxy. Proxy variables of the environment are not heeded."`
	TLS            tlsOptions        `toml:"tls" doc:"For https."`

	client  *client
	encoder *encoder
}

// Validate implements the check of options.
func (p *influxdb) Validate() error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, config.KeyError(key, format, args...))
	}
	// A URL that cannot be parsed may hold a password all the same: the parser's
	// own message, which quotes it, stays here.
	u, err := url.Parse(p.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		wrong("url", "is not a URL such as \"http://127.0.0.1:8086\"")
	case u.User != nil:
		wrong("url", "holds credentials; give them with the options username and password, or token")
	}
	if p.Proxy != "" {
		if u, err := url.Parse(p.Proxy); err != nil || u.Host == "" {
			wrong("proxy", "is not a URL such as \"http://proxy:3128\"")
		}
	}
	if p.Bucket == "" {
		for _, o := range []struct{ key, value string }{{"org", p.Org}, {"token", p.Token}} {
			if o.value != "" {
				wrong(o.key, "belongs to the API of InfluxDB 2.x, which needs a bucket, too")
			}
		}
	} else {
		for _, o := range []struct{ key, value string }{
			{"database", p.Database}, {"retention_policy", p.RetentionPolicy}, {"consistency", p.Consistency},
		} {
			if o.value != "" {
				wrong(o.key, "belongs to the API of InfluxDB 1.x; a bucket selects that of 2.x")
			}
		}
		if p.Org == "" {
			wrong("org", "is missing: a bucket belongs to an organization")
		}
		if p.Token != "" && p.Username != "" {
			wrong("token", "and username exclude each other")
		}
	}
	if p.Password != "" && p.Username == "" {
		wrong("password", "is given without a username")
	}
	if _, err := parseTemplate(p.Measurement); err != nil {
		wrong("measurement", "%w", err)
	}
	if p.EventMeasurement == "" {
		wrong("event_measurement", "must not be empty")
	}
	for _, o := range []struct {
		key   string
		globs []string
	}{{"metadata_tags", p.MetadataTags}, {"event_tags", p.EventTags}} {
		if _, err := compileGlobs(o.globs); err != nil {
			wrong(o.key, "%w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Headers)) {
		if !isToken(name) || strings.ContainsAny(p.Headers[name], "\r\n\x00") {
			wrong("headers."+name, "is not an HTTP header")
		}
	}
	return errors.Join(append(errs, p.TLS.validate())...)
}

// Start implements sdk.Starter. It does not connect: a server that is down is a
// matter of delivery, which the host retries.
func (p *influxdb) Start(_ context.Context, env sdk.Env) error {
	if p.Bucket == "" && p.Database == "" {
		p.Database = "nepho"
	}
	var err error
	if p.encoder, err = newEncoder(p); err != nil {
		return err
	}
	p.client, err = newClient(p, env.Log)
	return err
}

// Stop implements sdk.Stopper.
func (p *influxdb) Stop(context.Context) error {
	if p.client != nil {
		p.client.close()
	}
	return nil
}

// Publish implements sdk.Publisher.
func (p *influxdb) Publish(ctx context.Context, batch *sdk.Batch) error {
	d := delivery{client: p.client, resends: maxResends, deadline: time.Now().Add(maxSearch)}
	p.encoder.begin(batch)
	for p.encoder.next() {
		if err := d.deliver(ctx, &p.encoder.lines); err != nil {
			return err
		}
	}
	if err := d.doubt(); err != nil {
		return err
	}
	rows := slices.Concat(p.encoder.unwritable, d.refused)
	if len(rows) == 0 {
		return nil
	}
	slices.Sort(rows)
	why := d.reason
	if why == nil {
		why = p.encoder.reason
	}
	return sdk.RefuseRows(fmt.Errorf("%d of %d rows refused, one of them because: %w", len(rows), batch.Len()+batch.Events(), why), rows)
}

// isToken tells whether s can be the name of an HTTP header.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
