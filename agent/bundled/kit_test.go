package bundled_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nephoscope/nepho/agent/bundled"
	"github.com/nephoscope/nepho/agent/catalog"
	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/sdk"
	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

// root is the repository's folder.
const root = "../.."

// each runs a test for every bundled plugin.
func each(t *testing.T, f func(t *testing.T, kind string, p sdk.Plugin)) {
	t.Helper()
	for _, p := range bundled.Plugins() {
		kind, err := p.Kind()
		if err != nil {
			t.Fatal(err)
		}
		t.Run(string(kind)+"/"+p.Name, func(t *testing.T) { f(t, string(kind), p) })
	}
}

// folder is where a plugin lies: what takes samples in outputs, the aggregator in a
// folder of its own, all others in plugins.
func folder(kind, name string) string {
	if kind == config.Storage && name == "aggregator" {
		return filepath.Join(root, "aggregator")
	}
	if kind == config.Publisher {
		return filepath.Join(root, "outputs", name)
	}
	return filepath.Join(root, "plugins", name)
}

// isHosts tells the one plugin that has no folder: it is a part of the host, and
// the operator's manual describes it.
func isHosts(kind, name string) bool { return kind == config.Pollster && name == host.Internal }

// manual is where a plugin is described.
func manual(kind, name string) string {
	if isHosts(kind, name) {
		return filepath.Join(root, "docs/OPERATING.md")
	}
	return filepath.Join(folder(kind, name), "README.md")
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// bundledOnly knows no plugins but the bundled ones.
func bundledOnly() *catalog.Catalog {
	return &catalog.Catalog{Bundled: bundled.Plugins(), Self: "nepho", Dir: "/nonexistent"}
}

// leaf is an option that holds a value rather than other options.
type leaf struct {
	sdkconfig.Option
	path string // such as target.unit
}

// leaves lists the options with those inside of tables in place of these.
func leaves(options []sdkconfig.Option, prefix string) []leaf {
	var list []leaf
	for _, o := range options {
		if len(o.Options) > 0 {
			list = append(list, leaves(o.Options, prefix+o.Name+".")...)
		} else {
			list = append(list, leaf{o, prefix + o.Name})
		}
	}
	return list
}
