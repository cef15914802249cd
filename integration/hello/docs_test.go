package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/sdk"
)

// block gives the first code block of the kind in a file of docs, below the line.
func block(t *testing.T, file, below, kind string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../docs", file))
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(data), below)
	_, text, begins := strings.Cut(text, "```"+kind+"\n")
	text, _, ends := strings.Cut(text, "```")
	if !found || !begins || !ends {
		t.Fatalf("%s has no such block", file)
	}
	return text
}

// The guide's first plugin is one that works.
func TestGuide(t *testing.T) {
	dir := t.TempDir()
	source, executable := filepath.Join(dir, "main.go"), filepath.Join(dir, "mail")
	if err := os.WriteFile(source, []byte(block(t, "PLUGINS.md", "## A pollster in 30 lines", "go")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", executable, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	options := filepath.Join(dir, "options.toml")
	if err := os.WriteFile(options, fmt.Appendf(nil, "path = %q", dir), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(executable, "--config", options).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "mail.files  3") {
		t.Errorf("error %v\n%s", err, out)
	}
}

// The bytes of the protocol's example are what they are said to be.
func TestBatchOfTheProtocol(t *testing.T) {
	text := regexp.MustCompile(`(?m)#.*$`).ReplaceAllString(block(t, "PROTOCOL.md", "## A batch", ""), "")
	data, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	b, err := sdk.DecodeBatch(data)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(b.Instance(), b.Sequence())
	for _, s := range b.Samples() {
		got += string(s.AppendJSON(nil)) + "\n"
	}
	const want = `up 7
{"name":"load","type":"gauge","volume":0.5,"resource_id":"node-1","timestamp":"2026-01-02T03:04:05Z","resource_metadata":{"rack":7},"id":"5f1f0d1e-8a3c-8b1e-9a3c-000100000000"}
{"name":"temp","type":"gauge","unit":"Cel","volume":21,"resource_id":"node-1","timestamp":"2026-01-02T03:04:06Z","resource_metadata":{"rack":7},"id":"5f1f0d1e-8a3c-8b1e-9a3c-000100000001"}
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}
