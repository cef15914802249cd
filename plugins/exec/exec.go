// Package exec is the pollster of what commands print: it runs a command at each
// poll, or keeps one running, and reads samples from its standard output.
package exec

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the pollster.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:     "exec",
		Summary:  "Runs a command and takes the samples that it prints, as influx line protocol or JSON",
		Sample:   sample,
		Pollster: func() sdk.Pollster { return &pollster{} },
	}
}

type pollster struct {
	Run          any               `toml:"run" required:"true" doc:"The command: a list of the program and its arguments, or with shell a string."`
	Shell        bool              `toml:"shell" default:"false" doc:"Give run, a string, to /bin/sh -c."`
	Mode         string            `toml:"mode" default:"once" enum:"once|stream" doc:"Whether to run it at each poll (once), or to keep it running (stream) and hand over at each poll what it printed."`
	Format       string            `toml:"format" default:"influx" enum:"influx|json" doc:"How the command prints samples."`
	Directory    string            `toml:"directory" doc:"The folder to run the command in."`
	Environment  map[string]string `toml:"environment" secret:"true" doc:"Variables of the command's environment, which has little else."`
	RestartDelay time.Duration     `toml:"restart_delay" default:"1s" min:"10ms" doc:"With stream: the pause before a command that ended is started again; it doubles up to 5m."`
	MaxOutput    config.Size       `toml:"max_output" default:"16MiB" min:"1KiB" doc:"How much a command may print in a poll."`
	influx

	command *command
	stream  *stream
	lines   lines
}

// Validate checks what the options' types cannot.
func (p *pollster) Validate() error {
	argv, err := p.argv()
	p.command = &command{argv: argv, dir: p.Directory, max: int(p.MaxOutput)}
	errs := []error{err, p.influx.check()}
	if p.Format != "influx" && len(p.Types)+len(p.Units) > 0 {
		errs = append(errs, config.KeyError("format", "types and units are for influx lines; samples in JSON have their own"))
	}
	for name := range p.Environment {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			errs = append(errs, config.KeyError("environment", "%q cannot be the name of a variable", name))
		}
	}
	return errors.Join(errs...)
}

func (p *pollster) argv() ([]string, error) {
	switch run := p.Run.(type) {
	case string:
		if p.Shell {
			return []string{"/bin/sh", "-c", run}, nil
		}
		return nil, config.KeyError("run", `expected a list such as ["program", "argument"]; set shell = true to have a shell read a string`)
	case []any:
		if p.Shell {
			return nil, config.KeyError("run", "expected a string for the shell, not a list")
		}
		var argv []string
		for _, a := range run {
			text, ok := a.(string)
			if !ok {
				return nil, config.KeyError("run", "expected strings, not %v", a)
			}
			argv = append(argv, text)
		}
		if argv[0] == "" {
			return nil, config.KeyError("run", "the program has no name")
		}
		return argv, nil
	}
	return nil, config.KeyError("run", `expected a list such as ["program", "argument"]`)
}

// Start begins a stream.
func (p *pollster) Start(_ context.Context, env sdk.Env) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	p.lines = lines{hostname: host}
	if p.Format == "influx" {
		p.influx.sort()
		p.lines.influx = &p.influx
	}
	p.command.complaints = &complaints{log: env.Log}
	p.command.env = environment(p.Environment)
	if p.Mode == "stream" {
		p.stream = startStream(p.command, p.RestartDelay)
	}
	return nil
}

// environment is what a command gets: the plugin's own holds the secrets of its
// connection to the host.
func environment(more map[string]string) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	if _, ok := os.LookupEnv("PATH"); !ok {
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	for name, v := range more {
		env = append(env, name+"="+v)
	}
	slices.Sort(env[len(env)-len(more):])
	return env
}

// Poll runs the command, or takes what a running one has printed. What it
// printed before it failed counts.
func (p *pollster) Poll(ctx context.Context, out *sdk.Builder) error {
	var t tally
	if p.stream != nil {
		taken, err := p.stream.take()
		for _, l := range taken {
			out.At(l.at)
			t.add(l.text, p.lines.line(l.text, out))
		}
		return errors.Join(err, t.err())
	}
	text, err := p.command.output(ctx)
	out.At(time.Now())
	p.lines.all(text, out, &t)
	return errors.Join(err, t.err())
}

// Stop ends a stream.
func (p *pollster) Stop(ctx context.Context) error {
	if p.stream != nil {
		p.stream.stop(ctx)
	}
	return nil
}
