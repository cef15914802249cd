package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nephoscope/nepho/sdk/glob"

	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

// callTimeout is the deadline of a call where no interval suggests one.
const callTimeout = 30 * time.Second

// HostOptions describes the options that instances of a kind have besides those
// of their plugin. The names of all kinds' host options are reserved: a plugin's
// own options cannot have them.
func HostOptions(kind string) []sdkconfig.Option {
	i := &Instance{Kind: kind}
	var options []sdkconfig.Option
	for _, group := range i.groups() {
		options = append(options, sdkconfig.Options(group)...)
	}
	return options
}

// reserved returns the names of all host options, each with the kinds that have it.
func reserved() map[string][]string {
	kinds := make(map[string][]string)
	for _, k := range Kinds() {
		for _, o := range HostOptions(k) {
			kinds[o.Name] = append(kinds[o.Name], k)
		}
	}
	return kinds
}

// instances reads all [[<kind>.<plugin>]] tables of a file.
func (l *loader) instances(file *sdkconfig.Table) {
	for kind, v := range file.All() {
		switch {
		case kind == "pipeline":
		case !slices.Contains(Kinds(), kind):
			l.unknownKind(kind, v)
		case v.Kind != sdkconfig.KindTable:
			l.add(v.Pos, kind, fmt.Sprintf("write [[%s.<plugin>]]", kind), "the name of the plugin is missing")
		default:
			for plugin, list := range v.Table.All() {
				l.plugin(kind, plugin, list)
			}
		}
	}
}

func (l *loader) unknownKind(kind string, v *sdkconfig.Value) {
	hint := ""
	if s := sdkconfig.Suggest(kind, append(Kinds(), "agent", "pipeline")); s != "" {
		hint = fmt.Sprintf("did you mean %q?", s)
	}
	isTable := v.Kind == sdkconfig.KindTable || v.Kind == sdkconfig.KindList && len(v.List) > 0 && v.List[0].Kind == sdkconfig.KindTable
	if isTable {
		l.add(v.Pos, kind, hint, "unknown kind of table")
		return
	}
	if hint == "" {
		hint = "the host's options stand under [agent]"
	}
	l.add(v.Pos, kind, hint, "unknown option")
}

// plugin reads all instances of one plugin in one file.
func (l *loader) plugin(kind, plugin string, v *sdkconfig.Value) {
	path := kind + "." + plugin
	list := v.List
	switch {
	case v.Kind == sdkconfig.KindTable:
		l.add(v.Pos, path, "write [["+path+"]]", "a plugin may have several instances, so its table is one of a list")
		list = []*sdkconfig.Value{v}
	case v.Kind != sdkconfig.KindList:
		l.add(v.Pos, path, "write [["+path+"]]", "expected a list of tables, got %s", article(v.Kind.String()))
		return
	}
	if err := checkName(plugin); err != nil {
		l.add(v.Pos, path, "", "name of the plugin: %v", err)
		return
	}
	for _, e := range list {
		if e.Kind != sdkconfig.KindTable {
			l.add(e.Pos, path, "write [["+path+"]]", "expected a table, got %s", article(e.Kind.String()))
			continue
		}
		l.instance(kind, plugin, e.Table)
	}
}

// instance reads one instance. It is kept even if there are problems in it, so
// that names which refer to it are not called wrong.
func (l *loader) instance(kind, plugin string, t *sdkconfig.Table) {
	t.Path = kind + "." + plugin
	i := &Instance{Kind: kind, Plugin: plugin, Pos: t.Pos, Options: t}
	i.host = l.takeHostOptions(kind, t)
	for _, group := range i.groups() {
		l.problems = append(l.problems, l.part(i.host, group).Decode(group)...)
	}
	i.complete(l.config.Agent)
	l.checkInstance(i)

	if other := l.config.byName[i.Name]; other != nil {
		hint := "give one of them another name"
		if i.host.Get("name") == nil {
			hint = `give it a name = "..."`
		}
		l.add(place(i.host, "name"), t.Path, hint, "another instance called %q is at %s", i.Name, other.Pos)
		return
	}
	l.config.byName[i.Name] = i
	l.config.Instances = append(l.config.Instances, i)
}

// takeHostOptions moves the host's options from an instance's table into one of
// their own. Those that its kind does not have are problems.
func (l *loader) takeHostOptions(kind string, t *sdkconfig.Table) *sdkconfig.Table {
	host := sdkconfig.NewTable(t.Path)
	host.Pos = t.Pos
	for _, name := range t.Keys() {
		kinds, isHosts := l.reserved[name]
		if !isHosts {
			continue
		}
		v := t.Take(name)
		if slices.Contains(kinds, kind) {
			host.Set(name, v)
		} else {
			l.add(v.Pos, t.KeyPath(name), "", "%s has no such option, only %s have it", article(kind), plurals(kinds))
		}
	}
	return host
}

