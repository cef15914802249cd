package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func testEnv(name string) (string, bool) {
	switch name {
	case "HOST":
		return "db1", true
	case "EMPTY":
		return "", true
	case "DIR":
		return "/run/credentials", true
	case "PATH_LIKE":
		return "file:/etc/shadow", true
	}
	return "", false
}

func testFile(name string) ([]byte, error) {
	switch name {
	case "/run/credentials/token":
		return []byte("s3cret ${HOST}\n"), nil
	case "/crlf":
		return []byte("x\r\n"), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("no such file or directory")}
}

func TestExpand(t *testing.T) {
	f := func(text, want string, secret bool) {
		t.Helper()
		table := NewTable("")
		table.Set("v", NewString(text))
		problems := table.Expand(testEnv, testFile)
		if v := table.Get("v"); len(problems) > 0 || v.Str != want || v.Secret != secret {
			t.Errorf("%q gives %q, secret %v, problems %v", text, v.Str, v.Secret, problems)
		}
	}
	f("plain", "plain", false)
	f("http://${HOST}:80/${HOST}", "http://db1:80/db1", false)
	f("${NONE:-x}", "x", false)
	f("${EMPTY:-x}", "x", false)
	f("${EMPTY}", "", false)
	f("${NONE:-}", "", false)
	f("$${HOST} costs 5$ or $x$$", "${HOST} costs 5$ or $x$", false)
	f("file:/run/credentials/token", "s3cret ${HOST}", true)
	f("file:${DIR}/token", "s3cret ${HOST}", true)
	f("file:/crlf", "x", true)
	f("file:///crlf", "file:///crlf", false)
	f("file:relative", "file:relative", false)
	f("${PATH_LIKE}", "file:/etc/shadow", false)
}

// What a variable holds may be a secret: no problem tells it.
func TestInsertedIsNotPrinted(t *testing.T) {
	table := parse(t, `interval = "${HOST}"
size = "${HOST}"
mode = "${HOST}"
level = "x${HOST}"
count = "${NUMBER}"
pause = "${NUMBER}"
long = "${TIME}"
list = "${HOST}"
names = ["${HOST}"]
plain = "${NONE:-db1}"
`)
	env := func(name string) (string, bool) {
		more := map[string]string{"NUMBER": "4711", "TIME": "4711h"}
		if s, has := more[name]; has {
			return s, true
		}
		return testEnv(name)
	}
	if problems := table.Expand(env, testFile); len(problems) > 0 {
		t.Fatal(problems)
	}
	var into struct {
		Interval time.Duration `toml:"interval" doc:"x"`
		Size     Size          `toml:"size" doc:"x"`
		Mode     string        `toml:"mode" enum:"db2|db3" doc:"x"`
		Level    slog.Level    `toml:"level" doc:"x"`
		Count    int           `toml:"count" doc:"x"`
		Pause    time.Duration `toml:"pause" doc:"x"`
		Long     time.Duration `toml:"long" max:"1h" doc:"x"`
		List     []string      `toml:"list" doc:"x"`
		Names    []int         `toml:"names" doc:"x"`
		Plain    bool          `toml:"plain" doc:"x"`
	}
	problems := table.Decode(&into)
	if len(problems) != 10 {
		t.Errorf("%d problems: %v", len(problems), problems)
	}
	for _, p := range problems {
		text := strings.Replace(p.Error(), "db2, db3", "", 1)
		if p.Key == "plain" { // what the file says may be told
			text = strings.Replace(text, `got string "db1"`, Redacted, 1)
		}
		if strings.Contains(text, "db") || strings.Contains(text, "4711") || !strings.Contains(text, Redacted) && p.Key != "level" {
			t.Error(p)
		}
	}
}

func TestExpandReportsAll(t *testing.T) {
	table := parse(t, `a = "${NONE}"
[x]
b = ["ok", "${HOST"]
c = [{ d = "${1}" }]
e = "file:/nothing"
n = 1
`)
	want := `a.toml:1:1: a: environment variable NONE is not set (${NONE:-text} gives a default)
a.toml:3:12: x.b[1]: ${ without a closing } (write $${ for a literal ${)
a.toml:4:8: x.c[0].d: "1" is not the name of an environment variable (write $${ for a literal ${)
a.toml:5:1: x.e: cannot read the value: open /nothing: no such file or directory`
	if err := Join(table.Expand(testEnv, testFile)); err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func ExampleTable_Expand() {
	table, _ := Parse("nepho.toml", []byte(`url = "http://${HOST}:8086"`))
	problems := table.Expand(
		func(name string) (string, bool) { return "db1", name == "HOST" },
		func(string) ([]byte, error) { return nil, fs.ErrNotExist },
	)
	fmt.Println(table.Get("url").Str, problems)
	// Output: http://db1:8086 []
}
