// Package cli is nepho's command line.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/nephoscope/nepho/agent/catalog"
	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/sdk"
	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// DefaultConfig is where the configuration is unless the command line or the
// variable NEPHO_CONFIG says otherwise.
const DefaultConfig = "/etc/nepho/nepho.toml"

// App is the command line of one build.
type App struct {
	Version string
	Bundled []sdk.Plugin
	// Store looks into what the aggregator stores; nil where it is not bundled.
	Store  Store
	Stdout io.Writer
	Stderr io.Writer
}

// command is a word of the command line: one to be run, or one before others.
type command struct {
	name, args, summary, help string
	run                       func(a *App, flags *flag.FlagSet, args []string) int
	parts                     []command
}

func commands() []command {
	return []command{
		{"run", "", "run the agent", runHelp, (*App).run, nil},
		{"check", "", "check the configuration and report all that is wrong with it", checkHelp, (*App).check, nil},
		{"test", "[INSTANCE ...]", "poll once and show what each pipeline would publish; publish nothing", testHelp, (*App).test, nil},
		{"plugins", "", "list all plugins that there are", pluginsHelp, (*App).plugins, nil},
		{"config", "[PLUGIN ...]", "print a commented configuration of plugins, or the effective one", configHelp, (*App).config, nil},
		{"status", "", "show how the running agent is doing", statusHelp, (*App).status, nil},
		{"resource", "", "list, show and search resources of the aggregator", "", nil, resourceCommands()},
		{"metric", "", "list, show, make and delete metrics of the aggregator", "", nil, metricCommands()},
		{"measures", "", "show and add measures of the aggregator", "", nil, measuresCommands()},
		{"alarm", "", "list, show and test alarms", "", nil, alarmCommands()},
		{"aggregator", "", "look into what the aggregator stores", "", nil, aggregatorCommands()},
		{"version", "", "print the version", "", (*App).version, nil},
	}
}

// Main runs the command that args name and gives the exit code.
func (a *App) Main(args []string) int {
	if len(args) == 0 {
		a.usage(a.Stderr)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		if len(args) > 1 {
			return a.Main(append(slices.Clone(args[1:]), "--help"))
		}
		a.usage(a.Stdout)
		return exitOK
	case "-v", "--version":
		args = []string{"version"}
	}
	return a.dispatch("nepho", commands(), args)
}

// dispatch runs the command of a list that args begin with.
func (a *App) dispatch(before string, list []command, args []string) int {
	var names []string
	for _, c := range list {
		if c.name != args[0] {
			names = append(names, c.name)
			continue
		}
		name, rest := before+" "+c.name, args[1:]
		if c.parts == nil {
			flags := flag.NewFlagSet(name, flag.ContinueOnError)
			flags.SetOutput(io.Discard) // parse tells of errors and of help
			return c.run(a, flags, rest)
		}
		switch {
		case len(rest) == 0:
			groupUsage(a.Stderr, name, c)
			return exitUsage
		case slices.Contains([]string{"help", "-h", "-help", "--help"}, rest[0]):
			groupUsage(a.Stdout, name, c)
			return exitOK
		}
		return a.dispatch(name, c.parts, rest)
	}
	help, _ := strings.CutPrefix(before+" ", "nepho ")
	fmt.Fprintf(a.Stderr, "%s: there is no command %q", before, args[0])
	end := "."
	if near := sdkconfig.Suggest(args[0], names); near != "" {
		end = fmt.Sprintf("; did you mean %q?", near)
	}
	fmt.Fprintf(a.Stderr, "%s See nepho help%s.\n", end, strings.TrimSuffix(" "+help, " "))
	return exitUsage
}

func groupUsage(w io.Writer, name string, c command) {
	fmt.Fprintf(w, "Usage: %s COMMAND [OPTIONS]\n\n%s.\n\n", name, strings.ToUpper(c.summary[:1])+c.summary[1:])
	for _, p := range c.parts {
		fmt.Fprintf(w, "  %-8s %s\n", p.name, p.summary)
	}
	fmt.Fprintf(w, "\nnepho help %s COMMAND tells more.\n", c.name)
}

