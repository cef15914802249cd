// Package aggregator is the storage plugin that keeps measures by archive policies
// and speaks Gnocchi's HTTP API. Its own parts are in the packages below it; see
// DESIGN.md. Here are the options (plugin.go), start and stop (start.go, serve.go),
// the way of samples and events into the store (publish.go, known.go, ensure.go, events.go),
// the way out for other plugins (query.go, series.go, compute.go), and what goes on beside: the purge of
// deleted metrics (purge.go) and copies of the index on S3 (ship.go).
package aggregator

import (
	_ "embed"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/nephoscope/nepho/aggregator/definitions"
	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the storage.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "aggregator",
		Summary: "Keeps measures by archive policies, in compressed blocks on disk or S3, and serves them by the APIs of Gnocchi and Prometheus",
		Sample:  sample,
		Own:     own(),
		Storage: func() sdk.Storage { return &store{} },
	}
}

// options are what operators set.
type options struct {
	Path  string `toml:"path" default:"/var/lib/nepho/aggregator" doc:"Folder of the log, of the index unless that is in PostgreSQL, and of the blocks unless they are on S3; if empty, the instance's own in data_dir."`
	Index string `toml:"index" secret:"true" doc:"Where resources and metrics are described: postgres://USER:PASSWORD@HOST/DATABASE, or the path of a SQLite file; index.sqlite in path if empty."`

	Definitions     []string `toml:"definitions" default:"shipped" doc:"Files that say which samples become which resources and metrics; later ones add to those before and overrule them. The word shipped is what is built in."`
	Unknown         string   `toml:"unknown" default:"generic" enum:"generic|drop" doc:"What becomes of samples whose meter no definition names: metrics of resources of the type generic, or nothing."`
	Creator         string   `toml:"creator" default:"admin" doc:"Who creates the resources and metrics of samples: a user as the API knows it, with Keystone the ids USER:PROJECT."`
	DefaultPolicies bool     `toml:"default_policies" default:"true" doc:"Make the archive policies low, medium, high and bool, and the rule default, when there are none yet."`

	Sync       time.Duration `toml:"sync" default:"0s" max:"1m" doc:"How long an acknowledged write may wait for the disk; 0s: it is on disk when it is acknowledged."`
	Checkpoint time.Duration `toml:"checkpoint" default:"2h" min:"1s" max:"24h" doc:"Time between two checkpoints, which make block files of the points in memory."`
	HeadLimit  config.Size   `toml:"head_limit" default:"128MiB" min:"1MiB" doc:"Points in memory at which a checkpoint is made earlier."`
	MaxFuture  time.Duration `toml:"max_future" default:"1h" doc:"How far ahead of the clock a point may be; later ones are refused."`
	PurgeDelay time.Duration `toml:"purge_delay" default:"0s" doc:"How long deleted metrics are kept before their data goes; 0s: it goes at once."`

	CacheResources int `toml:"cache_resources" default:"100000" min:"100" max:"100000000" doc:"Resources of samples that are remembered, so that they cost the index nothing."`
	CacheMetrics   int `toml:"cache_metrics" default:"1000000" min:"1000" max:"1000000000" doc:"Metrics of which the index holds in memory what writes need."`

	Listen string `toml:"listen" default:"127.0.0.1:8041" doc:"Host and port of the HTTP API; empty for none."`
	web.Serving
	MaxLimit int         `toml:"max_limit" default:"1000" min:"1" max:"1000000" doc:"Most entries of a list in one answer, and how many without a limit."`
	MaxBody  config.Size `toml:"max_body" default:"64MiB" min:"1KiB" max:"1GiB" doc:"Longest body of a request, after decompression."`

	PromQL promqlOptions `toml:"promql" doc:"Limits of Prometheus's query API."`
	S3     *s3Options    `toml:"s3" doc:"Keep blocks in a bucket instead of in path, and ship the log and the index to it."`
}

type promqlOptions struct {
	MaxSeries   int           `toml:"max_series" default:"20000" min:"1" doc:"Most series of one selector."`
	MaxSamples  int           `toml:"max_samples" default:"2000000" min:"1000" doc:"Most points that one query reads, and that it makes of them at a time, 16 bytes each; all that run read at most twice as many."`
	Timeout     time.Duration `toml:"timeout" default:"30s" min:"100ms" doc:"Most time of one query."`
	Concurrency int           `toml:"concurrency" default:"4" min:"1" max:"1000" doc:"Queries that run at once; others wait."`
}

type s3Options struct {
	Endpoint   string        `toml:"endpoint" required:"true" doc:"URL of the server, such as https://s3.example.com."`
	Bucket     string        `toml:"bucket" required:"true" doc:"Bucket, which must be there."`
	Prefix     string        `toml:"prefix" doc:"Beginning of the names of all objects, such as telemetry/node1."`
	Region     string        `toml:"region" default:"us-east-1" doc:"Region of the bucket."`
	Addressing string        `toml:"addressing" enum:"path|host" doc:"Where the bucket's name is in URLs; what suits the endpoint if empty."`
	AccessKey  string        `toml:"access_key" doc:"Access key."`
	SecretKey  string        `toml:"secret_key" secret:"true" doc:"Secret key, such as file:/etc/nepho/s3.key."`
	CA         string        `toml:"ca" doc:"PEM file with authorities that are trusted besides the system's."`
	Ship       time.Duration `toml:"ship" default:"60s" min:"1s" doc:"Time between two copies of the log to the bucket: what a lost node may cost."`
	ShipIndex  time.Duration `toml:"ship_index" default:"10m" min:"10s" doc:"Time between two copies of a SQLite index to the bucket, if it has changed."`
	Cache      config.Size   `toml:"cache" default:"1GiB" min:"16MiB" doc:"Parts of blocks that are kept in path at most."`
}

// withoutDefinition are the archive policies that the index makes by itself.
var withoutDefinition = []string{"low", "medium", "high", "bool"}

// Validate implements the check of options.
func (s *store) Validate() error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, config.KeyError(key, format, args...))
	}
	// The parser's own message would quote a password.
	if strings.Contains(s.Index, "://") {
		u, err := url.Parse(s.Index)
		if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
			wrong("index", "is neither a path nor a URL such as postgres://nepho@127.0.0.1/nepho")
		}
	}
	if _, problems := s.define(); len(problems) > 0 {
		for _, p := range problems {
			wrong("definitions", "%w", p)
		}
	}
	if strings.Contains(s.Creator, "/") {
		wrong("creator", "must have no slash")
	}
	errs = append(errs, s.Check(s.Listen))
	return errors.Join(errs...)
}

// Validate implements the check of options.
func (o *s3Options) Validate() error {
	var errs []error
	if u, err := url.Parse(o.Endpoint); err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, config.KeyError("endpoint", "is no URL such as https://s3.example.com; keys belong to access_key and secret_key"))
	}
	if (o.AccessKey == "") != (o.SecretKey == "") {
		errs = append(errs, errors.New("access_key and secret_key belong together"))
	}
	return errors.Join(errs...)
}

// define reads the definitions.
func (s *store) define() (*definitions.Definitions, []config.Problem) {
	var known []string
	if s.DefaultPolicies {
		known = withoutDefinition
	}
	return definitions.Load(s.Definitions, known...)
}

// indexPath is where the index is: a URL, or a file.
func (s *store) indexPath() string {
	if s.Index != "" {
		return s.Index
	}
	return filepath.Join(s.Path, "index.sqlite")
}

// sharedIndex reports whether the index is in a database that others may use, too.
func (s *store) sharedIndex() bool { return strings.Contains(s.Index, "://") }
