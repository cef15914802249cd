// Command bench measures Nepho: it runs the built binary on loads that can be
// repeated, and prints one JSON object per figure on standard output, what it is
// doing and why on standard error. docs/BENCHMARKS.md tells what the figures mean.
//
//	go run ./integration/bench [-runs N] [-millions N] [SCENARIO...]
//
// With PEERS=1 in the environment it installs others that do the same, such as
// Telegraf, Ceilometer and Gnocchi, and runs them beside Nepho on the same work. A figure that misses what it must
// reach is marked and does not fail the program: machines differ. What cannot be
// measured does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// scenario is one measurement. It reports what it can before it fails.
type scenario struct {
	name, about string
	run         func(*bench, parts.TB)
}

// scenarios lists all, in the order in which they run.
func scenarios() []scenario {
	return []scenario{
		{"author", "what a plugin's author writes", author},
		{"check", "nepho check on the full example configuration", check},
		{"crash", "a plugin is killed: when does it serve again?", crash},
		{"idle", "a compute node's agent at rest: memory, first sample, growth", idle},
		{"libvirt", "500 domains of libvirt's test driver, 18 meters", libvirt},
		{"spool", "the spool alone: in, out, and recovery", spoolAlone},
		{"ceilometer", "generator, rate_of_change, discard: an instance's samples, spool in memory and on disk", ceilometerPayload},
		{"light", "the same with a metrics agent's samples", lightPayload},
		{"measures", "the aggregator: measures over HTTP, until their windows are stored", measures},
		{"samples", "the aggregator: samples from a pipeline", samples},
		{"queries", "the aggregator: answers, of one metric and of many", queries},
		{"sizes", "the aggregator: bytes of stored windows", sizes},
		{"alarms", "alarms on as many metrics: made, looked at, and told", alarms},
		{"alarms_many", "100,000 alarms made, a million held; only when it is named", alarmsMany},
		{"alarm_events", "event alarms: from a message to a webhook, and from a change to a file", alarmEvents},
		{"restarts", "the aggregator: memory, and restart with an hour of log", restarts},
	}
}

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	b := &bench{out: json.NewEncoder(stdout), log: stderr, peers: os.Getenv("PEERS") == "1"}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&b.runs, "runs", 3, "how often to measure; the median counts")
	flags.IntVar(&b.millions, "millions", 6, "samples that each run of a pipeline measures, in millions")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: [PEERS=1] go run ./integration/bench [flags] [SCENARIO...]")
		for _, s := range scenarios() {
			fmt.Fprintf(stderr, "  %-11s %s\n", s.name, s.about)
		}
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if b.runs < 1 || b.millions < 1 {
		return errors.New("-runs and -millions must be at least 1")
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b.ctx = ctx
	if b.dir, err = os.MkdirTemp("", "nepho-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.build(); err != nil {
		return err
	}
	var failed []string
	for _, s := range chosen {
		b.say("%s: %s (load average %s)", s.name, s.about, loadAverage())
		begun := time.Now()
		if err := parts.Run(stderr, func(tb parts.TB) { s.run(b, tb) }); err != nil {
			b.say("%s FAILED: %v", s.name, err)
			failed = append(failed, s.name)
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		b.say("%s took %.0f s", s.name, time.Since(begun).Seconds())
	}
	if len(failed) > 0 {
		return fmt.Errorf("could not be measured: %s", strings.Join(failed, ", "))
	}
	return nil
}

// onlyNamed is a scenario that takes too long to be one of all.
const onlyNamed = "alarms_many"

// choose finds scenarios by name; none stands for all.
func choose(names []string) ([]scenario, error) {
	all := scenarios()
	if len(names) == 0 {
		return slices.DeleteFunc(all, func(s scenario) bool { return s.name == onlyNamed }), nil
	}
	var chosen []scenario
	for _, name := range names {
		i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no scenario %q: see -help", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// build has make build the binary, unless NEPHO_BIN names one, and copies it: a file of its own shares no
// memory pages with agents that run elsewhere on this machine, which would make
// it look smaller.
func (b *bench) build() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	b.root = root
	from := os.Getenv("NEPHO_BIN")
	if from == "" {
		b.say("building")
		from = filepath.Join(root, "bin", "nepho")
		make := exec.CommandContext(b.ctx, "make", "--silent", "build")
		make.Dir, make.Stdout, make.Stderr = root, b.log, b.log
		if err := make.Run(); err != nil {
			return fmt.Errorf("cannot build: %w", err)
		}
	}
	bin := filepath.Join(b.dir, "nepho")
	if err := install(bin, from); err != nil {
		return err
	}
	return os.Setenv("NEPHO_BIN", bin) // where the tests' agents look
}

// install copies a program in small pieces, as package managers do. Of a file that
// is written all at once the kernel may keep pages of 2 MiB, and a process that
// needs a byte of one then has it whole.
func install(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	// Nothing but Read and Write, for files know how to copy themselves at once.
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 32<<10))
	return errors.Join(err, out.Close())
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("cannot find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}
