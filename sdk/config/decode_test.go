package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

type server struct {
	URL  string `toml:"url" required:"true"`
	Port int    `toml:"port" default:"80" min:"1" max:"65535"`
}

type credentials struct {
	User     string `toml:"user" default:"nepho" doc:"Name to log in with."`
	Password string `toml:"password" secret:"true"`
}

type options struct {
	credentials
	Name     string            `toml:"name"`
	Enabled  bool              `toml:"enabled" default:"true"`
	Interval time.Duration     `toml:"interval" default:"1m" min:"1s" max:"1h"`
	Limit    Size              `toml:"limit" default:"64MiB" min:"1KiB"`
	Mode     string            `toml:"mode" default:"fast" enum:"fast|slow|exact"`
	Modes    []string          `toml:"modes" default:"fast, slow" enum:"fast|slow|exact"`
	Small    int8              `toml:"small"`
	Count    uint16            `toml:"count" max:"100"`
	Big      uint64            `toml:"big"`
	Ratio    float64           `toml:"ratio" default:"0.5" min:"0" max:"1"`
	Ports    []int             `toml:"ports" min:"1" max:"65535"`
	Tags     map[string]string `toml:"tags"`
	Server   server            `toml:"server"`
	Main     *server           `toml:"main"`
	Servers  []server          `toml:"servers"`
	ByName   map[string]server `toml:"by_name"`
	Maybe    *int              `toml:"maybe"`
	Raw      *Table            `toml:"raw"`
	Any      any               `toml:"any"`
	Address  netip.Addr        `toml:"address"`
	Since    time.Time         `toml:"since"`
	Offset   time.Duration     `toml:"offset" min:"negative"`

	APIToken int `toml:"api_token"`

	state   int
	Ignored chan int
}

func TestDecode(t *testing.T) {
	var o options
	o.state = 7
	problems := parse(t, `
name = "a"
enabled = false
interval = "10s"
limit = "10MB"
mode = "slow"
modes = ["exact"]
small = -128
count = 100
big = 5
ratio = 1
ports = [80, 443]
tags = { site = "x" }
address = "10.0.0.1"
since = 2024-01-02 03:04:05Z
offset = "-1h"
maybe = 0
any = [1, { a = "b" }]
password = "pw"
main.url = "m"
[server]
url = "s"
port = 8080
[[servers]]
url = "one"
[[servers]]
url = "two"
[by_name.x]
url = "three"
[raw]
free = 1
`).Decode(&o)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	o.Raw.Pos = Pos{}
	raw := NewTable("raw")
	raw.Set("free", &Value{Kind: KindInt, Int: 1, Pos: Pos{"a.toml", 31, 1}})
	want := options{
		credentials: credentials{User: "nepho", Password: "pw"},
		Name:        "a", Interval: 10 * time.Second, Limit: 10_000_000, Mode: "slow", Modes: []string{"exact"},
		Small: -128, Count: 100, Big: 5, Ratio: 1, Ports: []int{80, 443}, Tags: map[string]string{"site": "x"},
		Server: server{"s", 8080}, Main: &server{"m", 80}, Servers: []server{{"one", 80}, {"two", 80}},
		ByName: map[string]server{"x": {"three", 80}}, Maybe: new(int), Raw: raw,
		Any: []any{int64(1), map[string]any{"a": "b"}}, Address: netip.MustParseAddr("10.0.0.1"),
		Since: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC), Offset: -time.Hour, state: 7,
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("decoded:\n%+v\nwant:\n%+v", o, want)
	}
}

func TestDecodeDefaults(t *testing.T) {
	o := struct {
		options
		Kept string `toml:"kept"`
	}{Kept: "by the program"}
	problems := parse(t, "server.url = 's'").Decode(&o)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if !o.Enabled || o.Interval != time.Minute || o.Limit != 64<<20 || o.Mode != "fast" || o.Ratio != 0.5 ||
		len(o.Modes) != 2 || o.Modes[1] != "slow" || o.User != "nepho" || o.Server.Port != 80 ||
		o.Main != nil || o.Maybe != nil || o.Raw != nil || o.Kept != "by the program" {
		t.Errorf("defaults: %+v", o)
	}
}

