package config

import (
	"slices"
	"time"

	"github.com/nephoscope/nepho/sdk/glob"

	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

// Problem and Pos are those of the SDK, so that the plugins' own problems join
// the host's in one list.
type (
	Problem = sdkconfig.Problem
	Pos     = sdkconfig.Pos
)

// The kinds of plugins, as the tables are named.
const (
	Pollster     = "pollster"
	Notification = "notification"
	Transformer  = "transformer"
	Publisher    = "publisher"
	Storage      = "storage"
	Alarm        = "alarm"
)

// Kinds returns the kinds of plugins in the order in which data passes them.
func Kinds() []string {
	return []string{Pollster, Notification, Transformer, Publisher, Storage, Alarm}
}

// IsSource reports whether instances of a kind may stand in a pipeline's sources.
func IsSource(kind string) bool {
	return kind == Pollster || kind == Notification || kind == Alarm
}

// IsSink reports whether instances of a kind may stand in a pipeline's publishers.
func IsSink(kind string) bool {
	return kind == Publisher || kind == Storage || kind == Alarm
}

// Config is the whole configuration of a host. It does not change once loaded,
// apart from what Check learns about secrets.
type Config struct {
	Agent     Agent
	Instances []*Instance // in the order of the files
	Pipelines []*Pipeline // in the order of the files; see Implicit

	// Implicit is set if no file has a pipeline. Then there is one called
	// "default" from every source to every publisher and storage, and, if there are
	// alarms, "default-events", which leads all events there, and "default-alarms"
	// for theirs, which leads to all but alarms.
	Implicit bool

	// Files are the files read, in their order.
	Files []string

	byName map[string]*Instance
	unread bool // a file could not be read or parsed, which may define more names
}

// Agent is the [agent] table: the host's own options and the instances' defaults.
type Agent struct {
	Interval time.Duration  `toml:"interval" default:"60s" min:"1ms" doc:"Time between two polls of an instance."`
	Jitter   time.Duration  `toml:"jitter" default:"0s" doc:"Polls are moved by a part of this that is drawn once, so that hosts do not poll in step."`
	Timeout  *time.Duration `toml:"timeout" min:"1ms" doc:"Deadline of one poll; the interval if not set."`

	DataDir   string `toml:"data_dir" default:"/var/lib/nepho" doc:"Folder of spools, saved state and dead letters."`
	PluginDir string `toml:"plugin_dir" default:"/usr/lib/nepho/plugins" doc:"Folder of plugins that are not bundled."`
	Listen    string `toml:"listen" default:"127.0.0.1:8790" doc:"Address of the status page, /metrics, /healthz and /readyz; empty for none."`

	LogLevel  string `toml:"log_level" default:"info" enum:"debug|info|warn|error" doc:"What is logged at least."`
	LogFormat string `toml:"log_format" default:"text" enum:"text|json" doc:"Form of the log's lines."`

	Spool      string         `toml:"spool" default:"disk" enum:"disk|memory" doc:"Where samples wait for a publisher; what is in memory ends with the process."`
	SpoolLimit sdkconfig.Size `toml:"spool_limit" default:"512MiB" min:"1MiB" doc:"What may wait on disk for one publisher of one pipeline."`
	QueueLimit sdkconfig.Size `toml:"queue_limit" default:"16MiB" min:"64KiB" doc:"What may wait in memory: for a pipeline's transformers, and for a publisher whose spool is there."`

	StopTimeout       time.Duration  `toml:"stop_timeout" default:"10s" min:"0s" doc:"Time to finish work on a stop, then plugins are killed."`
	PluginMemoryLimit sdkconfig.Size `toml:"plugin_memory_limit" default:"512MiB" doc:"Resident memory at which a plugin's process is ended; 0 for no limit."`
	MTLS              bool           `toml:"mtls" default:"true" doc:"Encrypt the connections between host and plugins."`

	Tags    map[string]string `toml:"tags" doc:"Added to the metadata of every sample."`
	Include []string          `toml:"include" default:"conf.d/*.toml" doc:"More files, relative to this one's folder; only in the main file."`
}

// Instance is one configured plugin. What is embedded are the host's options;
// those that its kind does not have are zero.
type Instance struct {
	Kind   string // one of Kinds
	Plugin string // such as "libvirt"
	Pos    Pos    // of its table

	Identity
	Process
	Deadline
	Polling
	Delivery
	Selection
	Tagging

	// Globs are the compiled Meters.
	Globs *glob.Globs

	// Options is the plugin's own table, expanded but not decoded.
	Options *sdkconfig.Table

	host *sdkconfig.Table // the host's options as they were written, for positions
}

// groups returns those of an instance's embedded options that its kind has.
func (i *Instance) groups() []any {
	groups := []any{&i.Identity, &i.Process}
	switch i.Kind {
	case Pollster:
		return append(groups, &i.Deadline, &i.Polling, &i.Selection, &i.Tagging)
	case Notification:
		return append(groups, &i.Selection, &i.Tagging)
	case Transformer:
		return append(groups, &i.Deadline, &i.Selection)
	case Publisher, Storage:
		return append(groups, &i.Deadline, &i.Delivery)
	case Alarm:
		return append(groups, &i.Deadline, &i.Delivery, &i.Tagging)
	default:
		panic("BUG: no options for kind " + i.Kind)
	}
}

// Identity is what other tables call an instance.
type Identity struct {
	Name string `toml:"name" doc:"Name of the instance, unique in the whole configuration; that of the plugin if not set."`
}

// Process says how the process of an instance is started. All kinds have these
// options.
type Process struct {
	Command  string            `toml:"command" doc:"Executable of the plugin, if it is neither bundled nor in plugin_dir."`
	Checksum string            `toml:"checksum" doc:"SHA-256 that the executable must have, as sha256:HEX."`
	Env      map[string]string `toml:"env" secret:"true" doc:"Extra environment of the plugin's process."`
	LogLevel string            `toml:"log_level" enum:"debug|info|warn|error" doc:"What is logged at least; that of [agent] if not set."`
	Isolate  bool              `toml:"isolate" doc:"A process of its own, not shared with other instances of the plugin."`
	Restart  string            `toml:"restart" default:"always" enum:"always|never" doc:"Whether the process is started again when it ends."`
	Required bool              `toml:"required" doc:"The host ends if this instance cannot be started; otherwise it keeps trying."`
}

// Polling says when and how a pollster is called.
type Polling struct {
	Interval        time.Duration `toml:"interval" min:"1ms" doc:"Time between two polls; that of [agent] if not set."`
	Jitter          time.Duration `toml:"jitter" doc:"Polls are moved by a part of this; that of [agent] if not set."`
	Concurrency     int           `toml:"concurrency" default:"8" min:"1" max:"1024" doc:"Resources polled at the same time."`
	ResourceTimeout time.Duration `toml:"resource_timeout" default:"10s" min:"1ms" doc:"Deadline of polling one resource."`
}

// Deadline limits a call of the plugin: a poll, the transformation or the
// publishing of a batch.
type Deadline struct {
	Timeout time.Duration `toml:"timeout" min:"1ms" doc:"Deadline of one call; of a poll that of [agent] or the interval, of others 30s, if not set."`
}

// Selection says which samples of an instance are let through; a transformer
// passes the others on unchanged.
type Selection struct {
	Meters []string `toml:"meters" doc:"Globs of meter names; ! excludes."`
}

// Tagging says what is added to the samples of an instance. After loading these
// are the instance's tags and those of [agent].
type Tagging struct {
	Tags map[string]string `toml:"tags" doc:"Added to the metadata of every sample, besides those of [agent]."`
}

// Delivery says how batches wait for a publisher, storage or alarm and how often
// they are tried again.
type Delivery struct {
	Spool      string         `toml:"spool" enum:"disk|memory" doc:"Where batches wait; that of [agent] if not set."`
	SpoolLimit sdkconfig.Size `toml:"spool_limit" min:"1MiB" doc:"What may wait on disk; that of [agent] if not set."`
	QueueLimit sdkconfig.Size `toml:"queue_limit" min:"64KiB" doc:"What may wait where the spool is in memory; that of [agent] if not set."`
	RetryMin   time.Duration  `toml:"retry_min" default:"100ms" min:"1ms" doc:"Wait before the first retry; it doubles from retry to retry."`
	RetryMax   time.Duration  `toml:"retry_max" default:"60s" min:"1ms" doc:"Longest wait between two retries."`
}

// Pipeline says what flows from which instances to which.
type Pipeline struct {
	Name         string   `toml:"name" required:"true" doc:"Name of the pipeline."`
	Sources      []string `toml:"sources" required:"true" doc:"Names of pollsters, notifications and alarms."`
	Meters       []string `toml:"meters" default:"*" doc:"Globs of the samples' meter names; ! excludes."`
	Events       []string `toml:"events" default:"*" doc:"Globs of the events' types; ! excludes."`
	Transformers []string `toml:"transformers" doc:"Names of transformers, in the order in which samples pass them."`
	Publishers   []string `toml:"publishers" required:"true" doc:"Names of publishers, storages and alarms."`

	Pos        Pos
	MeterGlobs *glob.Globs // Meters, compiled
	EventGlobs *glob.Globs // Events, compiled

	table *sdkconfig.Table // as it was written, for positions; nil if implicit
}

// Instance returns the instance of a name, nil if there is none.
func (c *Config) Instance(name string) *Instance { return c.byName[name] }

// ProcessKey is equal for instances that share one process: those of one plugin
// that is started in the same way.
func (i *Instance) ProcessKey() string {
	key := i.Kind + "/" + i.Plugin
	if i.Isolate {
		return key + "/" + i.Name
	}
	restart := i.Restart
	if restart == "always" {
		restart = "" // as where it is not written
	}
	if i.Command == "" && i.Checksum == "" && len(i.Env) == 0 && restart == "" {
		return key
	}
	own := sdkconfig.FromStruct(struct {
		Command  string            `toml:"command"`
		Checksum string            `toml:"checksum"`
		Env      map[string]string `toml:"env"`
		Restart  string            `toml:"restart"`
	}{i.Command, i.Checksum, i.Env, restart})
	return key + "/" + fingerprint(own)
}

// names returns the names of the instances that a test selects.
func (c *Config) names(selected func(kind string) bool) []string {
	var names []string
	for _, i := range c.Instances {
		if selected(i.Kind) && !slices.Contains(names, i.Name) {
			names = append(names, i.Name)
		}
	}
	return names
}
