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

// Store looks after what the aggregator stores.
type Store struct {
	// Inspect tells what is in a block file; with numbers of metrics only of these, but
	// more.
	Inspect func(w io.Writer, file string, metrics ...uint64) error
	// Verify reads all that is stored in a folder or at an URL, or by an instance with
	// the given options, and tells what is damaged. sound is set if nothing is.
	Verify func(ctx context.Context, w io.Writer, where string, options *sdkconfig.Table) (sound bool, err error)
	// Adopt has the index of an instance with the given options describe its store of
	// measures from now on. path is the instance's folder if the options name none.
	Adopt func(ctx context.Context, w io.Writer, path string, options *sdkconfig.Table) error
}

func aggregatorCommands() []command {
	return []command{
		{"inspect", "FILE [NUMBER ...]", "tell what is in a block file", inspectHelp, (*App).inspect, nil},
		{"verify", "[FOLDER|URL]", "read all that is stored and tell what is damaged", verifyHelp, (*App).verify, nil},
		{"adopt", "", "have the index describe the store of measures that is there now", adoptHelp, (*App).adopt, nil},
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

const adoptHelp = `
The index (resources and metrics) and the store of measures (blocks, heads and the
log) of the configuration's [[storage.aggregator]] belong together: each knows the
other's id, and the aggregator does not start when they differ, for example because
a database was emptied, a file lost, or a folder exchanged. Bring back what is missing
if you can. If you can't, stop the agent and run this: it binds this index to this
store. Measures of metrics that the index does not know are forgotten after the
next start, bit by bit, and for ever.`

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
		path := ""
		if options, path = a.aggregator(*file); options == nil {
			fmt.Fprintf(a.Stderr, "%s: %s has no [[storage.aggregator]]: name a folder or an URL\n", flags.Name(), *file)
			return exitFailed
		}
		if v := options.Get("path"); v != nil && v.Str == "" && options.Get("s3") == nil {
			where = path
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

// aggregator finds the first aggregator of a configuration: its options, nil if there is
// none, and the instance's own folder, in which it is when they name no other.
func (a *App) aggregator(file string) (options *sdkconfig.Table, path string) {
	c, _ := config.Load(config.Options{File: file})
	for _, i := range c.Instances {
		if i.Kind == config.Storage && i.Plugin == "aggregator" {
			return i.Options, filepath.Join(c.Agent.DataDir, "state", i.Kind, i.Name)
		}
	}
	return nil, ""
}

func (a *App) adopt(flags *flag.FlagSet, args []string) int {
	file := configFlag(flags)
	if _, code, done := a.parse(flags, args, 0); done {
		return code
	}
	options, path := a.aggregator(*file)
	if options == nil {
		fmt.Fprintf(a.Stderr, "%s: %s has no [[storage.aggregator]]\n", flags.Name(), *file)
		return exitFailed
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := a.Store.Adopt(ctx, a.Stdout, path, options); err != nil {
		fmt.Fprintf(a.Stderr, "%s: %v\n", flags.Name(), err)
		return exitFailed
	}
	return exitOK
}
