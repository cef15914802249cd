// Package python tests a plugin that is written in another language than Go.
package python

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nephoscope/nepho/sdk/sdktest"
)

func executable(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "nepho-pollster-loadavg")
}

// It keeps the rules that plugins of the SDK keep.
func TestConform(t *testing.T) {
	sdktest.Conform(t, sdktest.Options{Executable: executable(t)})
}

func TestPoll(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{
		Executable: executable(t),
		Config:     `resource = "node-1"`, Meters: []string{"system.*", "!*.15"}, Tags: map[string]string{"rack": "7", "room": "b"},
	})
	for range 2 {
		samples, err := p.Poll(t.Context())
		if err != nil || len(samples) != 2 {
			t.Fatalf("samples %v, error %v", samples, err)
		}
		for _, s := range samples {
			if s.ResourceID != "node-1" || s.Metadata["rack"] != "7" || s.Metadata["room"] != "b" || s.Monotonic == 0 || s.Volume < 0 {
				t.Errorf("got %+v", s)
			}
		}
	}
}
