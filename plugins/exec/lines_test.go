package exec

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

func writeFile(path string) error { return os.WriteFile(path, nil, 0o600) }

// printed gives what an instance makes of a command that prints text.
func fromText(t *testing.T, text, more string) ([]string, error) {
	t.Helper()
	file := t.TempDir() + "/text"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return poll(t, start(t, fmt.Sprintf("run = ['cat', %q]\n%s", file, more)), time.Minute)
}

func TestInflux(t *testing.T) {
	f := func(text, more, wantErr string, want ...string) {
		t.Helper()
		got, err := fromText(t, text, more)
		check(t, got, err, wantErr, want...)
	}
	f("", "", "")
	f("# a comment\n\n  \r\n", "", "")
	f("m v=1\r\nm v=2i\nm v=t\nm v=F\nm v=-1e3 1767322800\n", "", "",
		`m.v gauge "" 1 of HOST`, `m.v gauge "" 2 of HOST`, `m.v gauge "" 1 of HOST`, `m.v gauge "" 0 of HOST`, `m.v gauge "" -1000 of HOST`)
	f(`a\ b,host=x\,y s="text",v\=w=1`, "", "", `a b.v=w gauge "" 1 of x,y`)
	f("m,host=h,dev=sda,resource_id=r v=1\nm,dev=sda,host=h v=1\nm,dev=sda v=1\nm,x=y v=1\n", "resource_tags = ['host', 'dev']", "",
		`m.v gauge "" 1 of r`, `m.v gauge "" 1 of h.sda`, `m.v gauge "" 1 of sda`, `m.v gauge "" 1 of HOST`)
	f("net in=1,in_errors=2,up=3\n", "types = { 'net.*' = 'delta', 'net.in*' = 'cumulative', 'net.in_errors' = 'gauge' }\nunits = { '*' = '1', 'net.in' = 'B' }", "",
		`net.in cumulative "B" 1 of HOST`, `net.in_errors gauge "1" 2 of HOST`, `net.up delta "1" 3 of HOST`)
	// A line counts as a whole or not at all, and costs no other.
	f("m v=1\nm v=2,w=\nm v=\"open\nm\nm v=5 tomorrow\n{}\nm v=7\n", "", `5 of 7 lines cannot be read, the first is line 2: column 9: `,
		`m.v gauge "" 1 of HOST`, `m.v gauge "" 7 of HOST`)
	f("m v="+strings.Repeat("x", 500), "", `1 of 1 lines cannot be read, the first is line 1: column 5: field value has unrecognized type in "m v=`+strings.Repeat("x", 96)+`..."`)
}

func TestInfluxTime(t *testing.T) {
	for unit, text := range map[string]string{"s": "1767322800", "ms": "1767322800000", "us": "1767322800000000", "ns": "1767322800000000000"} {
		p := start(t, fmt.Sprintf("run = ['printf', 'm v=1 %s\\nm v=2']\nprecision = %q", text, unit))
		batches, err := sdk.Build("exec", func(out *sdk.Builder) error { return p.Poll(t.Context(), out) })
		if err != nil {
			t.Fatal(err)
		}
		if b := batches[0]; !b.Time(0).Equal(time.Unix(1767322800, 0)) || time.Since(b.Time(1)).Abs() > time.Minute {
			t.Errorf("%s: got %v and %v", unit, b.Time(0), b.Time(1))
		}
	}
}