func (a *App) usage(w io.Writer) {
	fmt.Fprint(w, "Nepho collects what clouds and data centres can tell of themselves.\n\nUsage: nepho COMMAND [OPTIONS]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprintf(w, `
nepho help COMMAND tells more. The configuration is %s unless --config or the
environment variable NEPHO_CONFIG names another.

Start here:
  nepho plugins                         what can be collected, changed, published
  nepho config host file > nepho.toml   a commented start
  nepho check --config nepho.toml       is it right?
  nepho test --config nepho.toml        what would it publish?
  nepho run --config nepho.toml
`, DefaultConfig)
}

func commandUsage(w io.Writer, flags *flag.FlagSet) {
	c := command{parts: commands()}
	for _, word := range strings.Fields(flags.Name())[1:] {
		c = c.parts[slices.IndexFunc(c.parts, func(c command) bool { return c.name == word })]
	}
	any := false
	flags.VisitAll(func(*flag.Flag) { any = true })
	line := "Usage: " + flags.Name()
	if any {
		line += " [OPTIONS]"
	}
	if c.args != "" {
		line += " " + c.args
	}
	fmt.Fprintf(w, "%s\n\n%s.\n", line, strings.ToUpper(c.summary[:1])+c.summary[1:])
	if c.help != "" {
		fmt.Fprintf(w, "\n%s\n", strings.Trim(c.help, "\n"))
	}
	if !any {
		return
	}
	fmt.Fprintln(w, "\nOptions:")
	flags.VisitAll(func(f *flag.Flag) {
		value, doc := flag.UnquoteUsage(f)
		if value != "" {
			value = " " + strings.ToUpper(value)
		}
		if f.DefValue != "" && f.DefValue != "false" {
			doc += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  --%s%s\n        %s\n", f.Name, value, doc)
	})
}

// parse reads a command's options and gives its other arguments, of which there
// may be so many; -1 is any number. Options may stand behind arguments. done is
// set when the command is over.
func (a *App) parse(flags *flag.FlagSet, args []string, most int) (rest []string, code int, done bool) {
	for {
		switch err := flags.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			commandUsage(a.Stdout, flags)
			return nil, exitOK, true
		case err != nil:
			fmt.Fprintf(a.Stderr, "%s: %v. See nepho help %s.\n", flags.Name(), err, strings.TrimPrefix(flags.Name(), "nepho "))
			return nil, exitUsage, true
		}
		before := len(args) - flags.NArg()
		if flags.NArg() == 0 || before > 0 && args[before-1] == "--" {
			rest = append(rest, flags.Args()...)
			break
		}
		rest = append(rest, flags.Arg(0))
		args = flags.Args()[1:]
	}
	if most >= 0 && len(rest) > most {
		hint := ""
		if flags.Lookup("config") != nil && strings.HasSuffix(rest[most], ".toml") {
			hint = " did you mean --config " + rest[most] + "?"
		}
		fmt.Fprintf(a.Stderr, "%s: what is %q for?%s See nepho help %s.\n", flags.Name(), rest[most], hint, strings.TrimPrefix(flags.Name(), "nepho "))
		return nil, exitUsage, true
	}
	return rest, exitOK, false
}

// configFlag adds the option that names the configuration.
func configFlag(flags *flag.FlagSet) *string {
	file := os.Getenv("NEPHO_CONFIG")
	if file == "" {
		file = DefaultConfig
	}
	return flags.String("config", file, "the configuration's main `file`")
}

// load reads and checks the configuration; it reports what is wrong. For
// unusable see the catalogue's option.
func (a *App) load(file string, unusable func(config.Problem)) (*config.Config, *catalog.Catalog, bool) {
	c, problems := config.Load(config.Options{File: file})
	cat, err := a.catalog(c.Agent.PluginDir)
	if err != nil {
		fmt.Fprintf(a.Stderr, "nepho: %v\n", err)
		return nil, nil, false
	}
	cat.Unusable = unusable
	problems = append(problems, c.Check(cat)...)
	if len(problems) > 0 {
		sdkconfig.Sort(problems)
		sdkconfig.Report(a.Stderr, problems)
		return c, cat, false
	}
	return c, cat, true
}

// catalog makes the catalogue of a run of this command.
func (a *App) catalog(dir string) (*catalog.Catalog, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find the program's own file: %w", err)
	}
	sockets, err := socketDir()
	if err != nil {
		return nil, err
	}
	return &catalog.Catalog{Bundled: a.Bundled, Version: a.Version, Self: self, Dir: dir, SocketDir: sockets}, nil
}

// logger makes the host's logger.
func logger(w io.Writer, agent config.Agent) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(agent.LogLevel)) != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if agent.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func (a *App) version(flags *flag.FlagSet, args []string) int {
	if _, code, done := a.parse(flags, args, 0); done {
		return code
	}
	fmt.Fprintf(a.Stdout, "nepho %s\n", a.Version)
	return exitOK
}
