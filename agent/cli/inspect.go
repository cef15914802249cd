package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/sdk"
)

const checkHelp = `
All problems are reported at once, each with file, line and what to do. Plugins
check their own options. The exit code is 0 when all is right, else 1.`

func (a *App) check(flags *flag.FlagSet, args []string) int {
	file := configFlag(flags)
	if _, code, done := a.parse(flags, args, 0); done {
		return code
	}
	c, cat, ok := a.load(*file, nil)
	if cat != nil {
		defer os.RemoveAll(cat.SocketDir)
	}
	if !ok {
		return exitFailed
	}
	fmt.Fprintf(a.Stdout, "%s is right: %s, %s\n", strings.Join(c.Files, ", "), count(len(c.Instances), "instance"), count(len(c.Pipelines), "pipeline"))
	return exitOK
}

// count gives a number of things in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

const testHelp = `
Pollsters poll and transformers transform, in fresh processes beside a running
agent and without its state; publishers are not started. Name instances to poll
only those. Rates need two polls: --polls 2 --every 5s.`

func (a *App) test(flags *flag.FlagSet, args []string) int {
	file := configFlag(flags)
	polls := flags.Int("polls", 1, "how often to poll")
	every := flags.Duration("every", time.Second, "pause between polls")
	asJSON := flags.Bool("json", false, "print samples as JSON lines")
	names, code, done := a.parse(flags, args, -1)
	if done {
		return code
	}
	c, cat, ok := a.load(*file, nil)
	if cat != nil {
		defer os.RemoveAll(cat.SocketDir)
	}
	if !ok {
		return exitFailed
	}
	for _, name := range names {
		if i := c.Instance(name); i == nil || i.Kind != config.Pollster {
			fmt.Fprintf(a.Stderr, "nepho test: there is no pollster %q in the configuration\n", name)
			return exitUsage
		}
	}
	if c.Agent.LogLevel == "info" {
		c.Agent.LogLevel = "warn" // that instances start is no news here
	}
	for _, i := range c.Instances {
		if i.LogLevel == "info" {
			i.LogLevel = "warn"
		}
	}
	h := host.New(cat, a.Version, logger(a.Stderr, c.Agent))
	w := tabwriter.NewWriter(a.Stdout, 0, 4, 2, ' ', 0)
	last := ""
	show := func(pipeline string, publishers []string, b *sdk.Batch) {
		if !*asJSON && pipeline != last {
			last = pipeline
			fmt.Fprintf(w, "\npipeline %s → %s\n", pipeline, strings.Join(publishers, ", "))
		}
		for _, s := range b.Samples() {
			if *asJSON {
				fmt.Fprintf(a.Stdout, "%s\n", s.AppendJSON(nil))
				continue
			}
			volume := strconv.FormatFloat(s.Volume, 'f', -1, 64)
			fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\n", s.Name, volume, s.Unit, s.Type, s.ResourceID)
		}
	}
	err := h.Trial(context.Background(), c, names, *polls, *every, show)
	w.Flush()
	if err != nil {
		fmt.Fprintf(a.Stderr, "nepho test: %v\n", err)
		return exitFailed
	}
	return exitOK
}

const pluginsHelp = `
Bundled plugins are part of this program; others are executables named
nepho-KIND-NAME in the plugin folder. Those are started to ask for their version.`

