package aggregator

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

// bound is an aggregator of which a test exchanges the index and the store.
type bound struct {
	t    *testing.T
	path string
	toml string
}

func newBound(t *testing.T, toml string) *bound {
	path := filepath.Join(t.TempDir(), "store")
	return &bound{t, path, fmt.Sprintf("definitions = []\nlisten = ''\npath = '%s'\n%s", path, toml)}
}

// run starts it, calls f, and stops it.
func (b *bound) run(f func(s *store)) {
	b.t.Helper()
	s := start(b.t, b.toml)
	f(s)
	if err := s.Stop(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// refuses expects that it does not start, for a reason.
func (b *bound) refuses(want ...string) {
	b.t.Helper()
	s, err := launch(b.t, b.toml)
	if err == nil {
		if err := s.Stop(b.t.Context()); err != nil {
			b.t.Error(err)
		}
		b.t.Fatal("it starts")
	}
	for _, text := range append(want, "nepho aggregator adopt") {
		if !strings.Contains(err.Error(), text) {
			b.t.Errorf("no %q in: %v", text, err)
		}
	}
}

// adopt is what the command of this name does.
func (b *bound) adopt() {
	b.t.Helper()
	table, problems := config.Parse("test.toml", []byte(b.toml))
	if len(problems) > 0 {
		b.t.Fatal(problems)
	}
	var out bytes.Buffer
	if err := Adopt(b.t.Context(), &out, "", table); err != nil || !strings.Contains(out.String(), b.path) {
		b.t.Fatal(out.String(), err)
	}
}

// remove removes what is in path and begins so.
func (b *bound) remove(name string) {
	b.t.Helper()
	files, err := filepath.Glob(filepath.Join(b.path, name) + "*")
	if err != nil || len(files) == 0 {
		b.t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.RemoveAll(f); err != nil {
			b.t.Fatal(err)
		}
	}
}

// write publishes a sample whose windows a checkpoint closes.
func (b *bound) write(s *store) {
	b.t.Helper()
	if err := s.Publish(b.t.Context(), build(b.t, func(out *sdk.Builder) {
		for i := range 200 {
			out.At(time.Now().Truncate(time.Hour).Add(time.Duration(i-200) * time.Hour))
			out.On(sdk.Resource{ID: "vm"}).Gauge("cpu_util", "%", float64(i))
		}
	})); err != nil {
		b.t.Fatal(err)
	}
}

// has expects the sample, or that it is gone.
func (b *bound) has(s *store, want int) {
	b.t.Helper()
	if n := s.engine.Stats().Metrics; n != want {
		b.t.Errorf("%d metrics have measures, and %d should", n, want)
	}
}

func TestALostIndexStopsTheStart(t *testing.T) {
	b := newBound(t, "")
	b.run(b.write)
	b.run(func(s *store) { b.has(s, 1) })
	saved := t.TempDir()
	if err := os.Rename(filepath.Join(b.path, "index.sqlite"), filepath.Join(saved, "index.sqlite")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // that of the first try is as empty
		b.refuses("index.sqlite is new or was emptied", "restore the index")
	}
	b.remove("index.sqlite")
	if err := os.Rename(filepath.Join(saved, "index.sqlite"), filepath.Join(b.path, "index.sqlite")); err != nil {
		t.Fatal(err)
	}
	b.run(func(s *store) { b.has(s, 1) })
}

func TestAnotherIndexStopsTheStart(t *testing.T) {
	a, b := newBound(t, ""), newBound(t, "")
	a.run(a.write)
	b.run(b.write)
	if err := os.Rename(filepath.Join(a.path, "index.sqlite"), filepath.Join(b.path, "index.sqlite")); err != nil {
		t.Fatal(err)
	}
	b.refuses("describes store ", "belongs together")
}

func TestALostStoreStopsTheStart(t *testing.T) {
	b := newBound(t, "")
	b.run(b.write)
	b.remove("objects")
	b.refuses("there are no measures in", "bring that store back")
	b.adopt()
	b.run(func(s *store) {
		b.has(s, 0)
		b.write(s)
		b.has(s, 1)
	})
	b.run(func(s *store) { b.has(s, 1) })
}

// A start that ended between two of its steps is made again.
func TestAStoreThatWasNeverOpenedIsNew(t *testing.T) {
	b := newBound(t, "")
	o, err := objects.Local(filepath.Join(b.path, objectFolder))
	if err != nil {
		t.Fatal(err)
	}
	id, err := engine.Name(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b.run(b.write)
	if again, err := engine.Identify(t.Context(), o); err != nil || again != (engine.Identity{ID: id, Used: true}) {
		t.Errorf("store %s is %+v, %v", id, again, err)
	}

	b = newBound(t, "")
	if o, err = objects.Local(filepath.Join(b.path, objectFolder)); err != nil {
		t.Fatal(err)
	}
	if id, err = engine.Name(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	x, err := index.Open(t.Context(), index.Options{URL: filepath.Join(b.path, "index.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.AddStore(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	b.run(b.write)
	b.run(func(s *store) { b.has(s, 1) })
}

func TestAdoptedMeasures(t *testing.T) {
	b := newBound(t, "")
	b.run(b.write)
	b.remove("index.sqlite")
	b.adopt()
	b.run(func(s *store) { b.has(s, 1) })
}

func TestAnEmptiedDatabaseStopsTheStart(t *testing.T) {
	p := parts.PostgreSQL(t)
	url := p.Database()
	a := newBound(t, "index = '"+url+"'")
	a.run(a.write)
	// Others may share the database, each with a store of its own.
	b := newBound(t, "index = '"+url+"'")
	b.run(b.write)
	b.run(func(s *store) { b.has(s, 1) })
	a.run(func(s *store) { a.has(s, 1) })
	a.toml = strings.ReplaceAll(a.toml, url, p.Database())
	a.refuses("the index in PostgreSQL is new or was emptied")
}