// Every line of text gives exactly the problem in the same line of want.
func TestDecodeProblems(t *testing.T) {
	tests := []struct{ text, want string }{
		{`name = 10`, `name: expected a string, got integer 10`},
		{`name = ["x"]`, `name: expected a string, got a list`},
		{`nmae = "x"`, `nmae: unknown option (did you mean "name"?)`},
		{`completely_different = 1`, `completely_different: unknown option`},
		{`enabled = "yes"`, `enabled: expected true or false, got string "yes"`},
		{`interval = 10`, `interval: expected a duration such as "10s", got integer 10 (write "10s")`},
		{`interval = "10"`, `interval: expected a duration such as "10s", got string "10" (write "10s")`},
		{`interval = "soon"`, `interval: expected a duration such as "10s", got string "soon"`},
		{`interval = "10ms"`, `interval: "10ms" is out of range, allowed are 1s to 1h`},
		{`interval = "-1s"`, `interval: "-1s" is out of range, allowed are 1s to 1h`},
		{`limit = "a lot"`, `limit: expected a size such as "64MiB", got string "a lot"`},
		{`limit = 1.5`, `limit: expected a size such as "64MiB", got number 1.5`},
		{`limit = "9999999TiB"`, `limit: too large, got string "9999999TiB"`},
		{`limit = 1023`, `limit: 1023 is out of range, it must be at least 1KiB`},
		{`mode = "exat"`, `mode: "exat" is not one of fast, slow, exact (did you mean "exact"?)`},
		{`mode = "no"`, `mode: "no" is not one of fast, slow, exact`},
		{`modes = ["fast", "slwo"]`, `modes[1]: "slwo" is not one of fast, slow, exact (did you mean "slow"?)`},
		{`modes = "fast"`, `modes: expected a list, got string "fast" (write ["fast"])`},
		{`small = 128`, `small: 128 is out of range, allowed are -128 to 127`},
		{`small = "5"`, `small: expected an integer, got string "5" (write 5 without quotes)`},
		{`small = 5.0`, `small: expected an integer, got number 5.0`},
		{`count = 101`, `count: 101 is out of range, it must be at most 100`},
		{`count = -1`, `count: -1 is out of range, allowed are 0 to 65535`},
		{`big = -1`, `big: -1 is out of range, it must not be negative`},
		{`ratio = "x"`, `ratio: expected a number, got string "x"`},
		{`ratio = 2`, `ratio: 2 is out of range, allowed are 0 to 1`},
		{`ratio = nan`, `ratio: nan is out of range`},
		{`ports = [1, 0, "x"]`, "ports[1]: 0 is out of range, allowed are 1 to 65535\nports[2]: expected an integer, got string \"x\""},
		{`tags = { a = 1 }`, `tags.a: expected a string, got integer 1`},
		{`tags = "a"`, `tags: expected a table, got string "a"`},
		{`main = {}`, `main.url: required option is missing`},
		{`main = { url = "" }`, `main.url: must not be empty`},
		{`main = { url = "x", prot = 1 }`, `main.prot: unknown option (did you mean "port"?)`},
		{`servers = [{ url = "x" }, { url = 1 }]`, `servers[1].url: expected a string, got integer 1`},
		{`by_name = { x = { port = 1 } }`, `by_name.x.url: required option is missing`},
		{`address = "10.0.0"`, `address: "10.0.0" cannot be used: ParseAddr("10.0.0"): IPv4 address too short`},
		{`address = 10`, `address: expected a string, got integer 10`},
		{`since = 2024-01-02`, `since: 2024-01-02 cannot be used: parsing time "2024-01-02" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T"`},
		{`raw = 1`, `raw: expected a table, got integer 1`},
		{`password = 12345`, `password: expected a string, got integer ***`},
		{`api_token = "t0ken"`, `api_token: expected an integer, got string ***`},
		{`name = 1987-07-05`, `name: expected a string, got date 1987-07-05`},
	}
	for _, tt := range tests {
		var o options
		var got []string
		for _, p := range parse(t, tt.text+"\nserver = { url = 's' }").Decode(&o) {
			if p.Pos.Line != 1 || p.Pos.File != "a.toml" {
				t.Errorf("%s: position %s", tt.text, p.Pos)
			}
			p.Pos = Pos{}
			got = append(got, p.Error())
		}
		if s := strings.Join(got, "\n"); s != tt.want {
			t.Errorf("%s\n got: %s\nwant: %s", tt.text, s, tt.want)
		}
	}
}