func (a *App) plugins(flags *flag.FlagSet, args []string) int {
	file := configFlag(flags)
	dir := flags.String("plugin-dir", "", "`folder` of plugins that are not bundled; that of the configuration if not set")
	if _, code, done := a.parse(flags, args, 0); done {
		return code
	}
	c, _ := config.Load(config.Options{File: *file})
	if *dir == "" {
		*dir = c.Agent.PluginDir
	}
	cat, err := a.catalog(*dir)
	if err != nil {
		fmt.Fprintf(a.Stderr, "nepho: %v\n", err)
		return exitFailed
	}
	defer os.RemoveAll(cat.SocketDir)
	used := map[string][]string{}
	for _, i := range c.Instances {
		key := i.Kind + "/" + i.Plugin
		used[key] = append(used[key], i.Name)
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tVERSION\tWHERE\tUSED BY\tWHAT")
	code := exitOK
	for _, e := range cat.List(context.Background(), true) {
		where := "bundled"
		if e.Path != "" {
			where = e.Path + " sha256:" + e.Checksum
		}
		what := e.Summary
		if e.Err != nil {
			what = "cannot be used: " + e.Err.Error()
			code = exitFailed
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Kind, e.Name, e.Version, where, strings.Join(used[e.Kind+"/"+e.Name], ","), what)
	}
	w.Flush()
	return code
}

const configHelp = `
PLUGIN is a name such as host, or KIND/NAME such as publisher/amqp. Without one,
or with --effective, the configuration is printed as it is in effect: files
joined, defaults filled in, secrets hidden.`

func (a *App) config(flags *flag.FlagSet, args []string) int {
	file := configFlag(flags)
	effective := flags.Bool("effective", false, "print the configuration as it is in effect")
	names, code, done := a.parse(flags, args, -1)
	if done {
		return code
	}
	if *effective || len(names) == 0 {
		c, cat, ok := a.load(*file, nil)
		if cat != nil {
			defer os.RemoveAll(cat.SocketDir)
		}
		if !ok {
			return exitFailed
		}
		fmt.Fprint(a.Stdout, c.Redacted())
		return exitOK
	}
	c, _ := config.Load(config.Options{File: *file})
	cat, err := a.catalog(c.Agent.PluginDir)
	if err != nil {
		fmt.Fprintf(a.Stderr, "nepho: %v\n", err)
		return exitFailed
	}
	defer os.RemoveAll(cat.SocketDir)
	for n, name := range names {
		kind, rest, exact := strings.Cut(name, "/")
		found := false
		for _, e := range cat.List(context.Background(), false) {
			if exact && (e.Kind != kind || e.Name != rest) || !exact && e.Name != name {
				continue
			}
			text, err := cat.Sample(e.Kind, e.Name)
			if err != nil {
				fmt.Fprintf(a.Stderr, "nepho config: %v\n", err)
				return exitFailed
			}
			if found || n > 0 {
				fmt.Fprintln(a.Stdout)
			}
			found = true
			fmt.Fprint(a.Stdout, text)
		}
		if !found {
			fmt.Fprintf(a.Stderr, "nepho config: there is no plugin %q: see nepho plugins\n", name)
			return exitFailed
		}
	}
	return exitOK
}

const statusHelp = `
The exit code is 0 when the agent runs and every instance is started, else 1.`

func (a *App) status(flags *flag.FlagSet, args []string) int {
	file := configFlag(flags)
	address := flags.String("address", "", "`host:port` of the agent's status page; that of the configuration if not set")
	asJSON := flags.Bool("json", false, "print all of it as JSON")
	if _, code, done := a.parse(flags, args, 0); done {
		return code
	}
	if *address == "" {
		c, _ := config.Load(config.Options{File: *file})
		if *address = c.Agent.Listen; *address == "" {
			fmt.Fprintln(a.Stderr, "nepho status: the agent serves no status page: listen in [agent] is empty")
			return exitFailed
		}
	}
	client := &http.Client{Timeout: 5 * time.Second}
	r, err := client.Get("http://" + *address + "/status")
	if err != nil {
		fmt.Fprintf(a.Stderr, "nepho status: no agent answers at %s: %v\n", *address, err)
		return exitFailed
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	var s host.Status
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil {
		fmt.Fprintf(a.Stderr, "nepho status: what answers at %s is no agent: %v\n", *address, err)
		return exitFailed
	}
	if *asJSON {
		a.Stdout.Write(body)
	} else {
		printStatus(a.Stdout, &s)
	}
	if !s.Ready() {
		return exitFailed
	}
	return exitOK
}

func printStatus(out io.Writer, s *host.Status) {
	fmt.Fprintf(out, "nepho %s, process %d, up %v\n", s.Version, s.PID, s.Time.Sub(s.Started).Round(time.Second))
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nSOURCE\tSAMPLES\tEVENTS\tPOLLS\tFAILED\tTIMED OUT\tSKIPPED\tTOOK\tERROR")
	for _, v := range s.Sources {
		polls, took := "-", "-" // what waits for notifications does not poll
		if v.Kind == config.Pollster {
			polls, took = strconv.FormatUint(v.Polls, 10), v.Duration.Round(10*time.Microsecond).String()
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%d\t%d\t%s\t%s\n", v.Name, v.Samples, v.Events, polls, v.Failures, v.Timeouts, v.Skipped, took, v.Error)
	}
	fmt.Fprintln(w, "\nPIPELINE\tIN\tFILTERED\tDROPPED\tREFUSED\tWAITING\tTRANSFORMED\tOUT")
	for _, p := range s.Pipelines {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", p.Name, p.In, p.Filtered, p.Dropped, p.Refused, p.Waiting, p.Transformed, p.Out)
	}
	fmt.Fprintln(w, "\nPUBLISHER\tPUBLISHED\tREFUSED\tDROPPED\tWAITING\tRETRIES\tSPOOL\tERROR")
	for _, k := range s.Sinks {
		fmt.Fprintf(w, "%s/%s\t%d\t%d\t%d\t%d\t%d\t%d B\t%s\n", k.Pipeline, k.Publisher, k.Published, k.Refused,
			k.DroppedFull+k.DroppedDamage+k.DroppedDisk, k.Waiting, k.Retries, k.SpoolBytes, k.Error)
	}
	fmt.Fprintln(w, "\nPLUGIN\tSTATE\tPID\tRESTARTS\tMEMORY\tLAST ERROR")
	for _, p := range s.Plugins {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d MiB\t%s\n", p.Process, p.State, p.PID, p.Restarts, p.RSS>>20, p.Error)
	}
	for _, i := range s.Instances {
		if i.State != "ready" {
			fmt.Fprintf(w, "\ninstance %s is %s: %s\n", i.Name, i.State, i.Error)
		}
	}
	w.Flush()
}
