package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// check times nepho check on the configuration with most in it.
func check(b *bench, tb parts.TB) {
	var took []float64
	for range 10 * b.runs {
		cmd := exec.CommandContext(b.ctx, os.Getenv("NEPHO_BIN"), "check", "--config", filepath.Join(b.root, "conf", "compute-node.toml"))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		begun := time.Now()
		if err := cmd.Run(); err != nil {
			tb.Fatalf("nepho check: %v\n%s", err, out.String())
		}
		took = append(took, time.Since(begun).Seconds()*1e3)
	}
	b.report("check", "ms", goal{must: 300}, took)
}