func TestDecodeReportsAllAtOnce(t *testing.T) {
	var o options
	problems := parse(t, `[pollster.x]
intervall = "10s"
interval = 10
mode = "fats"
[pollster.x.server]
port = 0
`).Get("pollster").Table.Get("x").Table.Decode(&o)
	var b strings.Builder
	if err := Report(&b, problems); err != nil {
		t.Fatal(err)
	}
	want := `a.toml:2:1: pollster.x.intervall: unknown option (did you mean "interval"?)
a.toml:3:1: pollster.x.interval: expected a duration such as "10s", got integer 10 (write "10s")
a.toml:4:1: pollster.x.mode: "fats" is not one of fast, slow, exact (did you mean "fast"?)
a.toml:5:1: pollster.x.server.url: required option is missing
a.toml:6:1: pollster.x.server.port: 0 is out of range, allowed are 1 to 65535
5 problems in 1 file
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

type validated struct {
	From    int      `toml:"from"`
	To      int      `toml:"to"`
	Servers []server `toml:"servers"`
}

func (v *validated) Validate() error {
	var errs []error
	if v.From > v.To {
		errs = append(errs, KeyError("from", "must not be above to, which is %d", v.To))
	}
	if len(v.Servers) > 1 && v.Servers[1].Port == 1 {
		errs = append(errs, KeyError("servers[1].port", "is taken"), KeyError("servers[7].port", "is far away"))
	}
	if v.To == 13 {
		errs = append(errs, errors.New("unlucky"), fmt.Errorf("wrapped: %w", KeyError("to", "no")))
	}
	return errors.Join(errs...)
}

func TestValidate(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		var v struct {
			Sub validated `toml:"sub"`
		}
		got := ""
		if err := Join(parse(t, text).Decode(&v)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\n got: %s\nwant: %s", text, got, want)
		}
	}
	f("[sub]\nfrom = 1\nto = 2", "")
	f("[sub]\nto = 2\nfrom = 3", "a.toml:3:1: sub.from: must not be above to, which is 2")
	f("[sub]\nto = 13", "a.toml:1:1: sub: unlucky\na.toml:2:1: sub.to: wrapped: to: no")
	f("[sub]\nservers = [{url = 'a'}, {url = 'b', port = 1}]",
		"a.toml:2:37: sub.servers[1].port: is taken\na.toml:2:1: sub.servers[7].port: is far away")
	// A struct that could not be filled is not asked.
	f("[sub]\nto = 'x'\nfrom = 3", "a.toml:2:1: sub.to: expected an integer, got string \"x\"")
	// One with an unknown key was filled.
	f("[sub]\nto = 2\nfrom = 3\nx = 1", "a.toml:4:1: sub.x: unknown option (known options: from, servers, to)\na.toml:3:1: sub.from: must not be above to, which is 2")
}

// What Expand could not expand is not called wrong a second time.
func TestDecodePassesOverInvalid(t *testing.T) {
	table := parse(t, "interval = '${NONE}'\nmodes = ['slow', '${NONE}']\nserver.url = 's'\n[sub]\nto = 13\nfrom = '${NONE}'")
	var v struct {
		options
		Sub struct {
			From any `toml:"from"`
			validated2
		} `toml:"sub"`
	}
	if problems := table.Expand(testEnv, testFile); len(problems) != 3 {
		t.Fatalf("Expand: %v", problems)
	}
	if problems := table.Decode(&v); len(problems) > 0 || v.Interval != 0 || v.Modes != nil {
		t.Errorf("problems: %v, decoded: %+v", problems, v)
	}
	if text := table.Text(); !strings.Contains(text, `interval = "(invalid)"`) {
		t.Errorf("text:\n%s", text)
	}
}

type validated2 struct {
	To int `toml:"to"`
}

func (validated2) Validate() error { return errors.New("asked") }

func TestValidateOfEmbedded(t *testing.T) {
	var v struct {
		Embedded
		Other
	}
	problems := parse(t, "a = 1").Decode(&v)
	if len(problems) != 2 || problems[0].Message != "embedded" || problems[1].Message != "other" {
		t.Errorf("problems: %v", problems)
	}
}

// Embedded and Other have methods that hide each other where both are embedded.
type (
	Embedded struct {
		A int `toml:"a"`
	}
	Other struct{}
)

func (Embedded) Validate() error { return errors.New("embedded") }
func (Other) Validate() error    { return errors.New("other") }

func TestProgramMistakesPanic(t *testing.T) {
	f := func(want string, into any) {
		t.Helper()
		defer func() {
			if r := fmt.Sprint(recover()); !strings.HasPrefix(r, "BUG: ") || !strings.Contains(r, want) {
				t.Errorf("panic: %s", r)
			}
		}()
		table := NewTable("")
		table.Set("a", NewInt(1))
		table.Decode(into)
	}
	f("pointer to a struct", options{})
	f("no exported name", &struct {
		a int `toml:"a"`
	}{})
	f("cannot be decoded into", &struct {
		A chan int `toml:"a"`
	}{})
	f("cannot be decoded into", &struct {
		A error `toml:"a"`
	}{})
	f(`bound "x"`, &struct {
		A int `toml:"a" min:"x"`
	}{})
	f(`default of option "b"`, &struct {
		A int           `toml:"a"`
		B time.Duration `toml:"b" default:"x"`
	}{})
}

func FuzzParseDecode(f *testing.F) {
	f.Add("name = 'a'\n[server]\nurl = 'x'\nport = 99999\n[[servers]]\nport = []\n")
	f.Add("tags = { a = 1, b = [2, {c = 1979-05-27}] }\nany = nan\nraw.x.y = 1\n\"q\\n k\" = '''\n'''")
	f.Add("password = ['${A}', 'file:/x', '$$']\nlimit = '1.5GiB'\ninterval = '1w2d3h'\n[a.b]\n[a]\n[[a.c]]")
	f.Fuzz(func(t *testing.T, text string) {
		table, problems := Parse("f.toml", []byte(text))
		for _, p := range problems {
			if p.Pos.File != "f.toml" || p.Pos.Line < 1 || p.Message == "" {
				t.Fatalf("bad problem %+v", p)
			}
		}
		if len(problems) == 0 {
			checkRoundTrip(t, table)
		}
		table.Expand(testEnv, testFile)
		var o options
		for _, p := range table.Decode(&o) {
			if p.Pos.Line < 1 || p.Message == "" || p.Error() == "" {
				t.Fatalf("bad problem %+v", p)
			}
		}
		table.Text()
	})
}

// checkRoundTrip parses what Text wrote. Redacted values are not the same again.
func checkRoundTrip(t *testing.T, table *Table) {
	text := table.Text()
	again, problems := Parse("t.toml", []byte(text))
	if len(problems) > 0 {
		t.Fatalf("cannot parse what Text wrote: %v\n%s", problems, text)
	}
	if !strings.Contains(text, Redacted) && !table.Equal(again) {
		t.Fatalf("Text wrote another configuration:\n%s", text)
	}
	if twice := again.Text(); twice != text {
		t.Fatalf("Text of the same differs:\n%s\n%s", text, twice)
	}
}

func ExampleTable_Decode() {
	var options struct {
		URI      string        `toml:"uri" required:"true"`
		Interval time.Duration `toml:"interval" default:"60s" min:"1s"`
	}
	table, _ := Parse("nepho.toml", []byte(`
uri       = "qemu:///system"
intervall = "10s"
`))
	if err := Report(os.Stdout, table.Decode(&options)); err != nil {
		fmt.Println(err)
	}
	// Output:
	// nepho.toml:3:1: intervall: unknown option (did you mean "interval"?)
	// 1 problem in 1 file
}
