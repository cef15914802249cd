package config

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
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
