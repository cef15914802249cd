package catalog

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
	sdkconfig "github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/protocol"
)

// TestMain serves the plugins that lie outside, which are this binary under other
// names.
func TestMain(m *testing.M) {
	if os.Getenv(protocol.CookieKey) != "" {
		if strings.Contains(os.Args[0], "dies") {
			os.Exit(3)
		}
		sdk.Serve(plugin("outside"))
		return
	}
	parts.Main(m)
}

type pollster struct {
	URL    string `toml:"url" required:"true"`
	Secret string `toml:"secret" secret:"true" doc:"What nobody sees."`
}

func (*pollster) Poll(context.Context, *sdk.Builder) error { return nil }

type publisher struct {
	Path string `toml:"path"`
}

func (*publisher) Publish(context.Context, *sdk.Batch) error { return nil }

func plugin(name string) sdk.Plugin {
	return sdk.Plugin{
		Name: name, Version: "1.2.3", Summary: "Tests catalogs.", Pollster: func() sdk.Pollster { return new(pollster) },
		Meters: []sdk.MeterInfo{{Meter: sdk.Meter{Name: "one", Unit: "1"}}},
	}
}

// newCatalog has the bundled pollster "inside" and publisher "sink", and a plugin
// folder.
func newCatalog(t *testing.T) *Catalog {
	t.Helper()
	sockets, err := os.MkdirTemp("/tmp", "nepho-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	return &Catalog{
		Bundled: []sdk.Plugin{
			plugin("inside"),
			{Name: "sink", Publisher: func() sdk.Publisher { return new(publisher) }},
		},
		Version: "1.2.3", Self: "/usr/bin/nepho", Dir: t.TempDir(), SocketDir: sockets,
	}
}

// install puts this binary into the plugin folder under a name.
func install(t *testing.T, c *Catalog, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.Dir, name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// instance reads one from TOML.
func instance(t *testing.T, toml string) *config.Instance {
	t.Helper()
	c, _ := config.Load(config.Options{
		File: "test.toml", Glob: func(string) ([]string, error) { return nil, nil },
		ReadFile: func(string) ([]byte, error) { return []byte(toml), nil },
	})
	if len(c.Instances) != 1 {
		t.Fatalf("%d instances in %s", len(c.Instances), toml)
	}
	return c.Instances[0]
}

func TestSpec(t *testing.T) {
	t.Setenv("NEPHO_TEST_SECRET", "of the host")
	t.Setenv("TZ", "UTC")
	c := newCatalog(t)
	outside := install(t, c, "nepho-pollster-outside")
	f := func(toml, path string, args ...string) {
		t.Helper()
		s, err := c.Spec(instance(t, toml))
		if err != nil || s.Path != path || !slices.Equal(s.Args, args) || !s.MTLS || s.Bundled != (len(args) > 0) {
			t.Errorf("%s: %v, %+v", toml, err, s)
		}
		if slices.ContainsFunc(s.Env, func(v string) bool { return strings.HasPrefix(v, "NEPHO_") }) || !slices.Contains(s.Env, "TZ=UTC") {
			t.Errorf("%s: the environment is %v", toml, s.Env)
		}
	}
	f("[[pollster.inside]]", "/usr/bin/nepho", "plugin", "pollster/inside")
	f("[[publisher.sink]]", "/usr/bin/nepho", "plugin", "publisher/sink")
	f("[[pollster.outside]]", outside)
	f("[[pollster.inside]]\ncommand = '/opt/other'", "/opt/other") // instead of the bundled one
	f("[[pollster.any]]\ncommand = '/opt/not/there/yet'", "/opt/not/there/yet")

	s, err := c.Spec(instance(t, "[[pollster.outside]]\nrestart = 'never'\nchecksum = 'sha256:"+strings.Repeat("ab", 32)+"'\nenv = { A = 'b', TZ = 'CET' }"))
	if err != nil || !s.Once || !strings.HasSuffix(s.Checksum, "abab") || !slices.Contains(s.Env, "A=b") || !slices.Contains(s.Env, "TZ=CET") {
		t.Errorf("%v, %+v", err, s)
	}

	wrong := func(toml, says string) {
		t.Helper()
		if _, err := c.Spec(instance(t, toml)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %s", toml, err, says)
		}
	}
	wrong("[[pollster.insied]]", `there is no pollster "insied": did you mean "inside"? it is not bundled, and nepho-pollster-insied is not in `+c.Dir)
	wrong("[[pollster.outsied]]", `did you mean "outside"?`)
	wrong("[[publisher.inside]]", `there is no publisher "inside", but a pollster: write [[pollster.inside]]`)
}

func TestDescribeAndCheck(t *testing.T) {
	c := newCatalog(t)
	install(t, c, "nepho-pollster-outside")
	for _, name := range []string{"inside", "outside"} {
		i := instance(t, "[[pollster."+name+"]]\nurl = 5\nsecrte = 'x'")
		d, err := c.Describe(i)
		if err != nil {
			t.Fatal(err)
		}
		if d.Kind != "pollster" || d.Name == "" || d.Version != "1.2.3" || !slices.Equal(d.Meters, []string{"one"}) || len(d.Options) != 2 || !d.Options[1].Secret || !d.Options[0].Required {
			t.Errorf("%s describes itself as %+v", name, d)
		}
		problems := c.Check(i)
		sdkconfig.Sort(problems)
		if len(problems) != 2 || problems[0].Pos.String() != "test.toml:2:1" || problems[1].Hint != `did you mean "secret"?` {
			t.Errorf("%s has the problems %v", name, problems)
		}
		if problems := c.Check(instance(t, "[[pollster."+name+"]]\nurl = 'x'")); len(problems) > 0 {
			t.Errorf("%s has the problems %v", name, problems)
		}
	}
}

// What a plugin said of itself holds until its file is another one.
func TestDescriptionsAreKept(t *testing.T) {
	c := newCatalog(t)
	path := install(t, c, "nepho-pollster-outside")
	i := instance(t, "[[pollster.outside]]")
	if _, err := c.Describe(i); err != nil {
		t.Fatal(err)
	}
	sockets := c.SocketDir
	c.SocketDir = "/nowhere" // so that it cannot be started
	if _, err := c.Describe(i); err != nil {
		t.Errorf("it is asked again: %v", err)
	}
	c.SocketDir = sockets
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Describe(i); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("the new file describes itself: %v", err)
	}
}

