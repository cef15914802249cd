package api

import (
	"errors"
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
