package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nephoscope/nepho/sdk/sdktest"
)

// The executable is built and run as its users would.
func TestExecutable(t *testing.T) {
	executable := filepath.Join(t.TempDir(), "nepho-pollster-hello")
	if out, err := exec.Command("go", "build", "-o", executable, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sdktest.Conform(t, sdktest.Options{Executable: executable})

	samples, err := sdktest.StartWith(t, sdktest.Options{Executable: executable, Config: `greeting = "hi"`}).Poll(t.Context())
	if err != nil || len(samples) != 1 || samples[0].Name != "hello.length" || samples[0].Volume != 2 {
		t.Errorf("samples %v, error %v", samples, err)
	}
}