// Plugins that cannot be asked are problems, unless somebody wants to know of them
// otherwise; plugins that are not there always are.
func TestUnusable(t *testing.T) {
	c := newCatalog(t)
	install(t, c, "nepho-pollster-dies")
	i := instance(t, "\n[[pollster.dies]]")
	if _, err := c.Describe(i); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("it describes itself: %v", err)
	}
	var mu sync.Mutex
	var told []sdkconfig.Problem
	c.Unusable = func(p config.Problem) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, p)
	}
	d, err := c.Describe(i)
	if err != nil || d.Kind != "pollster" || d.Name != "dies" || len(c.Check(i)) > 0 {
		t.Errorf("it is described as %+v, %v", d, err)
	}
	if len(told) != 1 || told[0].Pos.Line != 2 || told[0].Key != "pollster.dies" || !strings.Contains(told[0].Message, "exit status 3") {
		t.Errorf("told is %v", told)
	}
	if _, err := c.Describe(instance(t, "[[pollster.nothing]]")); err == nil {
		t.Error("a plugin that is not there is described")
	}
}

func TestList(t *testing.T) {
	c := newCatalog(t)
	install(t, c, "nepho-pollster-outside")
	install(t, c, "nepho-pollster-dies")
	install(t, c, "nepho-other-thing")
	install(t, c, "something")
	names := func(list []Entry) (s string) {
		for _, e := range list {
			s += e.Kind + "/" + e.Name + "=" + e.Version + " "
		}
		return strings.TrimSpace(s)
	}
	if got := names(c.List(t.Context(), false)); got != "pollster/dies= pollster/inside=1.2.3 pollster/outside= publisher/sink=1.2.3" {
		t.Errorf("there are %s", got)
	}
	list := c.List(t.Context(), true)
	if got := names(list); got != "pollster/dies= pollster/inside=1.2.3 pollster/outside=1.2.3 publisher/sink=1.2.3" {
		t.Errorf("there are %s", got)
	}
	if e := list[2]; e.Err != nil || len(e.Checksum) != 64 || e.Summary != "Tests catalogs." || e.SDK != protocol.SDKVersion || e.Path == "" {
		t.Errorf("outside is %+v", e)
	}
	if e := list[0]; e.Err == nil || !strings.Contains(e.Err.Error(), "exit status 3") {
		t.Errorf("dies is %+v", e)
	}
	c.Dir = "/nowhere"
	if got := names(c.List(t.Context(), true)); got != "pollster/inside=1.2.3 publisher/sink=1.2.3" {
		t.Errorf("there are %s", got)
	}
}

func TestSample(t *testing.T) {
	c := newCatalog(t)
	install(t, c, "nepho-pollster-outside")
	for _, name := range []string{"inside", "outside"} {
		text, err := c.Sample("pollster", name)
		if err != nil || !strings.Contains(text, "[[pollster.") || !strings.Contains(text, "What nobody sees.") {
			t.Errorf("%s: %v, %s", name, err, text)
		}
	}
	if _, err := c.Sample("pollster", "nothing"); err == nil {
		t.Error("a plugin that is not there has a sample")
	}
}
