package sdk

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/glob"
)

// byHand is what a plugin does when a person starts it: it tells what it is, and
// polls once where it can.
func byHand(p Plugin, args []string, out, errs io.Writer) int {
	kind, err := p.Kind()
	if err != nil {
		fmt.Fprintln(errs, err)
		return 2
	}
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	flags.SetOutput(errs)
	sample := flags.Bool("sample-config", false, "print a commented configuration and exit")
	file := flags.String("config", "", "`file` with the options for the trial poll: the bare options, or a [["+string(kind)+"."+p.Name+"]] table")
	timeout := flags.Duration("timeout", 10*time.Second, "for how long the trial poll may go on")
	flags.Usage = func() {
		fmt.Fprintf(errs, "%s %s is a Nepho plugin. Operators enable it in nepho.toml; started by hand it\ndescribes itself and, if it is a pollster, polls once.\n\nOptions:\n", kind, p.Name)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if *sample {
		fmt.Fprint(out, p.SampleConfig())
		return 0
	}
	p.print(out, kind)
	if kind != KindPollster {
		return 0
	}
	options := config.NewTable(string(kind) + "." + p.Name)
	if *file != "" {
		var problems []config.Problem
		if options, problems = readOptions(*file, kind, p.Name); len(problems) > 0 {
			config.Report(errs, problems)
			return 1
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	return trial(ctx, p, options, out, errs)
}

// readOptions reads the plugin's table out of a file that holds nothing else, or
// a whole configuration.
func readOptions(file string, kind Kind, name string) (*config.Table, []config.Problem) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, []config.Problem{{Pos: config.Pos{File: file}, Message: err.Error()}}
	}
	t, problems := config.Parse(file, text)
	if len(problems) > 0 {
		return nil, problems
	}
	if problems := t.Expand(os.LookupEnv, os.ReadFile); len(problems) > 0 {
		return nil, problems
	}
	if k := t.Get(string(kind)); k != nil && k.Kind == config.KindTable {
		switch v := k.Table.Get(name); {
		case v != nil && v.Kind == config.KindList && len(v.List) > 0 && v.List[0].Kind == config.KindTable:
			t = v.List[0].Table
		case v != nil && v.Kind == config.KindTable:
			t = v.Table
		}
		for _, key := range hostOptions {
			t.Delete(key)
		}
	}
	return t, nil
}

// hostOptions of a pollster are not the plugin's: the host takes them out.
var hostOptions = []string{
	"name", "command", "checksum", "env", "log_level", "isolate", "restart", "required", "timeout",
	"interval", "jitter", "concurrency", "resource_timeout", "meters", "tags",
}

func (p Plugin) print(out io.Writer, kind Kind) {
	fmt.Fprintf(out, "%s %s %s\n", kind, p.Name, p.version())
	if p.Summary != "" {
		fmt.Fprintln(out, p.Summary)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	if options := config.Options(p.New()); len(options) > 0 {
		fmt.Fprintln(w, "\nOPTION\tTYPE\tDEFAULT\t")
		for _, o := range options {
			def := o.Default
			if o.Required {
				def = "(required)"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", o.Name, o.Type, def, o.Doc)
		}
	}
	if len(p.Meters) > 0 {
		fmt.Fprintln(w, "\nMETER\tTYPE\tUNIT\t")
		for _, m := range p.Meters {
			fmt.Fprintf(w, "%s\t%v\t%s\t%s\n", m.Name, m.Type, m.Unit, m.Doc)
		}
	}
	if len(p.Own) > 0 {
		fmt.Fprintln(w, "\nABOUT ITSELF\tTYPE\tUNIT\t")
		for _, m := range p.Own {
			fmt.Fprintf(w, "nepho.%s.%s\t%v\t%s\t%s\n", p.Name, m.Name, m.Type, m.Unit, m.Doc)
		}
	}
	w.Flush()
}

// trial starts an instance, polls once and shows what came of it.
func trial(ctx context.Context, p Plugin, options *config.Table, out, errs io.Writer) int {
	impl := p.New()
	if problems := options.Decode(impl); len(problems) > 0 {
		fmt.Fprintln(out)
		config.Report(errs, problems)
		fmt.Fprintln(errs, "give the trial poll its options with --config FILE")
		return 1
	}
	every, _ := glob.Compile(nil)
	in := &instance{impl: impl, env: Env{
		Instance: p.Name, Log: slog.New(slog.NewTextHandler(errs, nil)), Interval: time.Minute,
		Concurrency: 8, ResourceTimeout: 10 * time.Second, meters: every,
	}}
	in.env.states = &in.states
	s := &server{p: p, kind: KindPollster, log: in.env.Log}
	begun := time.Now()
	if starter, ok := impl.(Starter); ok {
		if err := s.safely(in, func() error { return starter.Start(ctx, in.env) }); err != nil {
			fmt.Fprintf(errs, "\ncannot start: %v\n", err)
			return 1
		}
	}
	defer s.stop(context.WithoutCancel(ctx), in)
	started := time.Now()
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nSAMPLE\tVOLUME\tUNIT\tTYPE\tRESOURCE")
	n := 0
	b := newBuilder(in.output(func(data []byte) error {
		batch, err := DecodeBatch(data)
		if err != nil {
			return err
		}
		for _, s := range batch.Samples() {
			n++
			volume := strconv.FormatFloat(s.Volume, 'f', -1, 64)
			fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\n", s.Name, volume, s.Unit, s.Type, s.ResourceID)
		}
		return nil
	}))
	err := s.safely(in, func() error {
		return poll(context.WithValue(ctx, eachKey{}, &eachCall{in: in, s: s}), impl, b)
	})
	polled := time.Now()
	b.Flush()
	w.Flush()
	fmt.Fprintf(out, "\n%d samples; started in %v, polled in %v\n", n,
		started.Sub(begun).Round(time.Microsecond), polled.Sub(started).Round(time.Microsecond))
	if err := errors.Join(err, b.Err()); err != nil {
		fmt.Fprintf(errs, "the poll failed: %v\n", err)
		return 1
	}
	return 0
}

// SampleConfig gives commented TOML with every option of the plugin.
func (p Plugin) SampleConfig() string {
	if p.Sample != "" {
		return p.Sample
	}
	kind, err := p.Kind()
	if err != nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n[[%s.%s]]\n", p.Summary, kind, p.Name)
	for _, o := range config.Options(p.New()) {
		mark := "# "
		if o.Required {
			mark = ""
		}
		fmt.Fprintf(&b, "# %s\n%s%s = %s\n", o.Doc, mark, o.Name, sampleValue(o.Type, o.Default))
	}
	return b.String()
}

// sampleValue writes an option's default as TOML.
func sampleValue(typ, def string) string {
	if element, ok := strings.CutPrefix(typ, "list of "); ok {
		if def == "" {
			return "[]"
		}
		values := strings.Split(def, ",")
		for i, v := range values {
			values[i] = sampleValue(element, strings.TrimSpace(v))
		}
		return "[" + strings.Join(values, ", ") + "]"
	}
	switch {
	case strings.HasPrefix(typ, "table"):
		return "{}"
	case typ == "boolean":
		return cmp.Or(def, "false")
	case typ == "integer", typ == "number":
		return cmp.Or(def, "0")
	default:
		return strconv.Quote(def)
	}
}
