package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
)

// Damage of the log is told, and of its copy, also while the engine is open, and nothing else is.
func TestVerifyReadsTheLog(t *testing.T) {
	dir := t.TempDir()
	s, err := objects.Local(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "data")
	verify := func(folder string) (Verification, string) {
		t.Helper()
		var told []string
		v, err := Verify(t.Context(), s, folder, func(object string, err error) { told = append(told, object+": "+err.Error()) })
		if err != nil {
			t.Fatal(err)
		}
		if v.Damage != len(told) {
			t.Errorf("%d damaged, told %q", v.Damage, told)
		}
		return v, strings.Join(told, "\n")
	}
	e := node(t, folder, s)
	for i := range 4 {
		put(t, e, Ref(i), testNow.Add(-time.Hour), 1, 2, 3, 4, 5, 6, 7, 8)
	}
	if v, told := verify(folder); told != "" || v.Records != 4 || v.Bytes == 0 || v.Torn != 0 {
		t.Errorf("%+v, %s", v, told)
	}
	if err := e.ship(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, e, 5, testNow.Add(-time.Hour), 1, 2, 3, 4, 5, 6, 7, 8)
	if v, told := verify(folder); told != "" || v.Records != 4+5 {
		t.Errorf("%+v, %s", v, told)
	}
	if v, told := verify(""); told != "" || v.Records != 4 || v.LogAway {
		t.Errorf("%+v, %s", v, told)
	}
	if v, told := verify(filepath.Join(dir, "elsewhere")); told != "" || v.Records != 4 || !v.LogAway {
		t.Errorf("%+v, %s", v, told)
	}

	logs, err := filepath.Glob(filepath.Join(folder, "log-*", "*.wal"))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	whole, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	records := len(bytes.TrimRight(whole, "\x00")) // what follows is for later ones
	whole = whole[:(records+7)/8*8]                // as long as records are
	change := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(logs[0], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damaged := func(at int) []byte {
		data := append([]byte(nil), whole...)
		data[at] ^= 1
		return data
	}
	// The first record.
	change(damaged(70))
	if v, told := verify(folder); v.Damage != 1 || v.Records != 4+4 || !strings.Contains(told, filepath.Base(logs[0])+": records from 0000000000000000 to ") {
		t.Errorf("%+v, %s", v, told)
	}
	// The last one may as well be half written. That before it is in the copy, and so was durable.
	change(damaged(len(whole) - 20))
	if v, told := verify(folder); told != "" || v.Torn == 0 || v.Records != 4+4 {
		t.Errorf("%+v, %s", v, told)
	}
	change(whole[:len(whole)*3/4])
	if v, told := verify(folder); v.Damage != 1 || v.Records != 4+3 {
		t.Errorf("%+v, %s", v, told)
	}
	change(whole)
	if v, told := verify(folder); told != "" || v.Records != 4+5 {
		t.Errorf("%+v, %s", v, told)
	}
	pieces, err := filepath.Glob(filepath.Join(dir, "objects", "log", "*", "*"))
	if err != nil || len(pieces) != 1 {
		t.Fatal(pieces, err)
	}
	copied, err := os.ReadFile(pieces[0])
	if err != nil {
		t.Fatal(err)
	}
	copied[len(copied)-20] ^= 1
	if err := os.Chmod(pieces[0], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pieces[0], copied, 0o600); err != nil {
		t.Fatal(err)
	}
	if v, told := verify(folder); v.Damage != 1 || v.Records != 3+5 || !strings.Contains(told, "log/") {
		t.Errorf("%+v, %s", v, told)
	}
	// What was saved by a checkpoint is in the log no more, or is not needed.
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, told := verify(folder); told != "" || v.Records != 0 || v.Waiting != 5 {
		t.Errorf("%+v, %s", v, told)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, told := verify(folder); told != "" || v.LogAway {
		t.Errorf("%+v, %s", v, told)
	}
}

// While an engine is written to and makes checkpoints, nothing of it is damaged.
func TestVerifyWhileTheEngineIsInUse(t *testing.T) {
	dir := t.TempDir()
	s, err := objects.Local(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	// The later the verifying ends, the later are the points.
	e := node(t, filepath.Join(dir, "data"), s, func(o *Options) { o.MaxFuture = 1e6 * time.Hour })
	verified := make(chan struct{})
	go func() {
		defer close(verified)
		for range 20 {
			_, err := Verify(t.Context(), s, filepath.Join(dir, "data"), func(object string, err error) { t.Errorf("%s: %v", object, err) })
			if err != nil {
				t.Error(err)
			}
		}
	}()
	for i, ended := 0, false; !ended; i++ {
		// Each is later than what the metric has, or late when an hour has begun between them.
		put(t, e, Ref(i%50), testNow.Add(-time.Hour+time.Duration(i)*time.Second), 1, 2, 3)
		if i%200 == 199 {
			if err := e.Checkpoint(t.Context()); err != nil {
				t.Error(err)
			}
		}
		select {
		case <-verified:
			ended = true
		default:
		}
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
