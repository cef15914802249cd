package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/nephoscope/nepho/integration/parts"
)

// author counts what somebody who writes a pollster has to write and to depend on,
// by the example in integration/hello, which is a module of its own.
func author(b *bench, tb parts.TB) {
	dir := filepath.Join(b.root, "integration", "hello")
	text, err := os.ReadFile(filepath.Join(dir, "hello.go"))
	if err != nil {
		tb.Fatalf("cannot read the example plugin: %v", err)
	}
	lines := 0
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			lines++
		}
	}
	b.report("author.lines", "lines", goal{must: 25}, []float64{float64(lines)})

	cmd := exec.CommandContext(b.ctx, "go", "mod", "edit", "-json")
	cmd.Dir = dir
	out, err := cmd.Output()
	var module struct{ Require []struct{ Path string } }
	if err == nil {
		err = json.Unmarshal(out, &module)
	}
	if err != nil {
		tb.Fatalf("cannot read the example's go.mod: %v", err)
	}
	b.report("author.modules", "modules", goal{}, []float64{float64(len(module.Require))})
}
