package aggregator

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
)

// TestANewIndexDoesNotReuseNumbers gives a store that has measures another index, as operators
// do and as databases that are restored from an older copy do in part: what new metrics
// get must not be the measures of old ones.
func TestANewIndexDoesNotReuseNumbers(t *testing.T) {
	bound := newBound(t, "")
	dir := bound.path
	create := func(s *store) engine.Ref {
		t.Helper()
		made, err := s.index.CreateMetrics(t.Context(), []index.NewMetric{{Name: "m"}})
		if err != nil {
			t.Fatal(err)
		}
		return made[0].Ref
	}
	s := start(t, "path = '"+dir+"'")
	ref := create(s)
	policies, err := s.index.Policies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b engine.Batch
	b.Metric(ref, policies[0].ID)
	b.Point(time.Now().UnixNano(), 1)
	if _, err := s.engine.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(s.indexPath() + "*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	bound.adopt()
	s = start(t, "path = '"+dir+"'")
	if now := create(s); now <= ref {
		t.Errorf("metric %d comes after metric %d, whose measures are there", now, ref)
	}
}
