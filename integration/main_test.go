package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestMain builds what the tests run: nepho, unless NEPHO_BIN names one, and the
// plugin that misbehaves.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "nepho-it-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := map[string]string{"NEPHO_ROGUE": "./rogue"}
	if os.Getenv("NEPHO_BIN") == "" {
		build["NEPHO_BIN"] = "../agent/cmd/nepho"
	}
	for variable, folder := range build {
		binary := filepath.Join(dir, variable)
		cmd := exec.Command("go", "build", "-o", binary, folder)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "cannot build %s: %v\n%s", folder, err, out)
			return 1
		}
		os.Setenv(variable, binary)
	}
	return m.Run()
}