// part returns the keys of a table that are options of a struct.
func (l *loader) part(t *sdkconfig.Table, of any) *sdkconfig.Table {
	structure := reflect.TypeOf(of)
	names, known := l.names[structure]
	if !known {
		for _, o := range sdkconfig.Options(of) {
			names = append(names, o.Name)
		}
		l.names[structure] = names
	}
	p := sdkconfig.NewTable(t.Path)
	p.Pos = t.Pos
	for _, name := range names {
		if v := t.Get(name); v != nil {
			p.Set(name, v)
		}
	}
	return p
}

// complete gives options that are not set their values from [agent].
func (i *Instance) complete(a Agent) {
	isSet := func(key string) bool { return i.host.Get(key) != nil }
	if v := i.host.Get("name"); v == nil || v.Kind != sdkconfig.KindString {
		i.Name = i.Plugin
	}
	if !isSet("log_level") {
		i.LogLevel = a.LogLevel
	}
	for _, group := range i.groups() {
		switch g := group.(type) {
		case *Polling:
			if !isSet("interval") {
				g.Interval = a.Interval
			}
			if !isSet("jitter") {
				g.Jitter = min(a.Jitter, g.Interval/2)
			}
		case *Delivery:
			if !isSet("spool") {
				g.Spool = a.Spool
			}
			if !isSet("spool_limit") {
				g.SpoolLimit = a.SpoolLimit
			}
			if !isSet("queue_limit") {
				g.QueueLimit = a.QueueLimit
			}
		case *Tagging:
			tags := maps.Clone(a.Tags)
			if tags == nil {
				tags = make(map[string]string)
			}
			maps.Copy(tags, g.Tags)
			g.Tags = tags
		case *Deadline:
			switch {
			case isSet("timeout"):
			case i.Kind != Pollster:
				g.Timeout = callTimeout
			case a.Timeout != nil:
				g.Timeout = *a.Timeout
			case isSet("interval"):
				g.Timeout = i.Interval
			default:
				g.Timeout = a.Interval
			}
		}
	}
}

// plurals writes kinds as in "pollsters, notifications and alarms".
func plurals(kinds []string) string {
	var b strings.Builder
	for i, k := range kinds {
		switch {
		case i > 0 && i == len(kinds)-1:
			b.WriteString(" and ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(k + "s")
	}
	return b.String()
}

// checkInstance checks what a single option's rules cannot.
func (l *loader) checkInstance(i *Instance) {
	bad := func(key, format string, args ...any) {
		l.add(place(i.host, key), i.host.KeyPath(key), "", format, args...)
	}
	if err := checkName(i.Name); err != nil {
		bad("name", "%v", err)
	}
	if i.Kind == Pollster && i.Jitter >= i.Interval && i.Interval > 0 && i.host.Get("jitter") != nil {
		bad("jitter", "must be shorter than the interval, which is %s", sdkconfig.FormatDuration(i.Interval))
	}
	if i.RetryMax > 0 && i.RetryMax < i.RetryMin {
		bad("retry_max", "must not be shorter than retry_min, which is %s", sdkconfig.FormatDuration(i.RetryMin))
	}
	if err := checkChecksum(i.Checksum); err != nil {
		bad("checksum", "%v", err)
	}
	for name := range i.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			bad("env", "%q cannot be the name of an environment variable", name)
		}
	}
	i.Globs = l.globs(i.host, "meters", i.Meters)
}

// globs compiles a list of patterns; nil, which matches everything, if it cannot.
func (l *loader) globs(t *sdkconfig.Table, key string, patterns []string) *glob.Globs {
	g, err := glob.Compile(patterns)
	var e *glob.Error
	if errors.As(err, &e) {
		pos := place(t, key)
		if v := t.Get(key); v != nil && e.Index < len(v.List) {
			pos = v.List[e.Index].Pos
		}
		l.add(pos, t.KeyPath(key)+"["+strconv.Itoa(e.Index)+"]", "", "%v", e)
	}
	return g
}

// checkName accepts names that can be those of files and metrics labels.
func checkName(name string) error {
	const longest = 64
	if name == "" || len(name) > longest {
		return fmt.Errorf("must have 1 to %d characters", longest)
	}
	for i, c := range name {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", c)) {
			return fmt.Errorf("%q may only have letters, digits and, but not first, any of . _ -", name)
		}
	}
	return nil
}

func checkChecksum(s string) error {
	if s == "" {
		return nil
	}
	const size = 32
	digits, found := strings.CutPrefix(s, "sha256:")
	if sum, err := hex.DecodeString(digits); !found || err != nil || len(sum) != size {
		return errors.New(`expected "sha256:" and 64 hexadecimal digits`)
	}
	return nil
}

func checkAddress(s string) error {
	if s == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not an address to listen on", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q has no port between 0 and 65535", s)
	}
	return nil
}
