package influxdb

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

// decode reads options as the SDK does.
func decode(t testing.TB, toml string) (*influxdb, []config.Problem) {
	t.Helper()
	table, problems := config.Parse("test.toml", []byte(toml))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	p := &influxdb{}
	return p, table.Decode(p)
}

// start starts an instance in this process.
func start(t testing.TB, toml string) *influxdb {
	t.Helper()
	p, problems := decode(t, toml)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if err := p.Start(t.Context(), sdk.Env{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(t.Context()) })
	return p
}

// build makes one batch.
func build(t testing.TB, fill func(out *sdk.Builder)) *sdk.Batch {
	t.Helper()
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		fill(out)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(batches) != 1 {
		t.Fatalf("%d batches instead of one", len(batches))
	}
	return batches[0]
}

// second gives a time that all kinds of servers keep exactly.
func second(n int) time.Time { return time.Unix(1_700_000_000+int64(n), 0) }

func gauge(name string, volume float64, at time.Time) sdk.Sample {
	return sdk.Sample{Name: name, Unit: "B", Volume: volume, ResourceID: "r1", Timestamp: at}
}

func samplesOf(in ...sdk.Sample) func(*sdk.Builder) {
	return func(out *sdk.Builder) {
		for _, s := range in {
			out.Add(s)
		}
	}
}

// refusedRows gives the rows that an error refuses.
func refusedRows(t testing.TB, err error) []int {
	t.Helper()
	var refused *sdk.Refused
	if !errors.As(err, &refused) {
		t.Fatalf("error %v refuses nothing", err)
	}
	return refused.Rows
}

func TestOptionProblems(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		_, problems := decode(t, toml)
		var got []string
		for _, p := range problems {
			got = append(got, p.Key+" "+p.Message)
		}
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("%s\n got: %s\nwant: %s", toml, s, want)
		}
	}
	f(``, ``)
	f(`url = "https://vm:8428/insert/0/influx?extra_label=dc=x"`, ``)
	f("bucket = 'b'\norg = 'o'\ntoken = 't'", ``)
	f(`url = "127.0.0.1:8086"`, `url is not a URL such as "http://127.0.0.1:8086"`)
	f(`url = "http://u:secret@h"`, `url holds credentials; give them with the options username and password, or token`)
	f(`url = "http://u:%secret@h"`, `url is not a URL such as "http://127.0.0.1:8086"`)
	f(`org = "o"`, `org belongs to the API of InfluxDB 2.x, which needs a bucket, too`)
	f("bucket = 'b'\norg = 'o'\ndatabase = 'd'", `database belongs to the API of InfluxDB 1.x; a bucket selects that of 2.x`)
	f(`bucket = "b"`, `org is missing: a bucket belongs to an organization`)
	f(`password = "x"`, `password is given without a username`)
	f(`measurement = "x{metre}"`, `measurement {metre stands for nothing: there are {meter}, {type} and {unit}`)
	f(`measurement = ""`, `measurement must not be empty`)
	f(`metadata_tags = ["[x"]`, `metadata_tags pattern "[x": has a [ without a ]`)
	f(`headers = { "a b" = "x", c = "x\ny" }`, `headers."a b" is not an HTTP header; headers.c is not an HTTP header`)
	f(`tls = { cert = "x" }`, `tls.key is missing: a certificate is used with its key`)
	f(`sample_tags = ["host"]`, `sample_tags[0] "host" is not one of resource_id, project_id, user_id, source, unit, type, meter`)
}

// The sample shows every option, with its default unless that is to give none.
func TestSampleShowsOptions(t *testing.T) {
	text := strings.Replace(sample, "[[publisher.influxdb]]", "", 1)
	for _, o := range config.Options(&influxdb{}) {
		if !strings.Contains(text, "\n# "+o.Name+" ") {
			t.Errorf("the sample does not show option %s", o.Name)
		}
		text = strings.Replace(text, "\n# "+o.Name+" ", "\n"+o.Name+" ", 1)
	}
	shown, problems := decode(t, text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	shown.Headers, shown.MetadataTags, shown.Consistency, shown.Database = nil, nil, "", ""
	defaults, _ := decode(t, "")
	if got, want := config.FromStruct(shown).Text(), config.FromStruct(defaults).Text(); got != want {
		t.Errorf("the sample has\n%s\nthe defaults are\n%s", got, want)
	}
}

func TestStartReadsCertificates(t *testing.T) {
	f := func(toml, want string) {
		t.Helper()
		p, problems := decode(t, toml)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		err := p.Start(t.Context(), sdk.Env{Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", toml, err, want)
		}
		p.Stop(t.Context())
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f(`tls = { ca = "/none" }`, "cannot read tls.ca: open /none")
	f(`tls = { ca = "`+empty+`" }`, "no certificate in tls.ca")
	f(`tls = { cert = "/none", key = "/none" }`, "cannot read tls.cert and tls.key")
}

// The plugin in a process of its own, over the real protocol, into a real server
// that is down at first and loses its database later.
func TestProcess(t *testing.T) {
	db := parts.InfluxDB(t)
	db.Stop()
	p := sdktest.Start(t, `url = "`+db.URL+`"`)
	if err := p.Publish(t.Context(), gauge("cpu", 1, second(0))); err == nil {
		t.Fatal("published to a server that is down")
	}
	db.Start()
	for i := range 2 {
		if err := p.Publish(t.Context(), gauge("cpu", float64(i), second(i)), gauge("mem", 0.5, second(i))); err != nil {
			t.Fatal(err)
		}
	}
	p.Kill()
	p.Restart()
	db.Query("", `DROP DATABASE "nepho"`)
	if err := p.Publish(t.Context(), gauge("cpu", 7, second(7))); err != nil {
		t.Fatal(err)
	}
	expectValues(t, db, "nepho", "cpu", 7)
}
