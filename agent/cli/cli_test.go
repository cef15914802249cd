package cli

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/sdk"
)

type pollster struct {
	URL string `toml:"url"`
}

func (*pollster) Poll(context.Context, *sdk.Builder) error { return nil }

type publisher struct{}

func (*publisher) Publish(context.Context, *sdk.Batch) error { return nil }

// nepho runs a command line on a configuration.
func nepho(t *testing.T, toml string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("RUNTIME_DIRECTORY", "")
	t.Setenv("NEPHO_CONFIG", filepath.Join(dir, "nepho.toml"))
	if err := os.WriteFile(filepath.Join(dir, "nepho.toml"), []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	a := &App{Version: "1.2.3", Stdout: &out, Stderr: &log, Bundled: []sdk.Plugin{
		{Name: "web", Summary: "Polls.", Pollster: func() sdk.Pollster { return new(pollster) }},
		{Name: "sink", Summary: "Publishes.", Publisher: func() sdk.Publisher { return new(publisher) }},
	}}
	code = a.Main(args)
	if left, _ := filepath.Glob(filepath.Join(dir, "*.sockets")); len(left) > 0 {
		t.Errorf("nepho %v leaves %v", args, left)
	}
	return out.String(), log.String(), code
}

const right = "[[pollster.web]]\nurl = 'x'\n[[publisher.sink]]\n"

func TestCommands(t *testing.T) {
	f := func(toml string, code int, stdout, stderr string, args ...string) {
		t.Helper()
		out, log, got := nepho(t, toml, args...)
		if got != code || !strings.Contains(out, stdout) || !strings.Contains(log, stderr) || (stderr == "") != (log == "") {
			t.Errorf("nepho %q: code %d instead of %d\nstdout %q\nstderr %q", args, got, code, out, log)
		}
	}
	f(right, 0, "2 instances, 1 pipeline\n", "", "check")
	f(right+"x = 1", 1, "", "nepho.toml:4:1: publisher.sink.x: unknown option", "check")
	f(right, 0, "nepho 1.2.3\n", "", "version")
	f(right, 0, "pollster   web", "", "plugins")
	f(right, 0, "[[pollster.web]]", "", "config", "web")
	f(right, 0, "[[pollster.web]]", "", "config", "pollster/web")
	f(right, 1, "", `no plugin "publisher/web"`, "config", "publisher/web")
	f(right, 0, "interval", "", "config")
	f(right, 0, "interval", "", "config", "--effective")
	f("[agent]\nlisten = ''\n"+right, 1, "", "serves no status page", "status")
	f(right, 2, "", "Usage: nepho COMMAND")
	f(right, 0, "Usage: nepho COMMAND", "", "help")
	f(right, 0, "Usage: nepho check [OPTIONS]\n", "", "help", "check")
	f(right, 2, "", `there is no command "rnu"; did you mean "run"?`, "rnu")
	f(right, 2, "", `there is no command "xyzzy"`, "xyzzy")
	f(right, 2, "", "flag provided but not defined: -x. See nepho help check.\n", "check", "-x")
	// Options may stand anywhere, and what is behind -- is none.
	f(right, 1, "", "cannot read the file", "test", "web", "--config", "/nowhere")
	f(right, 1, "", `no plugin "--config"`, "config", "--", "--config")
	f(right, 1, "", `no plugin "--x"`, "config", "--", "web", "--x")
}

func TestSocketFolders(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("RUNTIME_DIRECTORY", "")
	mine, err := socketDir()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(mine); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	// One that nobody holds and is old, one that is new, one in use, and others.
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"nepho-1.sockets", "nepho-new.sockets", "other.sockets", "nepho-file"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "nepho-1.sockets", "plugin1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{mine, filepath.Join(dir, "nepho-1.sockets"), filepath.Join(dir, "other.sockets")} {
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	second, err := socketDir()
	if err != nil || second == mine {
		t.Fatal(second, err)
	}
	for name, there := range map[string]bool{
		mine: true, second: true, dir + "/nepho-1.sockets": false, dir + "/nepho-new.sockets": true, dir + "/other.sockets": true, dir + "/nepho-file": true,
	} {
		if _, err := os.Stat(name); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
	runtime := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", runtime)
	if d, err := socketDir(); err != nil || filepath.Dir(d) != runtime {
		t.Errorf("%s, %v", d, err)
	}
	t.Setenv("RUNTIME_DIRECTORY", "/nowhere")
	if _, err := socketDir(); err == nil {
		t.Error("a folder is made nowhere")
	}
}

func TestLockDataDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	release, err := lockDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockDataDir(dir); err == nil || !strings.Contains(err.Error(), "in use by another agent") {
		t.Errorf("locking it twice gives %v", err)
	}
	release()
	release, err = lockDataDir(dir)
	if err != nil {
		t.Error(err)
	}
	release()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lockDataDir(file); err == nil {
		t.Error("a file is locked as a folder")
	}
}

func TestLogger(t *testing.T) {
	f := func(level, format, want string) {
		t.Helper()
		var b bytes.Buffer
		log := logger(&b, config.Agent{LogLevel: level, LogFormat: format})
		log.Debug("d")
		log.Info("i")
		log.Warn("w")
		got := ""
		for _, m := range []string{"d", "i", "w"} {
			if strings.Contains(b.String(), "msg="+m) || strings.Contains(b.String(), `"msg":"`+m+`"`) {
				got += m
			}
		}
		if got != want || strings.HasPrefix(b.String(), "{") != (format == "json") {
			t.Errorf("%s %s: %s", level, format, b.String())
		}
	}
	f("debug", "text", "diw")
	f("info", "json", "iw")
	f("warn", "text", "w")
	f("", "", "iw")
}

func TestNotify(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	notify("READY=1")
	b := make([]byte, 100)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(b); err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q, %v", b[:n], err)
	}
	// Nobody there to listen is no reason to fail.
	t.Setenv("NOTIFY_SOCKET", "/nowhere")
	notify("READY=1")
}
