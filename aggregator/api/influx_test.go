package api

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/window"
)

func TestReadLines(t *testing.T) {
	const now = int64(1_700_000_000_000_000_000)
	p := &posted{}
	l := lineReader{p: p, tag: "host", unit: int64(time.Second), now: now}
	text := strings.Join([]string{
		"# a comment",
		"cpu,host=web1,mytag=v,a=b usage=12.5,cores=4i,up=true,note=\"text\" 1510581804",
		"",
		"disk,path=/var/lib,host=web1 used=7u 1510581805\r",
		`my\ measure,host=web\,2 down=F`,
	}, "\n")
	if err := l.read([]byte(text)); err != nil {
		t.Fatal(err)
	}
	wantNames := []namedMetric{
		{resource: 0, name: "cpu.usage@a=b,mytag=v"},
		{resource: 0, name: "cpu.cores@a=b,mytag=v"},
		{resource: 0, name: "cpu.up@a=b,mytag=v"},
		{resource: 0, name: "disk.used@path=_var_lib"},
		{resource: 1, name: "my measure.down"},
	}
	at := int64(1510581804e9)
	wantPoints := []window.Point{{Time: at, Value: 12.5}, {Time: at, Value: 4}, {Time: at, Value: 1}, {Time: at + 1e9, Value: 7}, {Time: now, Value: 0}}
	if !slices.Equal(p.resources, []string{"web1", "web,2"}) || !slices.Equal(p.named, wantNames) || !slices.Equal(p.points, wantPoints) || !slices.Equal(p.ends, []int{1, 2, 3, 4, 5}) {
		t.Errorf("%+v", *p)
	}
}

func TestReadLinesRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"cpu":                                     "unable to parse line 1",
		"cpu,host=a usage=x":                      "unable to parse line 1",
		"cpu,host=a usage=1\ncpu,host=a":          "unable to parse line 2",
		"cpu,host=a usage=1 noon":                 "unable to parse line 1",
		"cpu,host=a usage=1 -5":                   "before 1970",
		"cpu,host=a usage=1 9223372036855":        "after 2262",
		"cpu,host=a usage=1 99999999999999999999": "no whole number",
		"cpu usage=1":                             "Unable to find key `host' in tags",
		"cpu,tag=a usage=1":                       "Unable to find key `host' in tags",
	} {
		l := lineReader{p: &posted{}, tag: "host", unit: int64(time.Millisecond * 1000)}
		err := l.read([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
			continue
		}
		var refused *Error
		if !errors.As(err, &refused) || refused.Code != 400 {
			t.Errorf("%q: %v is no bad request", text, err)
		}
	}
}

func TestCreateDatabase(t *testing.T) {
	for text, want := range map[string]string{
		"create database influxdbtest":       "influxdbtest",
		" CREATE  DATABASE _x1 ; ":           "_x1",
		`CREATE DATABASE "my \"db\""`:        `my "db"`,
		`CREATE DATABASE "telegraf"`:         "telegraf",
		"select metrics plz":                 "",
		"create database":                    "",
		"create database 1x":                 "",
		"create database a; drop database b": "",
	} {
		name, ok := databaseToCreate(text)
		if ok != (want != "") || name != want {
			t.Errorf("%q: %q %v, want %q", text, name, ok, want)
		}
	}
}

