// Package bundled is the one list of the plugins that come with nepho.
package bundled

import (
	"fmt"
	"os"

	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/outputs/file"
	hostplugin "github.com/nephoscope/nepho/plugins/host"
	"github.com/nephoscope/nepho/sdk"
)

// Plugins lists the bundled plugins.
func Plugins() []sdk.Plugin {
	return []sdk.Plugin{
		host.InternalPlugin(),
		hostplugin.Plugin(),
		file.Plugin(),
	}
}

// Serve runs the bundled plugin of the given kind and name, such as
// pollster/host, with the given arguments.
func Serve(name string, args []string) error {
	for _, p := range Plugins() {
		if kind, err := p.Kind(); err == nil && string(kind)+"/"+p.Name == name {
			os.Args = append([]string{name}, args...)
			sdk.Serve(p)
			return nil
		}
	}
	return fmt.Errorf("there is no bundled plugin %q: see nepho plugins", name)
}
