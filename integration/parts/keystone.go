package parts

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"os/exec"
	"path/filepath"
	"strings"
)

// KeystoneServer is an OpenStack Keystone with the domain default, the project
// admin and its user admin, who has the role admin.
type KeystoneServer struct {
	*Process
	// URL is that of version 3: http://127.0.0.1:PORT/v3.
	URL string
	// Password is that of the user admin.
	Password string

	token string // of the user admin
}

// Keystone starts a server on SQLite. It takes about 10 s, most of them to make the
// database.
func Keystone(tb TB) *KeystoneServer {
	tb.Helper()
	dir := newDir(tb)
	port := FreePort(tb)
	s := &KeystoneServer{URL: fmt.Sprintf("http://127.0.0.1:%d/v3", port), Password: "adminpw"}
	makeDirs(tb, dir, "policy.d", "fernet", "credential")
	config := filepath.Join(dir, "keystone.conf")
	database := filepath.Join(dir, "keystone.db")
	// An empty policy_dirs would be the folder of the configuration itself.
	writeFile(tb, config, fmt.Sprintf(`[DEFAULT]
log_dir =
use_stderr = true
[database]
connection = sqlite:///%s
[fernet_tokens]
key_repository = %s
[fernet_receipts]
key_repository = %s
[credential]
key_repository = %s
[identity]
password_hash_rounds = 4
[cache]
enabled = false
[oslo_policy]
policy_dirs = %s
`, database, filepath.Join(dir, "fernet"), filepath.Join(dir, "fernet"), filepath.Join(dir, "credential"), filepath.Join(dir, "policy.d")))
	// Two keys each, the first of which is the next one; keystone-manage would take
	// seconds to write them.
	for _, name := range []string{"fernet", "credential"} {
		for _, key := range []string{"0", "1"} {
			random := make([]byte, 32)
			rand.Read(random)
			writeFile(tb, filepath.Join(dir, name, key), base64.URLEncoding.EncodeToString(random))
		}
	}
	manage := program(tb, "keystone-manage")
	for _, argv := range [][]string{
		{manage, "--config-file", config, "db_sync"},
		// Otherwise readers and writers lock each other out.
		{program(tb, "/usr/bin/python3"), "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('pragma journal_mode=wal')", database},
		{manage, "--config-file", config, "bootstrap", "--bootstrap-password", s.Password, "--bootstrap-region-id", "RegionOne",
			"--bootstrap-public-url", s.URL, "--bootstrap-internal-url", s.URL, "--bootstrap-admin-url", s.URL},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			tb.Fatalf("cannot set Keystone up: %s: %v\n%s", strings.Join(argv, " "), err, out)
		}
	}
	s.Process = newProcess(tb, dir, spec{
		name: "keystone",
		argv: []string{program(tb, "uwsgi_python3"), "--master", "--die-on-term", "--processes", "1", "--lazy-apps",
			"--http-socket", fmt.Sprintf("127.0.0.1:%d", port), "--wsgi-file", program(tb, "/usr/bin/keystone-wsgi-public"),
			"--pidfile", filepath.Join(dir, "pid"), "--buffer-size", "65535",
			// Clients that keep connections are reset otherwise.
			"--add-header", "Connection: close"},
		env:   []string{"OS_KEYSTONE_CONFIG_FILES=" + config, "HOME=" + dir},
		ready: answers(s.URL),
	})
	s.Start()
	s.token = s.Token("admin", s.Password, "admin")
	return s
}

// Token authenticates a user for a project of the domain default, or for none if
// project is empty.
func (s *KeystoneServer) Token(user, password, project string) string {
	s.tb.Helper()
	type object = map[string]any
	domain := object{"id": "default"}
	auth := object{"identity": object{"methods": []string{"password"}, "password": object{
		"user": object{"name": user, "domain": domain, "password": password},
	}}}
	if project != "" {
		auth["scope"] = object{"project": object{"name": project, "domain": domain}}
	}
	_, header := s.do(http.MethodPost, "/auth/tokens", object{"auth": auth}, nil)
	return header.Get("X-Subject-Token")
}

// Revoke makes a token invalid.
func (s *KeystoneServer) Revoke(token string) {
	s.tb.Helper()
	s.do(http.MethodDelete, "/auth/tokens", nil, http.Header{"X-Subject-Token": {token}})
}

// Project makes a project of the domain default and returns its id.
func (s *KeystoneServer) Project(name string) string {
	s.tb.Helper()
	return s.create("/projects", "project", map[string]any{"name": name, "domain_id": "default"})
}

// User makes a user of the domain default, gives them roles on a project, and
// returns their id. Roles that do not exist are made.
func (s *KeystoneServer) User(name, password, project string, roles ...string) string {
	s.tb.Helper()
	id := s.create("/users", "user", map[string]any{"name": name, "password": password, "domain_id": "default"})
	for _, role := range roles {
		s.do(http.MethodPut, fmt.Sprintf("/projects/%s/users/%s/roles/%s", project, id, s.role(role)), nil, nil)
	}
	return id
}

// Disable disables a user, whose tokens become invalid.
func (s *KeystoneServer) Disable(user string) {
	s.tb.Helper()
	s.do(http.MethodPatch, "/users/"+user, map[string]any{"user": map[string]any{"enabled": false}}, nil)
}

func (s *KeystoneServer) role(name string) string {
	s.tb.Helper()
	body, _ := s.do(http.MethodGet, "/roles?name="+name, nil, nil)
	var found struct {
		Roles []struct {
			ID string `json:"id"`
		} `json:"roles"`
	}
	if err := json.Unmarshal(body, &found); err != nil {
		s.tb.Fatalf("cannot decode roles: %v", err)
	}
	if len(found.Roles) > 0 {
		return found.Roles[0].ID
	}
	return s.create("/roles", "role", map[string]any{"name": name})
}

func (s *KeystoneServer) create(path, kind string, what map[string]any) string {
	s.tb.Helper()
	body, _ := s.do(http.MethodPost, path, map[string]any{kind: what}, nil)
	var made map[string]struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &made); err != nil || made[kind].ID == "" {
		s.tb.Fatalf("cannot decode a new %s: %v: %s", kind, err, body)
	}
	return made[kind].ID
}

// do makes a request as the user admin.
func (s *KeystoneServer) do(method, path string, what any, header http.Header) ([]byte, http.Header) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	var body io.Reader
	if what != nil {
		data, err := json.Marshal(what)
		if err != nil {
			s.tb.Fatalf("cannot encode a request: %v", err)
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, body)
	if err != nil {
		s.tb.Fatalf("cannot make a request: %v", err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/json")
	if s.token != "" {
		r.Header.Set("X-Auth-Token", s.token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		s.tb.Fatalf("cannot ask Keystone: %v", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.tb.Fatalf("cannot read Keystone's answer: %v", err)
	}
	if resp.StatusCode >= 400 {
		s.tb.Fatalf("%s %s: %s: %s", method, path, resp.Status, data)
	}
	return data, resp.Header
}
