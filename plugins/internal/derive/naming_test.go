package derive

import (
	"strings"
	"testing"

	"github.com/nephoscope/nepho/sdk"
)

func TestNaming(t *testing.T) {
	f := func(source Source, naming Naming, name, unit, wantName, wantUnit string) {
		t.Helper()
		n, err := NewNamer(source, naming)
		if err != nil {
			t.Error(err)
			return
		}
		got := n.Meter(sdk.Meter{Name: name, Type: sdk.Cumulative, Unit: unit}, sdk.Meter{Name: "default", Type: sdk.Gauge, Unit: "1"})
		if want := (sdk.Meter{Name: wantName, Type: sdk.Gauge, Unit: wantUnit}); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	f(Source{}, Naming{}, "cpu", "ns", "default", "1")
	f(Source{}, Naming{Name: "cpu_util", Unit: "%"}, "cpu", "ns", "cpu_util", "%")

	disk := Patterns{Name: `(disk\.device|disk)\.(read|write)\.(bytes|requests)`, Unit: "(B|request)"}
	python := Patterns{Name: `\1.\2.\3.rate`, Unit: `\1/s`}
	f(Source{MapFrom: disk}, Naming{MapTo: python}, "disk.device.read.bytes", "B", "disk.device.read.bytes.rate", "B/s")
	f(Source{MapFrom: disk}, Naming{MapTo: python}, "disk.write.requests", "request", "disk.write.requests.rate", "request/s")
	golang := Patterns{Name: `$1.$2.${3}.rate`, Unit: `$1/s`}
	f(Source{MapFrom: disk}, Naming{MapTo: golang}, "disk.write.requests", "request", "disk.write.requests.rate", "request/s")
	// The match is anywhere in the name, the rest of which stays.
	f(Source{MapFrom: disk}, Naming{MapTo: python}, "vm.disk.write.bytes.x", "B", "vm.disk.write.bytes.rate.x", "B/s")
	// What does not match falls back to the target, then to the default.
	f(Source{MapFrom: disk}, Naming{MapTo: python, Name: "other"}, "network.bytes", "ns", "other", "1")
	f(Source{MapFrom: disk}, Naming{MapTo: python}, "network.bytes", "ns", "default", "1")
	// So does an empty result.
	f(Source{MapFrom: Patterns{Name: "^cpu(.*)$"}}, Naming{MapTo: Patterns{Name: `\1`}, Name: "x"}, "cpu", "ns", "x", "1")
}

func TestSelects(t *testing.T) {
	n, err := NewNamer(Source{Unit: "MB"}, Naming{})
	if err != nil {
		t.Fatal(err)
	}
	if !n.Selects(sdk.Meter{Unit: "MB"}) || n.Selects(sdk.Meter{Unit: "B"}) {
		t.Fatal("the wrong unit is selected")
	}
}

func TestTemplates(t *testing.T) {
	f := func(pattern, to, text, want string) {
		t.Helper()
		r, err := newReplacement("name", pattern, to)
		if err != nil {
			t.Errorf("%s: %v", to, err)
		} else if got := r.apply(text); got != want {
			t.Errorf("%s in place of %s in %s: %s, want %s", to, pattern, text, got, want)
		}
	}
	f("(a)(b)", `\2\1`, "ab", "ba")
	f("(a)(b)", `$2$1`, "ab", "ba")
	f("(a)(b)", `\1x\2y`, "ab", "axby")
	f("(a)", `$1_total`, "a", "a_total")
	f("(?P<first>a)", `\g<first>!${first}`, "a", "a!a")
	f("(?P<first>a)", `\g<1>0`, "a", "a0")
	f("a", `\\1`, "a", `\1`)
	f("a", `$$1`, "a", "$1")
	f("a", `50 \%`, "a", `50 \%`)
	f("a", `x\`, "a", `x\`)
	f("(.)", `\0\0`, "a", "aa")
	f("a", `µs`, "a", "µs")
}

func TestNamingErrors(t *testing.T) {
	f := func(from, to, want string) {
		t.Helper()
		_, err := NewNamer(Source{MapFrom: Patterns{Name: from}}, Naming{MapTo: Patterns{Name: to}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q to %q: %v, want %q", from, to, err, want)
		}
	}
	f("a", "", "source.map_from.name: has no target.map_to.name")
	f("", "b", "target.map_to.name: has no source.map_from.name")
	f("(a", "b", "source.map_from.name: error parsing regexp: missing closing )")
	f("(?=a)b", "b", "look-around and back-references")
	f(`(a)\1`, "b", "look-around and back-references")
	f("(a)", `\2`, "target.map_to.name: names the group 2, which the pattern (a) does not have")
	f("(a)", `$name`, "has a group without an end")
	f("(a)", `${name}`, "names the group name")
	f("(a)", `${1`, "has a group without an end")
	f("(a)", `$`, "has a group without an end")
	f("(a)", `\g<>`, "has a group without an end")
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{`\1.\2`, `$1`, `${1}`, `\g<1>`, `\\`, `$$`, `\`, `${`, `\g<`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, to string) {
		if r, err := newReplacement("name", "(a)(b)", to); err == nil && r != nil {
			r.apply("xabx")
		}
	})
}
