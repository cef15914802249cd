package file

import (
	"context"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nephoscope/nepho/sdk"
)

func TestReadable(t *testing.T) {
	for _, c := range []struct {
		volume float64
		unit   string
		want   string
	}{
		{0, "", "0 "}, {3, "process", "3 process"}, {97.254899, "%", "97.25 %"}, {-0.5, "C", "-0.50 C"}, {1834000000, "ns", "1834000000 ns"},
		{1023, "B", "1023 B"}, {1024, "B", "1 KiB"}, {895651840, "B", "854.16 MiB"}, {-2048, "B", "-2 KiB"}, {1 << 60, "B", "1048576 TiB"},
		{157213.5, "B/s", "153.53 KiB/s"}, {5e6, "Bit", "5000000 Bit"}, {0.00012345, "s", "0.0001234 s"}, {1.5e20, "1", "1.5e+20 1"},
		{math.Inf(1), "B", "+Inf B"}, {math.NaN(), "B", "NaN B"},
	} {
		if v, u := readable(c.volume, c.unit); v+" "+u != c.want {
			t.Errorf("%g %q is written as %q, expected %q", c.volume, c.unit, v+" "+u, c.want)
		}
	}
}

func TestText(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		out.At(at)
		out.On(sdk.Resource{ID: "vm-1", Metadata: sdk.Metadata{"display_name": "web\x1b[2J"}}).Gauge("memory.usage", "B", 1<<20)
		out.AddEvent(sdk.Event{MessageID: "m", EventType: "instance.create", Generated: at, Traits: []sdk.Trait{{Name: "vcpus", Type: sdk.Integer, Value: int64(2)}}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "03:04:05  memory.usage                                  1 MiB       vm-1 (web\uFFFD[2J)\n" +
		"03:04:05  instance.create  vcpus=2\n"
	path := t.TempDir() + "/pipe"
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	p := start(t, "path = '"+path+"'\nformat = 'text'")
	if err := p.Publish(t.Context(), batches[0]); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(reader)
	if err != nil || string(got) != want {
		t.Errorf("the pipe has, %v:\n%swant:\n%s", err, got, want)
	}
}

// What is in a file is to be read back, and repaired after a crash.
func TestTextIsNotForFiles(t *testing.T) {
	path := t.TempDir() + "/samples"
	if _, err := launch(t, "path = '"+path+"'\nformat = 'text'"); err == nil || !strings.Contains(err.Error(), "text") {
		t.Errorf("a file of text began with %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is there, %v", err)
	}
}