func FuzzReadLines(f *testing.F) {
	for _, seed := range []string{
		"cpu,host=web1,mytag=v usage=12.5,cores=4i,up=true,note=\"text\" 1510581804",
		"a,host=b c=1\nd,host=e f=2 3\n",
		`a\ b\,c,host=d\=e f="g\"h",i=t`,
		"cpu,host=a usage=x",
		"#\n\n\r\n",
	} {
		f.Add([]byte(seed), int64(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, unit int64) {
		if unit < 1 || unit > int64(time.Hour) {
			return
		}
		p := &posted{}
		l := lineReader{p: p, tag: "host", unit: unit, now: 5}
		if l.read(text) != nil {
			return
		}
		if len(p.named) != len(p.points) || len(p.ends) != len(p.points) {
			t.Fatalf("%d names, %d ends, %d points", len(p.named), len(p.ends), len(p.points))
		}
		for i, point := range p.points {
			if point.Time < 0 || math.IsNaN(point.Value) || p.named[i].resource >= len(p.resources) || strings.Contains(p.named[i].name, "/") {
				t.Fatalf("%+v of %+v", point, p.named[i])
			}
		}
	})
}

func TestInfluxWrite(t *testing.T) {
	p := newPlane(t)
	p.rule("*", "coarse")
	write := "/v1/influxdb/write?db=influxdbtest"
	plain := []string{"Content-Type", "text/plain"}
	at := planeNow.UnixNano()
	line := fmt.Sprintf("mymetric,host=foobar,mytag=myvalue field=123,up=t %d", at)

	p.ask(404, "POST", write, line, plain...)
	if w := p.request("admin", "POST", write, line); !strings.Contains(w.Body.String(), `"error":"database not found: \"influxdbtest\""`) || w.Header().Get("X-Influxdb-Error") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := p.request("bob", "POST", "/v1/influxdb/query?q=create+database+influxdbtest", nil); w.Code != 403 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for range 2 {
		p.ask(204, "POST", "/v1/influxdb/query?q=create+database+influxdbtest", nil)
	}
	p.ask(204, "POST", "/v1/influxdb/query", "q=CREATE+DATABASE+%22other%22", "Content-Type", "application/x-www-form-urlencoded")
	p.ask(200, "GET", "/v1/resource_type/other", nil)
	p.ask(501, "POST", "/v1/influxdb/query?q=select+metrics+plz", nil)
	p.ask(204, "POST", "/v1/influxdb/query", nil)
	if w := p.request("", "GET", "/v1/influxdb/ping", nil); w.Code != 204 || w.Header().Get("X-Influxdb-Version") == "" {
		t.Errorf("%d %s", w.Code, w.Header())
	}

	p.ask(204, "POST", write, line, plain...)
	got := p.ask(200, "GET", "/v1/resource/influxdbtest/foobar", nil)
	if !strings.Contains(got, `"id":"b4d568e4-7af1-5aec-ac3f-9c09fa3685a9"`) || !strings.Contains(got, `"creator":"admin"`) {
		t.Error(got)
	}
	p.answers(rows(300, "12:00:00", 123), "GET", "/v1/resource/influxdbtest/foobar/metric/mymetric.field@mytag=myvalue/measures", nil)
	p.answers(rows(300, "12:00:00", 1), "GET", "/v1/resource/influxdbtest/foobar/metric/mymetric.up@mytag=myvalue/measures", nil)
	// A resource that exists gets more metrics; the time is in seconds, or now.
	p.ask(204, "POST", write+"&precision=s", fmt.Sprintf("mymetric,host=foobar,mytag=myvalue field=125 %d\nmymetric,host=foobar new=1\nmymetric,host=foobar new=3 %d", at/1e9+60, at/1e9+1), plain...)
	p.answers(rows(300, "12:00:00", 124), "GET", "/v1/resource/influxdbtest/foobar/metric/mymetric.field@mytag=myvalue/measures", nil)
	p.answers(rows(300, "12:00:00", 2), "GET", "/v1/resource/influxdbtest/foobar/metric/mymetric.new/measures", nil)
	p.ask(400, "POST", write+"&precision=d", line, plain...)

	p.ask(204, "POST", write, line, "X-Gnocchi-InfluxDB-Tag-Resource-ID", "mytag")
	p.answers(rows(300, "12:00:00", 123), "GET", "/v1/resource/influxdbtest/myvalue/metric/mymetric.field@host=foobar/measures", nil)

	// All or nothing.
	p.refused(400, `{"cause":"Value error","detail":"line","reason":"Unable to parse line 2: empty tag name"}`, "POST", write, "good,host=foobar x=1\nbad")
	p.refused(400, "{\"cause\":\"Value error\",\"detail\":\"key\",\"reason\":\"Unable to find key `host' in tags\"}", "POST", write, "good,host=foobar x=1\nbad x=1")
	p.ask(404, "GET", "/v1/resource/influxdbtest/foobar/metric/good.x", nil)

	p.resource("admin", "generic", "conflict", "")
	p.refused(409, `{"cause":"Resource already exists","detail":"da19a545-af76-5081-9a88-f370baab66c6"}`, "POST", write, strings.Replace(line, "foobar", "conflict", 1))

	w := p.request("admin", "POST", write, fmt.Sprintf("mymetric,host=foobar,mytag=myvalue field=1 %d\nmymetric,host=foobar,mytag=myvalue field=1 %d", at-3600e9, at))
	if w.Code != 400 || !strings.Contains(w.Body.String(), `"error":"partial write: points beyond retention policy dropped=1"`) || !strings.Contains(w.Body.String(), `"late":1`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Others may not write to somebody's resources, whose metrics they know by UUID.
func TestInfluxWriteToOthers(t *testing.T) {
	p := newPlane(t)
	p.rule("*", "coarse")
	p.ask(204, "POST", "/v1/influxdb/query?q=create+database+db", nil)
	id := p.resource("alice", "db", "hers", "", "m.f=coarse")
	for line, want := range map[string]int{"m,host=" + id.String() + " f=1": 403, "m,host=" + id.String() + " new=1": 403} {
		if w := p.request("bob", "POST", "/v1/influxdb/write?db=db", line); w.Code != want {
			t.Errorf("%s: %d %s", line, w.Code, w.Body)
		}
		if w := p.request("alice", "POST", "/v1/influxdb/write?db=db", line); w.Code != 204 {
			t.Errorf("%s: %d %s", line, w.Code, w.Body)
		}
	}
}

// A host of which nothing can be stored does not keep others from being stored.
func TestInfluxLeavesOutBadHosts(t *testing.T) {
	p := newPlane(t)
	p.rule("*", "coarse")
	p.ask(204, "POST", "/v1/influxdb/query?q=create+database+db", nil)
	p.resource("admin", "generic", "other", "")
	hers := p.resource("alice", "db", "hers", "", "m.f=coarse")
	for n, bad := range []string{
		"m,host=" + strings.Repeat("x", 256) + " f=1,g=2",
		"m,host=other f=1,g=2",
		"m,host=" + hers.String() + " f=1,g=2",
		"m,host=h " + strings.Repeat("f", 5000) + "=1," + strings.Repeat("g", 5000) + "=2",
	} {
		w := p.request("admin", "POST", "/v1/influxdb/write?db=db", fmt.Sprintf("%s\nm,host=a/%d f=3\n%s", bad, n, strings.Replace(bad, "m", "n", 1)))
		if n == 2 { // an admin may write to all
			if w.Code != 204 {
				t.Errorf("%d: %d %s", n, w.Code, w.Body)
			}
			w = p.request("bob", "POST", "/v1/influxdb/write?db=db", fmt.Sprintf("%s\nm,host=b f=3\n%s", bad, bad))
		}
		if w.Code != 400 || !strings.Contains(w.Body.String(), `"error":"partial write: `) || !strings.Contains(w.Body.String(), "dropped=4") {
			t.Errorf("%d: %d %.500s", n, w.Code, w.Body)
		}
		p.answers(rows(300, "12:00:00", 3), "GET", fmt.Sprintf("/v1/resource/db/a_%d/metric/m.f/measures", n), nil)
	}
	p.ask(409, "POST", "/v1/influxdb/write?db=db", "m,host=other f=1")
}
