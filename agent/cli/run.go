package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/nephoscope/nepho/agent/catalog"
	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/agent/status"
	"github.com/nephoscope/nepho/sdk/idle"
)

const runHelp = `
The configuration is checked first; the agent does not start on a wrong one.

SIGHUP reads it again: a wrong one changes nothing, a right one restarts only
what differs. SIGTERM and SIGINT stop the agent: what is under way is finished
within stop_timeout, and what is spooled on disk waits for the next start.`

func (a *App) run(flags *flag.FlagSet, args []string) int {
	file := configFlag(flags)
	if _, code, done := a.parse(flags, args, 0); done {
		return code
	}
	// From here on a signal means something to us.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var mu sync.Mutex
	var early []config.Problem // of plugins, before there is a logger
	c, cat, ok := a.load(*file, func(p config.Problem) {
		mu.Lock()
		defer mu.Unlock()
		early = append(early, p)
	})
	if cat != nil {
		defer os.RemoveAll(cat.SocketDir)
	}
	if !ok {
		return exitFailed
	}
	log := logger(a.Stderr, c.Agent)
	cat.Unusable = func(p config.Problem) {
		log.Error("a plugin cannot be used now; it is tried again", "problem", p.Error())
	}
	for _, p := range early {
		cat.Unusable(p)
	}
	release, err := lockDataDir(c.Agent.DataDir)
	if err != nil {
		fmt.Fprintf(a.Stderr, "nepho: %v\n", err)
		return exitFailed
	}
	defer release()
	running, ended := context.WithCancel(context.Background())
	defer ended()
	go idle.Trim(running)
	h := host.New(cat, a.Version, log)
	if c.Agent.Listen != "" {
		server, err := status.Listen(c.Agent.Listen, h, log)
		if err != nil {
			fmt.Fprintf(a.Stderr, "nepho: %v\n", err)
			return exitFailed
		}
		log.Info("status page", "url", "http://"+server.Addr()+"/")
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			server.Close(ctx)
		}()
	}
	for folder, rows := range host.Forgotten(c) {
		log.Warn("samples wait in a spool that no pipeline empties: give a pipeline and its publisher their former names, or delete it", "spool", folder, "rows", rows)
	}
	if err := h.Apply(context.Background(), c); err != nil {
		log.Error("some of the configuration cannot run", "error", err)
	}
	if err := awaitRequired(h, signals); err != nil {
		log.Error("a required instance cannot start", "error", err)
		a.stop(h, c.Agent.StopTimeout, log, signals)
		return exitFailed
	}
	log.Info("running", "version", a.Version, "instances", len(c.Instances), "pipelines", len(c.Pipelines))
	notify("READY=1")
	retry := time.NewTicker(retryPause)
	defer retry.Stop()
	for stopping := false; !stopping; {
		select {
		case s := <-signals:
			log.Info("stopping", "signal", s.String(), "within", c.Agent.StopTimeout)
			stopping = true
		case <-hangups:
			notify("RELOADING=1")
			c = a.reload(h, cat, c, *file, log)
			notify("READY=1")
		case <-retry.C:
			if err := h.Retry(); err != nil {
				log.Error("some of the configuration still cannot run", "error", err)
			}
		}
	}
	notify("STOPPING=1")
	a.stop(h, c.Agent.StopTimeout, log, signals)
	return exitOK
}

// reload applies a changed configuration, unless it is wrong.
func (a *App) reload(h *host.Host, cat *catalog.Catalog, before *config.Config, file string, log *slog.Logger) *config.Config {
	next, problems := config.Load(config.Options{File: file})
	problems = append(problems, next.Check(cat)...)
	if len(problems) > 0 {
		for _, p := range problems {
			log.Error("configuration is wrong", "problem", p.Error())
		}
		log.Error("the configuration was not changed", "problems", len(problems))
		return before
	}
	changes := next.Diff(before)
	if changes.None() && len(h.Status().Missing) == 0 {
		log.Info("the configuration is the same as before")
		return before
	}
	for _, fixed := range []struct {
		option  string
		changed bool
	}{
		{"data_dir", next.Agent.DataDir != before.Agent.DataDir},
		{"plugin_dir", next.Agent.PluginDir != before.Agent.PluginDir},
		{"listen", next.Agent.Listen != before.Agent.Listen},
		{"mtls", next.Agent.MTLS != before.Agent.MTLS},
		{"plugin_memory_limit", next.Agent.PluginMemoryLimit != before.Agent.PluginMemoryLimit},
		{"log_level", next.Agent.LogLevel != before.Agent.LogLevel},
		{"log_format", next.Agent.LogFormat != before.Agent.LogFormat},
	} {
		if fixed.changed {
			log.Warn("an option of [agent] takes effect with the next start", "option", fixed.option)
		}
	}
	next.Agent.DataDir, next.Agent.PluginDir = before.Agent.DataDir, before.Agent.PluginDir
	ctx, cancel := context.WithTimeout(context.Background(), before.Agent.StopTimeout)
	defer cancel()
	if err := h.Apply(ctx, next); err != nil {
		log.Error("some of the changed configuration cannot run", "error", err)
	}
	log.Info("the configuration was changed", "added", changes.Added, "changed", changes.Changed, "removed", changes.Removed,
		"pipelines_added", changes.AddedPipelines, "pipelines_changed", changes.ChangedPipelines, "pipelines_removed", changes.RemovedPipelines)
	return next
}

// impatience is how long after the first signal a second one counts: one Ctrl-C
// may come to us both from the terminal and from what started us.
const impatience = time.Second

// stop ends the host in time; a second signal ends it at once.
func (a *App) stop(h *host.Host, timeout time.Duration, log *slog.Logger, signals <-chan os.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	begun := time.Now()
	go func() {
		for {
			select {
			case <-signals:
				if time.Since(begun) > impatience {
					log.Warn("stopping at once")
					cancel()
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	h.Stop(ctx)
	log.Info("stopped", "after", time.Since(begun).Round(time.Millisecond))
}

// retryPause lies between attempts to start what could not be started.
const retryPause = 30 * time.Second

// requiredTimeout is how long required instances may take to start.
const requiredTimeout = 30 * time.Second

// awaitRequired waits for the instances without which the agent is not to run, or
// until it is told to stop.
func awaitRequired(h *host.Host, signals <-chan os.Signal) error {
	for begun := time.Now(); ; {
		waiting := ""
		for _, i := range h.Status().Instances {
			switch {
			case !i.Required || i.State == "ready":
			case i.Error != "":
				return fmt.Errorf("%s: %s", i.Name, i.Error)
			default:
				waiting = i.Name
			}
		}
		if waiting == "" {
			return nil
		}
		if time.Since(begun) > requiredTimeout {
			return fmt.Errorf("%s did not start within %v", waiting, requiredTimeout)
		}
		select {
		case s := <-signals:
			return fmt.Errorf("%s had not started when signal %s came", waiting, s)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// notify tells systemd, where it is there to listen.
func notify(state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.Write([]byte(state))
}

// lockDataDir keeps a second agent out of the data directory.
func lockDataDir(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make data_dir: %w", err)
	}
	fd, err := lockDir(dir)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, fmt.Errorf("data_dir %q is in use by another agent: stop it, or choose another data_dir", dir)
	case err != nil:
		return nil, fmt.Errorf("cannot lock data_dir %q: %w", dir, err)
	}
	return func() { syscall.Close(fd) }, nil
}
