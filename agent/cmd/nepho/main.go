// Nepho is a telemetry agent for clouds and data centres.
package main

import (
	"fmt"
	"os"

	"github.com/nephoscope/nepho/agent/bundled"
	"github.com/nephoscope/nepho/agent/cli"
)

// version is set by the build.
var version = "dev"

func main() {
	if len(os.Args) > 2 && os.Args[1] == "plugin" {
		// This process is a plugin's: the host started it from its own file.
		if err := bundled.Serve(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, "nepho:", err)
			os.Exit(2)
		}
		return
	}
	app := &cli.App{Version: version, Bundled: bundled.Plugins(), Store: bundled.Store(), Stdout: os.Stdout, Stderr: os.Stderr}
	os.Exit(app.Main(os.Args[1:]))
}
