// Package catalog knows which plugins there are: those that come with the host,
// those in the plugin folder, and those that the configuration names by command.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk"
	sdkconfig "github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/figure"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// How long a plugin may take to say what it is: generously where that is all
// that was asked for, and less where a host waits to start the others.
const (
	askTimeout   = 15 * time.Second
	startTimeout = 3 * time.Second
)

// Catalog finds plugins. It is safe for concurrent use.
type Catalog struct {
	// Bundled are the plugins of the host's own executable.
	Bundled []sdk.Plugin
	// Version is that of the executable and so of the bundled plugins.
	Version string
	// Self is that executable; it is started as "nepho plugin KIND/NAME".
	Self string
	// Dir is where other plugins lie, as nepho-KIND-NAME.
	Dir string
	// SocketDir is a folder that only the host's user may enter.
	SocketDir string
	// Unusable, when set, is told of plugins that are there but cannot be asked:
	// that are refused, that end, that hang. They are no problems of the
	// configuration then, for a host that runs what it can. It may be called
	// concurrently.
	Unusable func(config.Problem)

	mu    sync.Mutex
	known map[string]*wire.Description // of plugins that are not bundled, see ask
}

var _ config.Catalog = (*Catalog)(nil)

// bundled gives the host's own plugin of a kind and name.
func (c *Catalog) bundled(kind, name string) (sdk.Plugin, bool) {
	for _, p := range c.Bundled {
		if k, err := p.Kind(); err == nil && string(k) == kind && p.Name == name {
			return p, true
		}
	}
	return sdk.Plugin{}, false
}

// Spec says how to start the process of an instance's plugin.
func (c *Catalog) Spec(i *config.Instance) (supervisor.Spec, error) {
	spec := supervisor.Spec{
		Kind: i.Kind, Name: i.Plugin, Checksum: i.Checksum, SocketDir: c.SocketDir,
		Env: environment(i.Kind, i.Env), Once: i.Restart == "never", MTLS: true, Log: slog.New(slog.DiscardHandler),
	}
	if i.Command != "" {
		// One that is not there may come: the supervisor looks at each start.
		spec.Path = i.Command
		if path, err := exec.LookPath(i.Command); err == nil {
			spec.Path = path
		}
		return spec, nil
	}
	if _, ok := c.bundled(i.Kind, i.Plugin); ok {
		spec.Path, spec.Args, spec.Bundled = c.Self, []string{"plugin", i.Kind + "/" + i.Plugin}, true
		return spec, nil
	}
	spec.Path = filepath.Join(c.Dir, "nepho-"+i.Kind+"-"+i.Plugin)
	if _, err := os.Stat(spec.Path); err != nil {
		return spec, c.notFound(i, err)
	}
	return spec, nil
}

func (c *Catalog) notFound(i *config.Instance, err error) error {
	if !os.IsNotExist(err) {
		return fmt.Errorf("cannot look for plugin %s/%s: %w", i.Kind, i.Plugin, err)
	}
	var names []string
	for _, e := range c.List(context.Background(), false) {
		if e.Kind == i.Kind {
			names = append(names, e.Name)
		}
		if e.Name == i.Plugin && e.Kind != i.Kind {
			return fmt.Errorf("there is no %s %q, but a %s: write [[%s.%s]]", i.Kind, i.Plugin, e.Kind, e.Kind, e.Name)
		}
	}
	hint := ""
	if near := sdkconfig.Suggest(i.Plugin, names); near != "" {
		hint = fmt.Sprintf("did you mean %q? ", near)
	}
	return fmt.Errorf("there is no %s %q: %sit is not bundled, and %s is not in %s", i.Kind, i.Plugin, hint, "nepho-"+i.Kind+"-"+i.Plugin, c.Dir)
}

