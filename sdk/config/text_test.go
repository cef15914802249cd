package config

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

func TestText(t *testing.T) {
	table := parse(t, `
name = "a\"b\\c\nd\te\u0001ä"
f = 1e30
list = [1, 2.0, -inf, nan, true, { x = 1, y = {} }, []]
day = 1979-05-27
"a b" = ''
[agent]
api_token = "t"
passwords = ["p"]
empty_password = ""
hidden = 5
url = "amqp://user:pw@host/x"
[agent.sub]
x = 1
[empty]
[[pollster.x]]
[[pollster.x]]
a = 1
[pollster.x.nested]
secret = { a = "x" }
`)
	table.Get("agent").Table.Get("hidden").Secret = true
	want := `name = "a\"b\\c\nd\te\u0001ä"
f = 1e+30
list = [1, 2.0, -inf, nan, true, { x = 1, y = {} }, []]
day = 1979-05-27
"a b" = ""

[agent]
api_token = "***"
passwords = ["***"]
empty_password = ""
hidden = "***"
url = "amqp://user:***@host/x"

[agent.sub]
x = 1

[empty]

[[pollster.x]]

[[pollster.x]]
a = 1

[pollster.x.nested.secret]
a = "***"
`
	if got := table.Text(); got != want {
		t.Errorf("got:\n%s", got)
	}
}

func TestSecretsAreMarked(t *testing.T) {
	type inner struct {
		Plain string            `toml:"plain"`
		Pin   int               `toml:"pin" secret:"true"`
		Map   map[string]string `toml:"map" secret:"true"`
		List  []string          `toml:"list" secret:"true"`
	}
	type outer struct {
		One  inner            `toml:"one"`
		Many []inner          `toml:"many"`
		Map  map[string]inner `toml:"map"`
	}
	text := "one = { plain = 'p', pin = 1, map = { a = 'x' }, list = ['y'] }\nmany = [{ pin = 2 }]\n[map.k]\nmap.a = 'z'\n"
	want := `
[one]
plain = "p"
pin = "***"
map = "***"
list = "***"

[[many]]
pin = "***"

[map.k]
map = "***"
`[1:]
	decoded, marked := parse(t, text), parse(t, text)
	var o outer
	if problems := decoded.Decode(&o); len(problems) > 0 {
		t.Fatal(problems)
	}
	marked.MarkSecrets(Options(&o))
	if got := decoded.Text(); got != want {
		t.Errorf("after Decode:\n%s", got)
	}
	if got := marked.Text(); got != want {
		t.Errorf("after MarkSecrets:\n%s", got)
	}
}

func TestRedactURL(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := redactURL(in); got != want {
			t.Errorf("%s gives %s", in, got)
		}
	}
	f("http://host/a:b@c", "http://host/a:b@c")
	f("http://user@host", "http://user@host")
	f("http://user:p@ss@host?x", "http://user:***@host?x")
	f("http://:p@host", "http://:***@host")
	f("no url", "no url")
}

func TestOptions(t *testing.T) {
	type node struct {
		Name string `toml:"name"`
		Sub  []node `toml:"sub"`
	}
	got := Options((*struct {
		credentials
		Interval time.Duration  `toml:"interval" default:"60s" min:"1s" max:"1h" doc:"How often."`
		Mode     []string       `toml:"mode" enum:"a|b" required:"true"`
		Limits   map[string]int `toml:"limits"`
		Tree     *node          `toml:"tree"`
		Since    time.Time      `toml:"since"`
		Size     Size           `toml:"size"`
		Raw      *Table         `toml:"raw"`
		Any      any            `toml:"any"`
		Ratio    float32        `toml:"ratio"`
		On       *bool          `toml:"on"`
	})(nil))
	want := []Option{
		{Name: "user", Type: "string", Default: "nepho", Doc: "Name to log in with."},
		{Name: "password", Type: "string", Secret: true},
		{Name: "interval", Type: "duration", Default: "60s", Min: "1s", Max: "1h", Doc: "How often."},
		{Name: "mode", Type: "list of string", Enum: []string{"a", "b"}, Required: true},
		{Name: "limits", Type: "table of integer"},
		{Name: "tree", Type: "table", Options: []Option{{Name: "name", Type: "string"}, {Name: "sub", Type: "list of table"}}},
		{Name: "since", Type: "date"},
		{Name: "size", Type: "size"},
		{Name: "raw", Type: "table"},
		{Name: "any", Type: "any"},
		{Name: "ratio", Type: "number"},
		{Name: "on", Type: "boolean"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("options:\n%+v\nwant:\n%+v", got, want)
	}
}

func TestParseSize(t *testing.T) {
	f := func(text string, want Size, canonical string) {
		t.Helper()
		got, err := ParseSize(text)
		if err != nil || got != want || got.String() != canonical {
			t.Errorf("%s is %d (%s), %v", text, int64(got), got, err)
		}
	}
	f("64MiB", 64<<20, "64MiB")
	f("10MB", 10_000_000, "10000000B")
	f("1 GiB", 1<<30, "1GiB")
	f("1.5gib", 3<<29, "1536MiB")
	f("512k", 512<<10, "512KiB")
	f("2kb", 2000, "2000B")
	f("0", 0, "0B")
	f("7B", 7, "7B")
	for _, bad := range []string{"", "MiB", "1 XB", "1e3", "-", "1.2.3", "inf", "9e99GB"} {
		if _, err := ParseSize(bad); err == nil {
			t.Errorf("%q is a size", bad)
		}
	}
}

func TestParseDuration(t *testing.T) {
	f := func(text string, want time.Duration, canonical string) {
		t.Helper()
		got, err := ParseDuration(text)
		if err != nil || got != want || FormatDuration(got) != canonical {
			t.Errorf("%s is %s (%s), %v", text, got, FormatDuration(got), err)
		}
	}
	f("10s", 10*time.Second, "10s")
	f("60s", time.Minute, "1m")
	f("90m", 90*time.Minute, "1h30m")
	f("1d", 24*time.Hour, "24h")
	f("1d12h", 36*time.Hour, "36h")
	f("1w1d", 8*24*time.Hour, "192h")
	f("-5m", -5*time.Minute, "-5m")
	f("0", 0, "0s")
	f("0d", 0, "0s")
	for _, bad := range []string{"", "10", "d", "1d-1h", "1d1d", "1h1d", "-1d", "1.5d", "999999999w", "292y", "106751d24h"} {
		if d, err := ParseDuration(bad); err == nil {
			t.Errorf("%q is the duration %s", bad, d)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"interval", "timeout", "meters", "url", "retry_min", "retry_max"}
	f := func(word, want string) {
		t.Helper()
		if got := Suggest(word, known); got != want {
			t.Errorf("for %q: %q", word, got)
		}
	}
	f("intervall", "interval")
	f("Interval", "interval")
	f("inetrval", "interval")
	f("retry-min", "retry_min")
	f("meter", "meters")
	f("uri", "url")
	f("retry_mix", "retry_max")
	f("xyz", "")
	f("a", "")
	f("", "")
	f("password", "")
}

func ExampleSuggest() {
	fmt.Println(Suggest("polster", []string{"pollster", "publisher", "alarm"}))
	// Output: pollster
}

func ExampleOptions() {
	for _, o := range Options(struct {
		Path  string `toml:"path" required:"true" doc:"File to append to."`
		Limit Size   `toml:"limit" default:"64MiB"`
	}{}) {
		fmt.Println(o.Name, o.Type, o.Default, o.Doc)
	}
	// Output:
	// path string  File to append to.
	// limit size 64MiB
}
