package protocol

import (
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/wire"
)

// Values arrive as the operator wrote them, with where.
func TestTableCrossesTheWire(t *testing.T) {
	table, problems := config.Parse("nepho.toml", []byte(`
text    = "a"
integer = -3
float   = 1.5
boolean = true
date    = 2026-01-02T03:04:05Z
list    = [1, "two", [3.0], { four = 4 }]
[table]
inner   = "x"
[table.deeper]
inner   = []
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	table.Get("text").Secret = true
	table.Get("float").Inserted = true
	table.Set("unexpanded", new(config.Value))
	data, err := proto.Marshal(EncodeTable(table))
	if err != nil {
		t.Fatal(err)
	}
	w := new(wire.Table)
	if err := proto.Unmarshal(data, w); err != nil {
		t.Fatal(err)
	}
	got := DecodeTable(w)
	if !got.Equal(table) || !reflect.DeepEqual(got.Keys(), table.Keys()) {
		t.Errorf("got  %v\nwant %v", got.Any(), table.Any())
	}
	for _, key := range table.Keys() {
		g, w := got.Get(key), table.Get(key)
		if g.Pos != w.Pos || g.Secret != w.Secret || g.Inserted != w.Inserted || g.Kind != w.Kind {
			t.Errorf("%s: %v at %v, secret %v, inserted %v", key, g.Kind, g.Pos, g.Secret, g.Inserted)
		}
	}
	if got.Get("table").Table.Get("deeper").Table.Path != "table.deeper" {
		t.Error("tables have lost their paths")
	}
	if EncodeTable(nil) != nil || DecodeTable(nil).Len() != 0 {
		t.Error("no table is not an empty one")
	}
}

func TestProblemsCrossTheWire(t *testing.T) {
	want := []config.Problem{{Pos: config.Pos{File: "a", Line: 1, Column: 2}, Key: "k", Message: "m", Hint: "h"}, {Message: "n"}}
	if got := DecodeProblems(EncodeProblems(want)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

// A plugin's or a host's bytes never panic.
func FuzzDecodeTable(f *testing.F) {
	table, _ := config.Parse("f", []byte("a = 1\nb = [{c = \"d\"}]\n[e]\nf = 1.5\n"))
	data, err := proto.Marshal(EncodeTable(table))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{})
	f.Add([]byte("\x0a\x00\x0a\x02\x12\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		w := new(wire.Table)
		if proto.Unmarshal(data, w) != nil {
			return
		}
		table := DecodeTable(w)
		if again := DecodeTable(EncodeTable(table)); !again.Equal(table) {
			t.Fatalf("got %v, want %v", again.Any(), table.Any())
		}
	})
}
