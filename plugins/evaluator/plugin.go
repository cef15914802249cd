// Package evaluator is the plugin that evaluates alarms and serves Aodh's API. Its own parts
// are in the packages below it; see DESIGN.md. Here are the options (plugin.go), start
// and stop (start.go), what goes on while the host lets it watch (watch.go), who is
// asked about data (remote.go), and alarms that are written in TOML (rules.go).
package evaluator

import (
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/plugins/evaluator/action"
	"github.com/nephoscope/nepho/plugins/evaluator/remote"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the alarm plugin.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "evaluator",
		Summary: "Evaluates alarms when data and events arrive, does their actions, and serves Aodh's API",
		Sample:  sample,
		Own:     own(),
		Alarm:   func() sdk.Alarm { return &evaluator{} },
	}
}

// options are what operators set.
type options struct {
	Database   string                   `toml:"database" secret:"true" doc:"Where alarms are kept: postgres://USER:PASSWORD@HOST/DATABASE, or the path of a SQLite file; alarms.sqlite in the instance's folder in data_dir if empty."`
	History    time.Duration            `toml:"history" default:"2160h" min:"0s" doc:"How long the history of alarms and actions that were given up are kept; 0s is for ever."`
	Storage    string                   `toml:"storage" default:"aggregator" doc:"Name of the storage that thresholds and expressions are about; empty for none."`
	Gnocchi    remote.GnocchiOptions    `toml:"gnocchi" doc:"A Gnocchi that thresholds and operations are about, instead of the storage."`
	Prometheus remote.PrometheusOptions `toml:"prometheus" doc:"A Prometheus that rules of the type prometheus are about."`
	Interval   time.Duration            `toml:"evaluation_interval" default:"60s" min:"1s" max:"24h" doc:"Time between two repetitions of actions, and between two looks at alarms that no new data call for. Others are looked at when their data arrive."`
	Lag        time.Duration            `toml:"additional_ingestion_lag" default:"0s" max:"24h" doc:"How much longer than usual a window of data may have been on its way."`
	Events     bool                     `toml:"events" default:"true" doc:"Give changes of alarms and of their states to the pipelines, as events alarm.creation, alarm.rule_change, alarm.state_transition and alarm.deletion."`

	Rules     []map[string]any `toml:"rule" doc:"Alarms that are written here: tables with the attributes of Aodh's API. The API shows them and can't change them."`
	RulesFrom string           `toml:"rules" doc:"Folder of files *.toml with more [[rule]] tables; it is read again when they change. While there is none, or one is wrong, its alarms stay."`

	UserQuota    int `toml:"user_alarm_quota" default:"-1" min:"-1" doc:"Most alarms of a user; -1 is any number."`
	ProjectQuota int `toml:"project_alarm_quota" default:"-1" min:"-1" doc:"Most alarms of a project that has no quota of its own; -1 is any number."`
	MaxActions   int `toml:"alarm_max_actions" default:"-1" min:"-1" doc:"Most actions for each state of an alarm; -1 is 100, and no more are allowed."`

	Actions actionOptions      `toml:"actions" doc:"How actions are done."`
	Targets []action.Target    `toml:"target" doc:"Webhooks that are reached in another way than the others, by the beginning of their URL."`
	SMTP    action.MailOptions `toml:"smtp" doc:"Server for actions mailto."`

	Listen string `toml:"listen" default:"127.0.0.1:8042" doc:"Host and port of the HTTP API; empty for none."`
	web.Serving
	MaxBody config.Size `toml:"max_body" default:"1MiB" min:"1KiB" max:"1GiB" doc:"Longest body of a request."`
}

type actionOptions struct {
	action.TLS
	Secret   string        `toml:"secret" secret:"true" doc:"Key by which requests to webhooks are signed, in the header X-Nepho-Signature; none if empty."`
	Timeout  time.Duration `toml:"timeout" default:"10s" min:"100ms" max:"10m" doc:"Most time of an attempt."`
	RetryMin time.Duration `toml:"retry_min" default:"1s" min:"10ms" doc:"Pause after the first attempt in vain; it doubles with each."`
	RetryMax time.Duration `toml:"retry_max" default:"5m" min:"10ms" doc:"Longest pause between attempts."`
	GiveUp   time.Duration `toml:"give_up" default:"24h" min:"1s" doc:"Age at which what can't be delivered is put aside."`
}

// Validate implements the check of options.
func (e *evaluator) Validate() error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, config.KeyError(key, format, args...))
	}
	if err := database.CheckURL(e.Database); err != nil {
		wrong("database", "%w", err)
	}
	errs = append(errs, e.Check(e.Listen))
	errs = append(errs, e.checkRemotes()...)
	if e.Actions.RetryMax < e.Actions.RetryMin {
		wrong("actions.retry_max", "is less than retry_min")
	}
	for i, r := range e.Rules {
		if _, err := e.ruleOf(r, ""); err != nil {
			wrong(fmt.Sprintf("rule[%d]", i), "%w", err)
		}
	}
	return errors.Join(errs...)
}
