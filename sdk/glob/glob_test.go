package glob

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		patterns string // separated by spaces
		matches  string
		misses   string
	}{
		{"", "cpu memory.usage", ""},
		{"*", "cpu memory.usage a/b", ""},
		{"cpu", "cpu", "cpu.delta xcpu"},
		{"cpu*", "cpu cpu.delta cpu_util", "vcpus"},
		{"memory.*", "memory.usage memory.bandwidth.local", "memory memoryx"},
		{"*.rate", "disk.read.rate .rate", "rate disk.rate.x"},
		{"disk.*.rate", "disk.read.rate disk.device.read.rate disk..rate", "disk.rate xdisk.read.rate"},
		{"ab*ba", "abba abXba", "aba"},
		{"*read*", "disk.read.bytes read", "write"},
		{"a*b*c", "abc aXbXc abcbc", "ab acb"},
		{"cpu?", "cpu1 cpuä", "cpu cpu10"},
		{"cpu[0-3]", "cpu0 cpu3", "cpu4 cpu"},
		{"cpu[^0-3]", "cpu4 cpux", "cpu0 cpu"},
		{`a\*b`, "a*b", "aXb"},
		{`[\]x]`, "] x", "y"},
		{"cpu memory.*", "cpu memory.usage", "disk"},
		{"!cpu", "memory.usage disk", "cpu"},
		{"disk.* !disk.device.allocation", "disk.read disk.device.usage", "disk.device.allocation cpu"},
		{"!disk.device.* disk.*", "disk.read", "disk.device.usage"},
		{"!disk.* !cpu", "memory", "disk.read cpu"},
	}
	for _, tt := range tests {
		g, err := Compile(strings.Fields(tt.patterns))
		if err != nil {
			t.Errorf("Compile(%q): %v", tt.patterns, err)
			continue
		}
		for name := range strings.FieldsSeq(tt.matches) {
			if !g.Match(name) {
				t.Errorf("%q does not match %q", tt.patterns, name)
			}
		}
		for name := range strings.FieldsSeq(tt.misses) {
			if g.Match(name) {
				t.Errorf("%q matches %q", tt.patterns, name)
			}
		}
	}
}

func TestNilMatchesEverything(t *testing.T) {
	var g *Globs
	if !g.Match("cpu") || !g.All() {
		t.Fatal("nil does not match everything")
	}
}

func TestAll(t *testing.T) {
	f := func(want bool, patterns ...string) {
		t.Helper()
		g, err := Compile(patterns)
		if err != nil {
			t.Fatal(err)
		}
		if g.All() != want {
			t.Errorf("All of %q is %v", patterns, !want)
		}
	}
	f(true)
	f(true, "*")
	f(true, "cpu", "*")
	f(false, "cpu")
	f(false, "*", "!cpu")
	f(false, "!cpu")
}

func TestCompileErrors(t *testing.T) {
	f := func(want string, patterns ...string) {
		t.Helper()
		_, err := Compile(patterns)
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("Compile(%q) gives %v", patterns, err)
		}
		if err.Error() != want || e.Index != len(patterns)-1 {
			t.Errorf("Compile(%q): %d: %s", patterns, e.Index, err)
		}
	}
	f(`pattern "": is empty`, "cpu", "")
	f(`pattern "!": is empty`, "!")
	f(`pattern "cpu[0-3": has a [ without a ]`, "a", "b", "cpu[0-3")
	f("pattern \"cpu\\\\\": ends with a \\", `cpu\`)
	f("pattern \"[-a]\": has a misplaced - or ] between [ and ], write \\- or \\]", "[-a]")
	f(`pattern "\xff": is not valid UTF-8`, "\xff")
}

// FuzzMatch compares with path.Match, which means the same where there is no
// slash in the name.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{
		{"memory.*", "memory.usage"}, {"*.rate", "a.rate"}, {"a*b*c", "abcbc"}, {"cpu[0-3]", "cpu2"},
		{`\*`, "*"}, {"[^a]", "b"}, {"[]a]", "a"}, {"*?*", "ä"}, {"[a-", "a"}, {"**", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		g, err := Compile([]string{pattern})
		if err != nil {
			return
		}
		got := g.Match(name)
		if strings.Contains(name, "/") || strings.HasPrefix(pattern, "!") || !utf8.ValidString(name) {
			return
		}
		want, err := path.Match(pattern, name)
		if err != nil {
			t.Fatalf("%q compiles, for path.Match it is: %v", pattern, err)
		}
		if got != want {
			t.Fatalf("%q matches %q: %v, path.Match says %v", pattern, name, got, want)
		}
	})
}

func TestMatchDoesNotAllocate(t *testing.T) {
	g, err := Compile([]string{"cpu", "disk.*.rate", "net[0-9]?", "!disk.device.*"})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { g.Match("disk.ephemeral.read.rate") }); n > 0 {
		t.Fatalf("Match allocates %v times", n)
	}
}

// A pattern of many stars must not take exponential time.
func TestManyStars(t *testing.T) {
	g, err := Compile([]string{strings.Repeat("a*", 30) + "b"})
	if err != nil {
		t.Fatal(err)
	}
	if g.Match(strings.Repeat("a", 5000)) {
		t.Fatal("matches")
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, patterns := range [][]string{{"*"}, {"cpu", "memory.*", "!memory.swap.*"}, {"disk.*.rate"}} {
		b.Run(strings.Join(patterns, ","), func(b *testing.B) {
			g, err := Compile(patterns)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				g.Match("disk.ephemeral.read.rate")
			}
		})
	}
}

func ExampleCompile() {
	g, err := Compile([]string{"cpu", "disk.*", "!disk.device.allocation"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, meter := range []string{"cpu", "disk.device.usage", "disk.device.allocation", "memory"} {
		fmt.Println(meter, g.Match(meter))
	}
	// Output:
	// cpu true
	// disk.device.usage true
	// disk.device.allocation false
	// memory false
}
