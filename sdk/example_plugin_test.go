package sdk_test

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/nephoscope/nepho/sdk"
)

// files counts the files of a folder. Its fields are its options.
type files struct {
	Path    string `toml:"path" required:"true" doc:"Folder to count the files of."`
	Pattern string `toml:"pattern" default:"*" doc:"Which of them."`
}

func (f *files) Poll(_ context.Context, out *sdk.Builder) error {
	matches, err := filepath.Glob(filepath.Join(f.Path, f.Pattern))
	if err != nil {
		return err
	}
	out.On(sdk.Resource{ID: f.Path}).Gauge("files", "file", float64(len(matches)))
	return nil
}

// What main gives to Serve. Operators get a sample of the options for free.
func ExamplePlugin() {
	plugin := sdk.Plugin{
		Name:     "files",
		Summary:  "Counts the files of a folder",
		Meters:   []sdk.MeterInfo{{Meter: sdk.Meter{Name: "files", Type: sdk.Gauge, Unit: "file"}, Doc: "files in the folder"}},
		Pollster: func() sdk.Pollster { return &files{} },
	}
	// sdk.Serve(plugin)

	fmt.Print(plugin.SampleConfig())
	// Output:
	// # Counts the files of a folder
	// [[pollster.files]]
	// # Folder to count the files of.
	// path = ""
	// # Which of them.
	// # pattern = "*"
}
