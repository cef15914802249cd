package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/nephoscope/nepho/agent/config"
	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

// Store looks into what the aggregator stores.
type Store struct {
	// Inspect tells what is in a block file; with numbers of metrics only of these, but
	// more.
	Inspect func(w io.Writer, file string, metrics ...uint64) error
	// Verify reads all that is stored in a folder or at an URL, or by an instance with
	// the given options, and tells what is damaged. sound is set if nothing is.
	Verify func(ctx context.Context, w io.Writer, where string, options *sdkconfig.Table) (sound bool, err error)
}

func aggregatorCommands() []command {
	return []command{
		{"inspect", "FILE [NUMBER ...]", "tell what is in a block file", inspectHelp, (*App).inspect, nil},
		{"verify", "[FOLDER|URL]", "read all that is stored and tell what is damaged", verifyHelp, (*App).verify, nil},
	}
}

const inspectHelp = `
Block files are in the folder objects/blocks of the option path. Each metric has a
number in them; with numbers only these metrics are shown, with their segments.`

const verifyHelp = `
Without an argument it is what the configuration's [[storage.aggregator]] stores.
FOLDER is its option path. URL is a bucket, such as
https://s3.example.com/BUCKET/PREFIX, with the keys in AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY. Nothing is changed, and the agent may be running. The exit code
is 0 when all is sound, else 1.`

func (a *App) inspect(flags *flag.FlagSet, args []string) int {
	rest, code, done := a.parse(flags, args, -1)
	switch {
	case done:
		return code
	case len(rest) == 0:
		return a.lacks(flags, "FILE")
	}
	var metrics []uint64
	for _, text := range rest[1:] {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			fmt.Fprintf(a.Stderr, "%s: %q is no number of a metric. See nepho help aggregator inspect.\n", flags.Name(), text)
			return exitUsage
		}
		metrics = append(metrics, n)
	}
	if err := a.Store.Inspect(a.Stdout, rest[0], metrics...); err != nil {
		fmt.Fprintf(a.Stderr, "%s: %v\n", flags.Name(), err)
		return exitFailed
	}
	return exitOK
}

func (a *App) verify(flags *flag.FlagSet, args []string) int {
	file := configFlag(flags)
	rest, code, done := a.parse(flags, args, 1)
	if done {
		return code
	}
	where, options := "", (*sdkconfig.Table)(nil)
	if len(rest) > 0 {
		where = rest[0]
	} else {
		c, _ := config.Load(config.Options{File: *file})
		for _, i := range c.Instances {
			if i.Kind == config.Storage && i.Plugin == "aggregator" && options == nil {
				options = i.Options
				if v := options.Get("path"); v != nil && v.Str == "" && options.Get("s3") == nil {
					where = filepath.Join(c.Agent.DataDir, "state", i.Kind, i.Name) // the instance's own folder
				}
			}
		}
		if options == nil {
			fmt.Fprintf(a.Stderr, "%s: %s has no [[storage.aggregator]]: name a folder or an URL\n", flags.Name(), *file)
			return exitFailed
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	sound, err := a.Store.Verify(ctx, a.Stdout, where, options)
	switch {
	case err != nil:
		fmt.Fprintf(a.Stderr, "%s: %v\n", flags.Name(), err)
		return exitFailed
	case !sound:
		return exitFailed
	}
	return exitOK
}
