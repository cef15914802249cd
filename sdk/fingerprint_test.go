package sdk

import (
	"fmt"
	"hash/maphash"
	"testing"
)

func TestFingerprints(t *testing.T) {
	seed := maphash.MakeSeed()
	of := func(resources ...Resource) []uint64 {
		t.Helper()
		batches, err := Build("i", func(out *Builder) error {
			for _, r := range resources {
				out.On(r).Gauge("m", "", 1)
			}
			return nil
		})
		if err != nil || len(batches) != 1 || batches[0].Resources() != len(resources) {
			t.Fatal(len(batches), err)
		}
		return batches[0].Fingerprints(seed, nil)
	}
	full := Resource{ID: "r", ProjectID: "p", UserID: "u", Source: "s", Metadata: Metadata{"a": "1", "b": map[string]any{"c": 2}}}
	different := []Resource{
		full,
		{ID: "r2", ProjectID: "p", UserID: "u", Source: "s", Metadata: full.Metadata},
		{ID: "r", ProjectID: "u", UserID: "p", Source: "s", Metadata: full.Metadata},
		{ID: "r", ProjectID: "p", UserID: "u", Source: "p", Metadata: full.Metadata},
		{ID: "r", ProjectID: "p", UserID: "u", Source: "s"},
		{ID: "r"},
		{ID: "r", Metadata: Metadata{"a": "1"}},
		{ID: "r", Metadata: Metadata{"a": 1}},
		{ID: "r", Metadata: Metadata{"1": "a"}},
		{ID: "r", Metadata: Metadata{"a": "1", "b": "2"}},
		{ID: "r", Metadata: Metadata{"a": "2", "b": "1"}},
		{ID: "r", Metadata: Metadata{"a": "a"}},
		{ID: "r", Metadata: Metadata{"a": "a", "b": "b"}},
		{ID: "r", Metadata: Metadata{"a": "b", "b": "a"}},
	}
	seen := map[uint64]int{}
	all := of(different...)
	for i, f := range all {
		if j, ok := seen[f]; ok {
			t.Errorf("%+v has the fingerprint of %+v", different[i], different[j])
		}
		seen[f] = i
	}
	// In another batch, among others, it is the same.
	again := of(Resource{ID: "else", Metadata: Metadata{"b": "1"}}, full)
	if again[1] != all[0] {
		t.Error("an equal resource has another fingerprint")
	}
	// So it is when the entries come in another order.
	batches, err := Build("i", func(out *Builder) error { out.On(full).Gauge("m", "", 1); return nil })
	if err != nil {
		t.Fatal(err)
	}
	b := batches[0]
	w, from := b.w, b.sets[1]
	w.MetadataKey[from], w.MetadataKey[from+1] = w.MetadataKey[from+1], w.MetadataKey[from]
	w.MetadataValue[from], w.MetadataValue[from+1] = w.MetadataValue[from+1], w.MetadataValue[from]
	w.MetadataJson[from], w.MetadataJson[from+1] = w.MetadataJson[from+1], w.MetadataJson[from]
	if got := b.Fingerprints(seed, nil); got[0] != all[0] {
		t.Error("the order of metadata matters")
	}
	if got := b.Fingerprints(maphash.MakeSeed(), nil); got[0] == all[0] {
		t.Error("the seed does not matter")
	}
}

func TestFingerprintsOfMany(t *testing.T) {
	resources := make([]Resource, 10_000)
	for i := range resources {
		resources[i] = Resource{ID: fmt.Sprint(i / 100), Metadata: Metadata{"n": i % 100, "m": i % 7}}
	}
	batches, err := Build("i", func(out *Builder) error {
		for _, r := range resources {
			out.On(r).Gauge("m", "", 1)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	seen, seed := map[uint64]bool{}, maphash.MakeSeed()
	for _, b := range batches {
		for _, f := range b.Fingerprints(seed, nil) {
			seen[f] = true
		}
	}
	if len(seen) != len(resources) {
		t.Errorf("%d resources have %d fingerprints", len(resources), len(seen))
	}
}

func BenchmarkFingerprints(b *testing.B) {
	batch, err := DecodeBatch(novaBatch(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	seed := maphash.MakeSeed()
	var to []uint64
	for b.Loop() {
		to = batch.Fingerprints(seed, to[:0])
	}
	perSample(b, 2000)
}