// environment is what a plugin's process is given. The host's own is kept from
// it, for it may hold secrets of others, and limits that were meant for the host
// alone.
func environment(kind string, extra map[string]string) []string {
	env := map[string]string{}
	if n := processors(kind); n > 0 {
		env["GOMAXPROCS"] = fmt.Sprint(n)
	}
	for _, name := range []string{"PATH", "HOME", "TZ", "LANG", "LC_ALL", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	for name, v := range extra {
		env[name] = v
	}
	var list []string
	for name, v := range env {
		list = append(list, name+"="+v)
	}
	slices.Sort(list)
	return list
}

// processors is how many processors a plugin of a kind computes on at once; 0 is
// all. One is enough for more than a million samples a second, and costs a fifth
// less than two: what passes through processes in turn gains nothing from waking
// a second thread in each. Operators change it with env = { GOMAXPROCS = "2" }.
func processors(kind string) int {
	switch kind {
	case config.Pollster, config.Transformer, config.Publisher:
		return 1
	case config.Notification:
		return min(4, runtime.NumCPU()) // decodes strangers' messages
	default:
		return 0
	}
}

// Describe implements config.Catalog.
func (c *Catalog) Describe(i *config.Instance) (*config.Plugin, error) {
	if i.Command == "" {
		if p, ok := c.bundled(i.Kind, i.Plugin); ok {
			d := &config.Plugin{Kind: i.Kind, Name: p.Name, Version: c.Version, Options: sdkconfig.Options(p.New())}
			for _, m := range p.Meters {
				d.Meters = append(d.Meters, m.Name)
			}
			for _, m := range p.Own {
				d.Own = append(d.Own, "nepho."+p.Name+"."+m.Name)
			}
			return d, nil
		}
	}
	if _, err := c.Spec(i); err != nil {
		return nil, err
	}
	w, err := c.ask(i)
	if err != nil && c.Unusable != nil {
		c.Unusable(config.Problem{Pos: i.Pos, Key: i.Kind + "." + i.Plugin, Message: err.Error()})
		return &config.Plugin{Kind: i.Kind, Name: i.Plugin, Unknown: true}, nil
	}
	if err != nil {
		return nil, err
	}
	d := &config.Plugin{Kind: w.Kind, Name: w.Name, Version: w.Version}
	for _, m := range w.Meters {
		d.Meters = append(d.Meters, m.Name)
	}
	for _, m := range figure.Declare(i.Plugin, w.Own).Meters() {
		d.Own = append(d.Own, m.Name)
	}
	for _, o := range w.Options {
		d.Options = append(d.Options, sdkconfig.Option{Name: o.Name, Type: o.Type, Default: o.Default, Doc: o.Doc, Required: o.Required, Secret: o.Secret})
	}
	return d, nil
}

// ask has a plugin's process describe it, once for each version of its file.
func (c *Catalog) ask(i *config.Instance) (*wire.Description, error) {
	spec, err := c.Spec(i)
	if err != nil {
		return nil, err
	}
	key := version(i, spec)
	c.mu.Lock()
	d := c.known[key]
	c.mu.Unlock()
	if d != nil {
		return d, nil
	}
	err = c.with(spec, func(ctx context.Context, life *supervisor.Life) error {
		var err error
		d, err = life.Describe(ctx, &wire.DescribeRequest{})
		return err
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]*wire.Description{}
	}
	c.known[key] = d
	return d, nil
}

// version tells an instance's plugin from others and from other versions of its
// file.
func version(i *config.Instance, spec supervisor.Spec) string {
	key := i.ProcessKey()
	if info, err := os.Stat(spec.Path); err == nil {
		key += fmt.Sprint("/", info.Size(), "/", info.ModTime().UnixNano())
	}
	return key
}

func (c *Catalog) with(spec supervisor.Spec, questions func(context.Context, *supervisor.Life) error) error {
	timeout := askTimeout
	if c.Unusable != nil {
		timeout = startTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := supervisor.Ask(ctx, spec, questions)
	if errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded {
		return fmt.Errorf("plugin %s/%s (%s) gives no answer within %v", spec.Kind, spec.Name, spec.Path, timeout)
	}
	return err
}

// Check implements config.Catalog.
func (c *Catalog) Check(i *config.Instance) []config.Problem {
	if i.Command == "" {
		if p, ok := c.bundled(i.Kind, i.Plugin); ok {
			return p.Check(i.Options)
		}
	}
	spec, err := c.Spec(i)
	if err != nil {
		return nil // known since Describe
	}
	c.mu.Lock()
	known := c.known[version(i, spec)] != nil
	c.mu.Unlock()
	if !known {
		return nil // Unusable was told
	}
	var problems []config.Problem
	err = c.with(spec, func(ctx context.Context, life *supervisor.Life) error {
		r, err := life.Check(ctx, &wire.CheckRequest{Instance: i.Name, Options: protocol.EncodeTable(i.Options)})
		problems = protocol.DecodeProblems(r.GetProblems())
		return err
	})
	if err != nil {
		p := config.Problem{Pos: i.Pos, Key: i.Kind + "." + i.Plugin, Message: "the plugin cannot check its options: " + err.Error()}
		if c.Unusable == nil {
			return []config.Problem{p}
		}
		c.Unusable(p)
	}
	return problems
}

// Entry is a plugin that there is.
type Entry struct {
	Kind, Name, Version, Summary string
	SDK                          string
	Path                         string // empty: bundled
	Checksum                     string // of a plugin that is not bundled
	Err                          error  // why it cannot be used
}

// List gives all plugins, sorted by kind and name. Unless described, those that
// are not bundled are not started, and their versions unknown.
func (c *Catalog) List(ctx context.Context, describe bool) []Entry {
	var list []Entry
	for _, p := range c.Bundled {
		kind, err := p.Kind()
		list = append(list, Entry{Kind: string(kind), Name: p.Name, Version: c.Version, Summary: p.Summary, SDK: protocol.SDKVersion, Err: err})
	}
	files, _ := filepath.Glob(filepath.Join(c.Dir, "nepho-*-*"))
	for _, path := range files {
		kind, name, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), "nepho-"), "-")
		if !slices.Contains(config.Kinds(), kind) {
			continue
		}
		e := Entry{Kind: kind, Name: name, Path: path}
		if describe {
			i := &config.Instance{Kind: kind, Plugin: name}
			i.Command = path
			if d, err := c.ask(i); err != nil {
				e.Err = err
			} else {
				e.Version, e.Summary, e.SDK = d.Version, d.Summary, d.Sdk
			}
			e.Checksum, _ = supervisor.Checksum(path)
		}
		list = append(list, e)
	}
	order := config.Kinds()
	slices.SortStableFunc(list, func(a, b Entry) int {
		if d := slices.Index(order, a.Kind) - slices.Index(order, b.Kind); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// Sample gives the commented configuration of a plugin.
func (c *Catalog) Sample(kind, name string) (string, error) {
	if p, ok := c.bundled(kind, name); ok {
		return p.SampleConfig(), nil
	}
	d, err := c.ask(&config.Instance{Kind: kind, Plugin: name})
	if err != nil {
		return "", err
	}
	return d.SampleConfig, nil
}
