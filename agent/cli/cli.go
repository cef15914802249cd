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
	Stdout  io.Writer
	Stderr  io.Writer
}

// command is one word of the command line.
type command struct {
	name, args, summary, help string
	run                       func(a *App, flags *flag.FlagSet, args []string) int
}

func commands() []command {
	return []command{
		{"run", "", "run the agent", runHelp, (*App).run},
		{"check", "", "check the configuration and report all that is wrong with it", checkHelp, (*App).check},
		{"test", "[INSTANCE ...]", "poll once and show what each pipeline would publish; publish nothing", testHelp, (*App).test},
		{"plugins", "", "list all plugins that there are", pluginsHelp, (*App).plugins},
		{"config", "[PLUGIN ...]", "print a commented configuration of plugins, or the effective one", configHelp, (*App).config},
		{"status", "", "show how the running agent is doing", statusHelp, (*App).status},
		{"version", "", "print the version", "", (*App).version},
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
			return a.Main([]string{args[1], "--help"})
		}
		a.usage(a.Stdout)
		return exitOK
	case "-v", "--version":
		args = []string{"version"}
	}
	var names []string
	for _, c := range commands() {
		if c.name == args[0] {
			flags := flag.NewFlagSet("nepho "+c.name, flag.ContinueOnError)
			flags.SetOutput(io.Discard) // parse tells of errors and of help
			return c.run(a, flags, args[1:])
		}
		names = append(names, c.name)
	}
	fmt.Fprintf(a.Stderr, "nepho: there is no command %q", args[0])
	end := "."
	if near := sdkconfig.Suggest(args[0], names); near != "" {
		end = fmt.Sprintf("; did you mean %q?", near)
	}
	fmt.Fprintln(a.Stderr, end+" See nepho help.")
	return exitUsage
}

func (a *App) usage(w io.Writer) {
	fmt.Fprint(w, "Nepho collects what clouds and data centres can tell of themselves.\n\nUsage: nepho COMMAND [OPTIONS]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.summary)
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
	all := commands()
	c := all[slices.IndexFunc(all, func(c command) bool { return "nepho "+c.name == flags.Name() })]
	any := false
	flags.VisitAll(func(*flag.Flag) { any = true })
	line := "Usage: nepho " + c.name
	if any {
		line += " [OPTIONS]"
	}
	if c.args != "" {
		line += " " + c.args
	}
	fmt.Fprintf(w, "%s\n\n%s.\n", line, strings.ToUpper(c.summary[:1])+c.summary[1:])
	if c.help != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.help))
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
