package api

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkpoint moves closed windows to block files, and gives those that are new.
func (p *plane) checkpoint() []string {
	p.Helper()
	before := p.blocks()
	if err := p.e.Checkpoint(context.Background()); err != nil {
		p.Fatal(err)
	}
	return slices.DeleteFunc(p.blocks(), func(name string) bool { return slices.Contains(before, name) })
}

func (p *plane) blocks() []string {
	p.Helper()
	var names []string
	err := filepath.WalkDir(filepath.Join(p.dir, "objects", "blocks"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, path)
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
	return names
}

// damage changes what a file holds of its metrics, behind its header.
func (p *plane) damage(name string) {
	p.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		p.Fatal(err)
	}
	for i := len(data) / 8; i < len(data)/3; i++ {
		data[i] ^= 0xff
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0) // the store may have it open
	if err != nil {
		p.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		p.Fatal(err)
	}
}

// A damaged file costs what is in it, is told, and nothing else is missing.
func TestLostWindows(t *testing.T) {
	p := newPlane(t)
	a, b := p.metric("admin", "coarse"), p.metric("admin", "coarse")
	p.ask(202, "POST", "/v1/metric/"+b+"/measures", []measure{{today("08:00:00"), 7}, {today("10:00:00"), 7}})
	var files []string
	for hour := range 3 { // with more files they are merged
		var list []measure
		for minute := 0; minute < 60; minute += 5 {
			list = append(list, measure{today(fmt.Sprintf("%02d:%02d:00", 8+hour, minute)), hour})
		}
		p.ask(202, "POST", "/v1/metric/"+a+"/measures", list)
		made := p.checkpoint()
		if hour == 1 {
			files = made
		}
	}
	if len(files) != 1 {
		t.Fatalf("%d block files", len(files))
	}
	count := func(text string) int { return strings.Count(text, "+00:00") }
	path := "/v1/metric/" + a + "/measures"
	if n := count(p.ask(200, "GET", path, nil)); n != 36 {
		t.Fatalf("%d measures", n)
	}
	p.damage(files[0])
	const query, aggregates = "/v1/batch/metrics/measures/query", "/v1/aggregates"
	both := operationsBody("(metric (%s mean) (%s mean))", a, b)
	for _, c := range []struct {
		method, path string
		body         any
		least, most  int // measures
	}{
		{"GET", path, nil, 24, 25},
		{"GET", path + "?resample=10+minutes&granularity=300", nil, 12, 13},
		{"POST", query, []string{a, b}, 25, 27},
		{"POST", aggregates, both, 25, 27},
		{"POST", aggregates, operationsBody("(aggregate count (metric (%s mean)))", a), 24, 25},
		{"POST", "/v1/aggregation/metric?needed_overlap=0&fill=null", []string{a, b}, 24, 26},
		{"POST", "/v1/search/metric?metric_id=" + a, `{">=":0}`, 24, 25},
	} {
		w := p.request("admin", c.method, c.path, c.body)
		if n := count(w.Body.String()); w.Code != 200 || n < c.least || n > c.most {
			t.Errorf("%s %s: %d, %d measures: %s", c.method, c.path, w.Code, n, w.Body.String()[:min(w.Body.Len(), 300)])
		}
		if warning := w.Header().Get("Warning"); !strings.HasPrefix(warning, `199 - "windows of metric `+a+` from 2026-11-22T`) || !strings.HasSuffix(warning, ` are lost"`) {
			t.Errorf("%s %s: warning %q", c.method, c.path, warning)
		}
	}
	// What is not damaged is not told of.
	if w := p.request("admin", "GET", path+"?start=2026-11-22T10:00", nil); w.Header().Get("Warning") != "" || count(w.Body.String()) != 12 {
		t.Errorf("%s %s", w.Header(), w.Body)
	}
	if w := p.request("admin", "GET", "/v1/metric/"+b+"/measures", nil); count(w.Body.String()) != 2 {
		t.Errorf("%s %s", w.Header(), w.Body)
	}
}
