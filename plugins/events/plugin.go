// Package events is the storage plugin that keeps events and serves them by Panko's
// HTTP API, version 2. The events are kept by package store, in chunks as package chunk
// makes them; package api answers. See DESIGN.md.
package events

import (
	_ "embed"
	"errors"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the storage.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "events",
		Summary: "Keeps events, one copy of each, and serves them by Panko's API",
		Sample:  sample,
		Own:     own(),
		Storage: func() sdk.Storage { return &storage{} },
	}
}

// options are what operators set.
type options struct {
	Database  string        `toml:"database" secret:"true" doc:"Where events are kept: postgres://USER:PASSWORD@HOST/DATABASE, or the path of a SQLite file; events.sqlite in the instance's folder in data_dir if empty."`
	Retention time.Duration `toml:"retention" default:"2160h" min:"0s" doc:"How long events are kept, by days; 0s is for ever."`

	Listen string `toml:"listen" default:"127.0.0.1:8977" doc:"Host and port of the HTTP API; empty for none."`
	web.Serving
	DefaultLimit int         `toml:"default_limit" default:"100" min:"1" max:"1000000" doc:"How many events a list has at most when its request has no limit."`
	MaxBody      config.Size `toml:"max_body" default:"1MiB" min:"1KiB" max:"1GiB" doc:"Longest body of a request."`
}

// Validate implements the check of options.
func (s *storage) Validate() error {
	errs := []error{s.Check(s.Listen)}
	if err := database.CheckURL(s.Database); err != nil {
		errs = append(errs, config.KeyError("database", "%w", err))
	}
	return errors.Join(errs...)
}
