package config

import (
	"math"
	"strings"
	"testing"
)

func parse(t *testing.T, text string) *Table {
	t.Helper()
	table, problems := Parse("a.toml", []byte(text))
	if len(problems) > 0 {
		t.Fatalf("Parse: %v", problems)
	}
	return table
}

func TestPositionsAndPaths(t *testing.T) {
	table := parse(t, "\ufeffa = 1\n"+`[agent]
tags = { site = "x", "a b" = "y" }
  [[pollster.libvirt]]
  list = [
    "é", { deep = 1 },
    [2],
  ]
  x.y = true
[pollster.libvirt.sub]
z = 1
[[pollster.libvirt]]
`)
	var got []string
	var walk func(*Table)
	walk = func(t *Table) {
		for k, v := range t.All() {
			got = append(got, v.Pos.String()+" "+t.KeyPath(k))
			if v.Table != nil {
				walk(v.Table)
			}
			for i, e := range v.List {
				got = append(got, e.Pos.String()+" "+indexKey(t.KeyPath(k), i))
				if e.Table != nil {
					walk(e.Table)
				}
			}
		}
	}
	walk(table)
	want := `a.toml:1:1 a
a.toml:2:1 agent
a.toml:3:1 agent.tags
a.toml:3:10 agent.tags.site
a.toml:3:22 agent.tags."a b"
a.toml:4:3 pollster
a.toml:4:3 pollster.libvirt
a.toml:4:3 pollster.libvirt[0]
a.toml:5:3 pollster.libvirt.list
a.toml:6:5 pollster.libvirt.list[0]
a.toml:6:10 pollster.libvirt.list[1]
a.toml:6:12 pollster.libvirt.list[1].deep
a.toml:5:3 pollster.libvirt.list[2]
a.toml:9:3 pollster.libvirt.x
a.toml:9:3 pollster.libvirt.x.y
a.toml:10:1 pollster.libvirt.sub
a.toml:11:1 pollster.libvirt.sub.z
a.toml:12:1 pollster.libvirt[1]`
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("positions:\n%s\nwant:\n%s", s, want)
	}
}

func TestParseValues(t *testing.T) {
	f := func(text string, want *Value) {
		t.Helper()
		if v := parse(t, "v = "+text).Get("v"); !v.Equal(want) {
			t.Errorf("%s is %+v", text, v)
		}
	}
	f(`"a\tä\u00e9"`, NewString("a\täé"))
	f(`'C:\x'`, NewString(`C:\x`))
	f("\"\"\"\nline\nline\"\"\"", NewString("line\nline"))
	f("1_000", NewInt(1000))
	f("-17", NewInt(-17))
	f("0xff", NewInt(255))
	f("0o17", NewInt(15))
	f("0b101", NewInt(5))
	f("1_0.5e2", NewFloat(1050))
	f("-inf", NewFloat(math.Inf(-1)))
	f("false", NewBool(false))
	f("1979-05-27 07:32:00z", &Value{Kind: KindTime, Str: "1979-05-27T07:32:00Z"})
	f("1979-05-27", &Value{Kind: KindTime, Str: "1979-05-27"})
	f("[]", NewList())
	if v := parse(t, "v = -nan").Get("v"); v.Kind != KindFloat || !v.Equal(v) {
		t.Errorf("-nan is %+v", v)
	}
}

func TestParseErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		table, problems := Parse("a.toml", []byte(text))
		if table == nil || len(problems) != 1 || problems[0].Error() != want {
			t.Errorf("%.60q:\n%v, want\n%s", text, problems, want)
		}
	}
	f("a = 1\nb = \n", `a.toml:2:5: not valid TOML: unexpected character U+000A at start of value`)
	f("a = 1\n\na = 2", `a.toml:3:1: not valid TOML: key a is already defined`)
	f("[a]\n[a]", `a.toml:2:2: not valid TOML: table a already exists`)
	f("a = [1", `a.toml:1:6: not valid TOML: array is incomplete`)
	f("é = 1", `a.toml:1:1: not valid TOML: invalid character at start of key: U+00C3 'Ã'`)
	f("i = 99999999999999999999", `a.toml:1:5: not valid TOML: decimal number is too large to fit in a 64-bit signed integer`)
	f("a = "+strings.Repeat("[", 100)+strings.Repeat("]", 100), `a.toml:1:1: values are nested more than 64 deep`)
	f(strings.Repeat("a.", 1000)+"a = 1", `a.toml:1:1: values are nested more than 64 deep`)
	f("["+strings.Repeat("a.", 1000)+"a]", `a.toml:1:1: tables are nested more than 64 deep`)
	f(strings.Repeat(" ", maxText+1), "a.toml: the file is larger than 16 MiB")

	table, _ := Parse("a.toml", []byte("a = 1\nb = \nc = 3"))
	if len(table.Keys()) != 1 || table.Get("a").Int != 1 {
		t.Errorf("before the error: %v", table.Keys())
	}
}

func TestTable(t *testing.T) {
	table := NewTable("x")
	table.Set("a", NewInt(1))
	table.Set("b", NewInt(2))
	table.Set("c", NewInt(3))
	table.Set("a", NewInt(4))
	if v := table.Take("b"); v.Int != 2 || table.Get("b") != nil {
		t.Errorf("Take gives %+v", v)
	}
	table.Delete("nothing")
	if s := strings.Join(table.Keys(), " "); s != "a c" || table.Len() != 2 || table.Get("a").Int != 4 {
		t.Errorf("keys are %s", s)
	}
	clone := table.Clone()
	clone.Get("a").Int = 5
	if table.Equal(clone) || table.Get("a").Int != 4 {
		t.Error("a clone shares values")
	}
	var none *Table
	if none.Len() != 0 || none.Get("a") != nil || none.Keys() != nil || !none.Equal(NewTable("")) || none.Clone() != nil {
		t.Error("a nil table is not an empty one")
	}
}

func TestEqual(t *testing.T) {
	a := "x = 1\nl = [1, {a = 1.5}]\n[t]\ns = 'x'\nn = nan\n"
	b := "# other places, other order\nl = [1,\n{a = 1.5}]\nx = 1\nt.n = nan\nt.s = \"x\"\n"
	if !parse(t, a).Equal(parse(t, b)) {
		t.Error("the same configuration is not equal")
	}
	for _, change := range [][2]string{{"1.5", "1.6"}, {"x = 1", "x = 2"}, {"x = 1", "y = 1"}, {"'x'", "true"}, {"[1, ", "[1, 1, "}} {
		if parse(t, a).Equal(parse(t, strings.Replace(a, change[0], change[1], 1))) {
			t.Errorf("%q for %q is equal", change[1], change[0])
		}
	}
}