func TestJSON(t *testing.T) {
	f := func(text, wantErr string, want ...string) {
		t.Helper()
		got, err := fromText(t, text, "format = 'json'")
		check(t, got, err, wantErr, want...)
	}
	f("", "")
	f(`{"name":"a","volume":1}`+"\n\n"+`{"name":"b","type":"delta","unit":"B","volume":2,"resource_id":"r"}`, "",
		`a gauge "" 1 of HOST`, `b delta "B" 2 of r`)
	f(`[{"name":"a","volume":1}, {"name":"b","volume":2}]`, "", `a gauge "" 1 of HOST`, `b gauge "" 2 of HOST`)
	f("{\n \"name\": \"a\",\n \"volume\": 1\n}\n", "", `a gauge "" 1 of HOST`)
	f("[\n]", "")
	f("[{\"name\":\"a\",\"volume\":1}]\n{\"name\":\"b\",\"volume\":2}\n", "", `a gauge "" 1 of HOST`, `b gauge "" 2 of HOST`)
	f("{\"name\":\"a\",\"volume\":1}\nWARNING: cold\n{\"name\":\"b\"}\n{\"name\":\"c\",\"volume\":3}", `2 of 4 lines cannot be read, the first is line 2: `,
		`a gauge "" 1 of HOST`, `c gauge "" 3 of HOST`)
	f(`[{"name":"a","volume":1},{"name":"b"},7]`, `entry 1: sample: field "volume": is missing (and 1 more entries)`, `a gauge "" 1 of HOST`)
	f(`"text"`, `expected an object, not "text"`)
}

// Whatever a command prints, a good line after it counts.
func fuzzLines(f *testing.F, l *lines, good string) {
	f.Fuzz(func(t *testing.T, text []byte) {
		var bad tally
		batches, err := sdk.Build("fuzz", func(out *sdk.Builder) error {
			l.all([]byte(string(text)+"\n"+good+"\n"), out, &bad)
			return nil
		})
		if err != nil && !strings.Contains(err.Error(), sdk.ErrSample.Error()) {
			t.Fatal(err)
		}
		if bad.bad > 0 && bad.err() == nil || bad.bad > bad.lines {
			t.Errorf("%+v", bad)
		}
		if err != nil {
			return
		}
		last := batches[len(batches)-1]
		if last.Len() == 0 || last.Sample(last.Len()-1).ResourceID != "good" {
			t.Errorf("the good line after %q is lost", text)
		}
	})
}

func FuzzInflux(f *testing.F) {
	f.Add([]byte(`cpu,host=a b=1,c="d",e=2i,f=3u,g=t 1767322800000000000`))
	f.Add([]byte("m v=\"open\nm\\ ,x=\\=y v=1e999\n#\x00\n"))
	x := &influx{ResourceTags: []string{"host"}, Strings: "metadata", Precision: "s", Types: map[string]sdk.Type{"cpu.*": sdk.Delta}}
	x.sort()
	fuzzLines(f, &lines{hostname: "h", influx: x}, "m,host=good v=1")
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`[{"name":"a","volume":1,"resource_metadata":{"a":[1]}},{"name":"b"}]`))
	f.Add([]byte("{\"name\":\"a\",\"volume\":\"NaN\"}\nnull\n[]\n[["))
	fuzzLines(f, &lines{hostname: "h"}, `{"name":"m","volume":1,"resource_id":"good"}`)
}

func BenchmarkLines(b *testing.B) {
	x := &influx{ResourceTags: []string{"host"}, Types: map[string]sdk.Type{"cpu.*": sdk.Cumulative}}
	x.sort()
	for name, l := range map[string]*lines{"influx": {hostname: "h", influx: x}, "json": {hostname: "h"}} {
		line := "cpu,host=node1,core=cpu0 user=12345i,system=234i,idle=999999i 1767322800000000000\n"
		samples := 3000
		if l.influx == nil {
			line, samples = `{"name":"cpu.user","type":"cumulative","unit":"ns","volume":12345,"resource_id":"node1","timestamp":"2026-01-02T03:00:00Z","resource_metadata":{"core":"cpu0"}}`+"\n", 1000
		}
		text := []byte(strings.Repeat(line, 1000))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var bad tally
				batches, err := sdk.Build("b", func(out *sdk.Builder) error { l.all(text, out, &bad); return bad.err() })
				if err != nil || len(batches) == 0 {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*samples), "ns/sample")
		})
	}
}
