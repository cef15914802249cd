package index

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestStores(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		same(t, must(x.Stores(ctx))(t), []string(nil))
		for range 2 {
			ok(t, x.AddStore(ctx, "b"))
			same(t, must(x.Stores(ctx))(t), []string{"b"})
		}
		ok(t, x.AddStore(ctx, "a"))
		if x.database.Shared() {
			same(t, must(x.Stores(ctx))(t), []string{"a", "b"})
			return
		}
		same(t, must(x.Stores(ctx))(t), []string{"a"})
		// A copy belongs to the same store.
		var copied bytes.Buffer
		ok(t, x.Snapshot(ctx, &copied))
		restored := filepath.Join(t.TempDir(), "index.db")
		ok(t, os.WriteFile(restored, copied.Bytes(), 0o600))
		same(t, must(open(t, restored).Stores(ctx))(t), []string{"a"})
	})
}
