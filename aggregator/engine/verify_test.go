package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
)

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	s, err := objects.Local(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	verify := func() (Verification, string) {
		t.Helper()
		var told []string
		v, err := Verify(t.Context(), s, filepath.Join(dir, "data"), func(object string, err error) { told = append(told, object+": "+err.Error()) })
		if err != nil {
			t.Fatal(err)
		}
		if v.Damage != len(told) {
			t.Errorf("%d damaged, told %q", v.Damage, told)
		}
		return v, strings.Join(told, "\n")
	}
	if v, _ := verify(); v != (Verification{}) {
		t.Errorf("of nothing it is %+v", v)
	}
	p := &policy.Policy{ID: 1, Name: "p", Methods: policy.SetOf(policy.Mean, policy.Max), Definitions: []policy.Definition{{Granularity: time.Minute}}}
	e, err := Open(t.Context(), Options{Dir: filepath.Join(dir, "data"), Objects: s, MaxFuture: time.Hour}, []*policy.Policy{p})
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	for ref := range Ref(100) {
		b.Metric(ref+1, 1)
		for i := range 200 {
			b.Point(int64(time.Unix(1_700_000_000+int64(i)*10, 0).UnixNano()), float64(i)*0.5)
		}
	}
	if _, err := e.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Also while the engine is open.
	v, told := verify()
	if told != "" || v.Blocks == 0 || v.Windows != 100*33 || v.Waiting != 100 || v.Bytes == 0 {
		t.Errorf("%+v, %s", v, told)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	blocks, err := filepath.Glob(filepath.Join(dir, "objects", "blocks", "*"))
	if err != nil || len(blocks) != v.Blocks {
		t.Fatal(blocks, err)
	}
	heads, err := filepath.Glob(filepath.Join(dir, "objects", "heads", "*"))
	if err != nil || len(heads) == 0 {
		t.Fatal(heads, err)
	}
	for _, file := range append(heads, blocks[0]) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v, told = verify()
	if v.Damage < 2 || !strings.Contains(told, "blocks/") || !strings.Contains(told, "heads/") || !strings.Contains(told, "metric") {
		t.Errorf("%+v, %s", v, told)
	}
	if err := os.Remove(blocks[0]); err != nil {
		t.Fatal(err)
	}
	if _, told := verify(); !strings.Contains(told, filepath.Base(blocks[0])+": it is missing") {
		t.Errorf("told %s", told)
	}
}
