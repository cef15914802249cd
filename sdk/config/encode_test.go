package config

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func TestFromStruct(t *testing.T) {
	one := 1
	raw := NewTable("")
	raw.Set("free", NewBool(true))
	from := options{
		credentials: credentials{User: "u", Password: "p"},
		Interval:    time.Minute, Limit: 64 << 20, Mode: "fast", Modes: []string{"slow"}, Ratio: 0.5, Ports: []int{1},
		Tags: map[string]string{"b": "2", "a": "1"}, Server: server{"s", 80}, Main: &server{"m", 81},
		Servers: []server{{"x", 82}}, ByName: map[string]server{"y": {"z", 83}}, Maybe: &one, Raw: raw,
		Any: []any{int64(1), "x"}, Address: netip.MustParseAddr("::1"), Since: time.Unix(0, 0).UTC(), Offset: -time.Second,
	}
	table := FromStruct(&from)
	if v := table.Get("password"); !v.Secret || table.Get("interval").Str != "1m" || table.Get("limit").Str != "64MiB" {
		t.Errorf("table:\n%s", table.Text())
	}
	var to options
	if problems := table.Decode(&to); len(problems) > 0 {
		t.Fatal(problems)
	}
	to.Raw.Path = ""
	if !reflect.DeepEqual(from, to) {
		t.Errorf("came back as\n%+v\nwas\n%+v", to, from)
	}
	if empty := FromStruct(struct {
		L []string       `toml:"l"`
		M map[string]int `toml:"m"`
		P *netip.Addr    `toml:"p"`
		T *Table         `toml:"t"`
		A any            `toml:"a"`
	}{}); empty.Len() != 0 {
		t.Errorf("nil values are %s", empty.Text())
	}
}
