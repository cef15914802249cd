package file

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nephoscope/nepho/integration/parts"
)

func TestRotation(t *testing.T) {
	defer parts.NoGoroutinesLeft(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	path := filepath.Join(dir, "out.json")
	stranger := filepath.Join(dir, "out.json.bak")
	half := filepath.Join(dir, "out.json.20200102T030405.678Z.gz.tmp")
	if err := errors.Join(os.WriteFile(stranger, nil, 0o600), os.WriteFile(half, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	p := start(t, fmt.Sprintf("path = %q\nrotate_size = '4KiB'\nrotate_keep = 3\ncompress = true\nmode = '0600'", path))
	for i := range 50 {
		publish(t, p, 10*i, 10) // about 2 KiB
	}
	p.keeper.wake()
	var files []string
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		files, _ = filepath.Glob(path + ".2*")
		slices.Sort(files)
		if len(files) == 3 && strings.HasSuffix(files[0], ".gz") && strings.HasSuffix(files[1], ".gz") && strings.HasSuffix(files[2], ".gz") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %q", files)
		}
	}
	p.Stop(t.Context())
	if _, err := os.Stat(stranger); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("what an earlier run left unfinished is still there")
	}
	var all []float64
	for _, name := range files {
		if info, _ := os.Stat(name); info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		z, err := gzip.NewReader(bytes.NewReader(read(t, name)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil || len(text) > 4<<10 {
			t.Fatalf("%d bytes, error %v", len(text), err)
		}
		all = append(all, volumes(t, text)...)
	}
	all = append(all, volumes(t, read(t, path))...)
	if want := count(500)[500-len(all):]; !slices.Equal(all, want) || len(all) < 40 {
		t.Errorf("got %v, want %v", all, want)
	}
}

func TestRotationByAge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.json")
	p := start(t, fmt.Sprintf("path = %q", path))
	publish(t, p, 0, 1)
	p.Stop(t.Context())
	time.Sleep(200 * time.Millisecond) // the thing under test: the age of a file from an earlier run
	p = start(t, fmt.Sprintf("path = %q\nrotate_age = '150ms'", path))
	publish(t, p, 1, 1)
	p.RotateAge = time.Hour // or the new file were too old as well after a pause
	publish(t, p, 2, 1)
	if got := volumes(t, read(t, path)); !slices.Equal(got, []float64{1, 2}) {
		t.Errorf("the present file holds %v", got)
	}
}

// The name of a file that was removed is not given to a younger one, nor one that
// sorts before it when the clock was set back.
func TestRotatedNamesSortByAge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.json")
	r := &regular{path: path, mode: 0o600, log: slog.New(slog.DiscardHandler)}
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	last := ""
	for range 20 {
		if err := r.rotate(); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(path + ".*")
		if err != nil || len(files) != 1 || files[0] <= last {
			t.Fatalf("got files %q after %s, error %v", files, last, err)
		}
		last = files[0]
		if err := os.Remove(last); err != nil {
			t.Fatal(err)
		}
		// The clock is set back: what a monotonic one says would hide that.
		if r.rotated != r.rotated.Round(0) {
			t.Fatalf("the time of the last name is %v", r.rotated)
		}
		r.rotated = r.rotated.Add(time.Hour)
		last = path + r.rotated.UTC().Format(rotatedStamp)
	}
}
