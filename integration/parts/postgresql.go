package parts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// PostgreSQLServer is a PostgreSQL without passwords, whose superuser is postgres.
type PostgreSQLServer struct {
	*Process
	// Port is on 127.0.0.1.
	Port int

	databases atomic.Int64
}

const postgresDir = "/usr/lib/postgresql/15/bin/"

// PostgreSQL starts an empty server. It takes about 1 s and 30 MB. It does not
// survive a loss of power, since it leaves its files to the kernel's care.
func PostgreSQL(tb TB) *PostgreSQLServer {
	tb.Helper()
	// The server refuses root, for whom it runs as the user that its package makes.
	var attr syscall.SysProcAttr
	parent := os.TempDir()
	if os.Geteuid() == 0 {
		attr.Credential = credential(tb, "postgres")
		parent = traversable(parent)
	}
	dir := newDirIn(tb, parent)
	if c := attr.Credential; c != nil {
		if err := os.Chown(dir, int(c.Uid), int(c.Gid)); err != nil {
			tb.Fatalf("cannot hand over a directory: %v", err)
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(program(tb, postgresDir+"initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = dir, &attr
	if out, err := initdb.CombinedOutput(); err != nil {
		tb.Fatalf("cannot make a cluster: %v\n%s", err, out)
	}
	s := &PostgreSQLServer{Port: FreePort(tb)}
	s.Process = newProcess(tb, dir, spec{
		name: "postgres",
		argv: []string{program(tb, postgresDir+"postgres"), "-D", data,
			"-c", "listen_addresses=127.0.0.1", "-c", fmt.Sprintf("port=%d", s.Port),
			"-c", "unix_socket_directories=" + dir, "-c", "fsync=off",
			"-c", "max_connections=200", "-c", "shared_buffers=32MB"},
		ready: func(ctx context.Context) error {
			return exec.CommandContext(ctx, postgresDir+"pg_isready", "-q", "-U", "postgres", "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port)).Run()
		},
		attr: attr,
		stop: syscall.SIGINT, // which waits for no client
	})
	// Its processes are in groups of their own and end by themselves when it does, but
	// only an orderly stop waits for them.
	tb.Cleanup(s.Stop)
	s.Start()
	return s
}

// Database makes an empty database and returns its URL.
func (s *PostgreSQLServer) Database() string {
	s.tb.Helper()
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	out, err := exec.Command(program(s.tb, postgresDir+"createdb"), "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-U", "postgres", "-T", "template0", name).CombinedOutput()
	if err != nil {
		s.tb.Fatalf("cannot make a database: %v\n%s", err, out)
	}
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.Port, name)
}

// Kill9 kills the server, and waits until the processes that it had made are gone as well,
// which notice that by themselves: before, it can't be started again.
func (s *PostgreSQLServer) Kill9() {
	s.tb.Helper()
	made, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.PID()))
	if err != nil {
		s.tb.Fatalf("cannot find the processes of PostgreSQL: %v", err)
	}
	s.Process.Kill9()
	ended := make(chan struct{}) // the server is
	close(ended)
	for _, text := range strings.Fields(string(made)) {
		if pid, err := strconv.Atoi(text); err != nil || !awaitGroup(pid, ended, stopTimeout) {
			s.tb.Fatalf("process %s of PostgreSQL goes on, %v", text, err)
		}
	}
}

// credential is what a user runs as.
func credential(tb TB, name string) *syscall.Credential {
	tb.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		tb.Fatalf("cannot find user %s, run scripts/install-parts.sh: %v", name, err)
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if errUID != nil || errGID != nil {
		tb.Fatalf("user %s has the ids %q and %q", name, u.Uid, u.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// traversable is a directory for temporary files which all may pass through: the
// given one, or /tmp.
func traversable(dir string) string {
	for d := dir; ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil || info.Mode().Perm()&1 == 0 {
			return "/tmp"
		}
		if d == filepath.Dir(d) {
			return dir
		}
	}
}
