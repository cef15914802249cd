package sdk

import (
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/nephoscope/nepho/sdk/glob"
)

// Plugin describes a plugin to [Serve] and to the host. Exactly one of its
// constructors is set, and says the plugin's kind.
//
// A constructor gives a new instance with no options set. Fields of the
// instance's struct with a toml tag are its options, see the config package.
type Plugin struct {
	// Name is the word that operators write: [[pollster.NAME]].
	Name string
	// Version is free text; empty stands for the version of the main module.
	Version string
	// Summary is one line on what the plugin does.
	Summary string
	// Sample is commented TOML that shows every option; empty has it made from the
	// options' tags.
	Sample string
	// Meters are what a source can emit; empty when that depends on options.
	Meters []MeterInfo
	// Own are the meters of figures that instances tell about themselves, which are
	// [Measurer] then: gauges and cumulative ones, named in lower case with dots, as in
	// deliveries.pending. In Prometheus a unit B or s and a cumulative type become
	// endings: _bytes, _seconds, _total.
	Own []MeterInfo

	Pollster         func() Pollster
	ResourcePollster func() ResourcePollster
	Notification     func() Notification
	Transformer      func() Transformer
	Publisher        func() Publisher
	Storage          func() Storage
	Alarm            func() Alarm
}

// MeterInfo declares a meter that a plugin can emit, or tell of itself.
type MeterInfo struct {
	Meter
	Doc string
}

// Kind of a plugin: the first word of its table in the configuration.
type Kind string

// The kinds of plugins.
const (
	KindPollster     Kind = "pollster"
	KindNotification Kind = "notification"
	KindTransformer  Kind = "transformer"
	KindPublisher    Kind = "publisher"
	KindStorage      Kind = "storage"
	KindAlarm        Kind = "alarm"
)

// Kinds lists all kinds in the order in which samples meet them.
func Kinds() []Kind {
	return []Kind{KindPollster, KindNotification, KindTransformer, KindPublisher, KindStorage, KindAlarm}
}

// Kind tells the plugin's kind, or what is wrong with its description.
func (p Plugin) Kind() (Kind, error) {
	var kind Kind
	n := 0
	for _, c := range []struct {
		set  bool
		kind Kind
	}{
		{p.Pollster != nil, KindPollster}, {p.ResourcePollster != nil, KindPollster},
		{p.Notification != nil, KindNotification}, {p.Transformer != nil, KindTransformer},
		{p.Publisher != nil, KindPublisher}, {p.Storage != nil, KindStorage}, {p.Alarm != nil, KindAlarm},
	} {
		if c.set {
			kind = c.kind
			n++
		}
	}
	if n != 1 || p.Name == "" {
		return "", fmt.Errorf("plugin %q has %d constructors: a plugin has a name and one constructor, such as Pollster", p.Name, n)
	}
	if t := reflect.TypeOf(p.New()); t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return "", fmt.Errorf("the constructor of plugin %q gives a %v: it must give a pointer to a struct, for that holds the options", p.Name, t)
	}
	if _, measures := p.New().(Measurer); measures != (len(p.Own) > 0) {
		return "", fmt.Errorf("plugin %q declares %d meters of its own, and has a method Measure: %v; one needs the other", p.Name, len(p.Own), measures)
	}
	return kind, nil
}

// New makes an instance, which the caller finds to have the kind's interface.
func (p Plugin) New() any {
	switch {
	case p.Pollster != nil:
		return p.Pollster()
	case p.ResourcePollster != nil:
		return p.ResourcePollster()
	case p.Notification != nil:
		return p.Notification()
	case p.Transformer != nil:
		return p.Transformer()
	case p.Publisher != nil:
		return p.Publisher()
	case p.Storage != nil:
		return p.Storage()
	default:
		return p.Alarm()
	}
}

func (p Plugin) version() string {
	if p.Version != "" {
		return p.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// Env is what an instance is given to work with.
type Env struct {
	// Instance is the instance's name in the configuration.
	Instance string
	// Log reaches the host's log with the instance's name.
	Log *slog.Logger
	// StateDir is a folder of the instance's own that outlives restarts; empty
	// where there is none, as in a trial run.
	StateDir string
	// Interval of a pollster.
	Interval time.Duration
	// Concurrency and ResourceTimeout bound the work on many resources; [PollEach]
	// knows them already.
	Concurrency     int
	ResourceTimeout time.Duration

	meters *glob.Globs
	states *[]stateLog
}

// Wants tells whether the instance is asked for the meter. Builders leave out
// others anyway; ask where measuring one costs something.
func (e Env) Wants(meter string) bool { return e.meters.Match(meter) }
