package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nephoscope/nepho/sdk"
)

// FuzzDecode checks that nothing makes decoding fail in another way than by an
// error, and that what it lets through can be built, sent and read again.
func FuzzDecode(f *testing.F) {
	b := build(f, exampleSamples(), exampleEvents())
	batch := EncodeBatch(encode(f, b), "", false)
	form := Telemetry{MaxItems: 100, MaxBytes: 1 << 20, Secret: "secret"}
	f.Add(BatchType, "", batch.Body)
	f.Add("", "", form.Samples(b, []int{0, 1})[0].Body)
	events, _, _ := form.Events(b, []int{0, 1})
	f.Add(JSONType, "utf-8", events[0].Body)
	f.Add(JSONType, "", []byte("["+polled+"]"))
	f.Add(JSONType, "gzip", []byte{0x1f, 0x8b})
	f.Add("", "", []byte(`[{"counter_volume":Infinity,"counter_name":"\ud800"}]`))
	f.Fuzz(func(t *testing.T, contentType, encoding string, body []byte) {
		m := Message{ContentType: contentType, ContentEncoding: encoding, Body: body}
		NewDecoder("secret", "other").Decode(m)
		c, err := NewDecoder().Decode(m)
		if err != nil {
			return
		}
		for _, r := range c.Refused {
			if r.Err == nil || !json.Valid(r.Data) {
				t.Fatalf("refused %v with %q", r.Err, r.Data)
			}
		}
		if c.Batch != nil {
			for range c.Batch.Samples() {
			}
			for e := range c.Batch.Events() {
				c.Batch.Event(e)
			}
			return
		}
		batches, err := sdk.Build("fuzz", func(out *sdk.Builder) error {
			c.AddTo(out)
			return nil
		})
		if err != nil {
			t.Fatalf("a decoded sample can't be built: %v", err)
		}
		had, n := 0, 0
		for _, b := range batches {
			had += b.Len() + b.Events()
			messages := form.Samples(b, rows(b.Len()))
			more, bad, err := form.Events(b, rows(b.Events()))
			if err != nil || len(bad) > 0 {
				t.Fatalf("a decoded event can't be encoded: %v", err)
			}
			for _, m := range append(messages, more...) {
				c, err := NewDecoder("secret").Decode(m)
				if err != nil {
					t.Fatalf("cannot decode again: %v\n%s", err, m.Body)
				}
				for _, r := range c.Refused {
					t.Fatalf("refused again: %v\n%s", r.Err, r.Data)
				}
				n += len(c.Samples) + len(c.Events)
			}
		}
		if n != had {
			t.Fatalf("%d samples and events became %d", had, n)
		}
	})
}

func FuzzTime(f *testing.F) {
	f.Add("2026-03-04T05:06:07.123456+01:00")
	f.Add("2026-03-04 05:06:07")
	f.Fuzz(func(t *testing.T, s string) {
		at, err := parseISO(s)
		if err != nil {
			return
		}
		if again, err := parseISO(string(appendISO(nil, at))); holds(at) && (err != nil || !again.Equal(at)) {
			t.Fatalf("%q is %v, then %v, %v", s, at, again, err)
		}
	})
}

// FuzzJSON compares with the standard library's reader, which is as strict but
// for numbers that are none, and for limits.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,-0.5e+3,true,false,null,"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud800x"],"":{}}`))
	f.Add([]byte("[\"é\xff\", 01, 1., NaN, -Infinity]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseJSON(data)
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var want any
		if valid := json.Valid(data); valid != (err == nil) {
			if bytes.ContainsAny(data, "NI") || !utf8.Valid(data) || strings.Contains(fmt.Sprint(err), "nested deeper") {
				return
			}
			t.Fatalf("%q: got %v, %v", data, got, err)
		}
		if err != nil {
			return
		}
		if d.Decode(&want); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %#v, want %#v", data, got, want)
		}
	})
}

// FuzzString checks that texts come back.
func FuzzString(f *testing.F) {
	f.Add("\"\\\n\x00é\xff\U0001F600")
	f.Fuzz(func(t *testing.T, s string) {
		want := string([]rune(s)) // with U+FFFD for every byte that is not UTF-8
		if got, err := parseJSON(appendString(nil, s)); err != nil || got != want {
			t.Fatalf("%q became %q, %v, want %q", s, got, err, want)
		}
	})
}

func benchmarkBatch(b *testing.B) *sdk.Batch {
	var samples []sdk.Sample
	for i := range 1000 {
		samples = append(samples, sdk.Sample{
			Name: []string{"cpu", "memory.usage", "disk.read.bytes", "network.in.bytes"}[i%4], Type: sdk.Cumulative, Unit: "ns", Volume: float64(i) * 1e9,
			ResourceID: "instance-" + time.Duration(i/4).String(), ProjectID: "1f3b5d7f9a1b3c5d7e9f1a3b5c7d9e1f", UserID: "0a2c4e6a8c0e2a4c6e8a0c2e4a6c8e0a",
			Source: "openstack", Timestamp: at, Monotonic: time.Hour,
			Metadata: sdk.Metadata{
				"display_name": "vm", "name": "instance-00000001", "host": "compute-1", "instance_id": time.Duration(i / 4).String(), "status": "active", "vcpus": 2, "memory_mb": 2048,
				"disk_gb": 20, "flavor": map[string]any{"id": "1", "name": "m1.small", "vcpus": 2, "ram": 2048, "disk": 20, "ephemeral": 0, "swap": 0},
				"image": map[string]any{"id": "a-b-c"}, "instance_host": "compute-1", "instance_type": "m1.small", "state": "running", "architecture": "x86_64", "os_type": "hvm",
			},
		})
	}
	return build(b, samples, nil)
}

func BenchmarkForms(b *testing.B) {
	batch := benchmarkBatch(b)
	form := Telemetry{MaxItems: 100, MaxBytes: 1 << 20, Secret: "secret"}
	ours := EncodeBatch(encode(b, batch), "secret", false)
	theirs := form.Samples(batch, rows(batch.Len()))
	run := func(name string, work func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				work()
			}
			b.ReportMetric(float64(batch.Len()*b.N)/b.Elapsed().Seconds(), "samples/s")
		})
	}
	build := func(c *Content, err error) {
		if err != nil || len(c.Refused) > 0 {
			b.Fatal(err, c)
		}
		sdk.Build("bench", func(out *sdk.Builder) error { c.AddTo(out); return nil })
	}
	run("batch/encode", func() { EncodeBatch(encode(b, batch), "secret", false) })
	run("batch/encode-gzip", func() { EncodeBatch(encode(b, batch), "secret", true) })
	run("batch/decode", func() { build(NewDecoder("secret").Decode(ours)) })
	run("telemetry/encode", func() { form.Samples(batch, rows(batch.Len())) })
	run("telemetry/decode", func() {
		for _, m := range theirs {
			build(NewDecoder("secret").Decode(m))
		}
	})
}
