// Package sdk is what a Nepho plugin is made of.
//
// A plugin is an executable of its own that the host, the program nepho, starts
// and talks to. It measures something, listens to something, changes samples or
// takes them somewhere: one of six kinds, each a small interface.
//
//	Pollster      measures when asked               gives samples
//	Notification  waits for messages                gives samples and events
//	Transformer   makes samples of samples          keeps State per meter and resource
//	Publisher     takes batches where they belong   tells what to retry and what is refused
//	Storage       a Publisher that can be asked     answers a Query
//	Alarm         takes batches, asks storages      gives events
//
// This is a whole pollster:
//
//	package main
//
//	import (
//		"context"
//		"os"
//
//		"github.com/nephoscope/nepho/sdk"
//	)
//
//	type spool struct {
//		Path string `toml:"path" default:"/var/spool/mail" doc:"folder to count the files of"`
//	}
//
//	func (s *spool) Poll(_ context.Context, out *sdk.Builder) error {
//		files, err := os.ReadDir(s.Path)
//		if err != nil {
//			return err
//		}
//		out.On(sdk.Resource{ID: s.Path}).Gauge("spool.files", "file", float64(len(files)))
//		return nil
//	}
//
//	func main() {
//		sdk.Serve(sdk.Plugin{Name: "spool", Summary: "Counts files.", Pollster: func() sdk.Pollster { return &spool{} }})
//	}
//
// Built as nepho-pollster-spool and put into the host's plugin folder, operators
// enable it with [[pollster.spool]]. Started by hand it says what it is and polls
// once.
//
// The struct that a constructor gives holds the options, see package
// [github.com/nephoscope/nepho/sdk/config] for their tags. One with a Validate
// method can refuse them, a [Starter] is told its [Env] and can open what it
// needs, a [Stopper] can close it, and a [Measurer] tells figures about itself.
//
// Samples and events move in a [Batch], which is columns. A [Builder] makes one of
// rows; its readers take rows out of it, or work on its tables, which is much
// faster.
//
// Package [github.com/nephoscope/nepho/sdk/sdktest] runs a plugin in go test as the
// host does. docs/PLUGINS.md in the repository is the guide for authors, and
// docs/PROTOCOL.md tells what crosses the wire, for other languages.
package sdk
