package message

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

var at = time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC)

func exampleSamples() []sdk.Sample {
	return []sdk.Sample{
		{
			ID: "5a1d8a1e-0000-4000-8000-000000000001", Name: "cpu", Type: sdk.Cumulative, Unit: "ns", Volume: 123456789012345,
			ResourceID: "vm-1", ProjectID: "p", UserID: "u", Source: "openstack", Timestamp: at, Monotonic: 12345678901234,
			Metadata: sdk.Metadata{
				"display_name": `it's "é" \ ` + "\n\x01\U0001F600", "vcpus": int64(2), "ratio": 1.5, "on": true, "none": nil, "empty": map[string]any{},
				"flavor": map[string]any{"name": "m1", "extra": map[string]any{"a": "b"}}, "list": []any{"x", 1.5, nil, map[string]any{"k": "v"}},
			},
		},
		{ID: "2", Name: "temperature", Type: sdk.Gauge, Unit: "C", Volume: -0.00001, ResourceID: "room", Timestamp: at.Truncate(time.Second)},
		{ID: "3", Name: "bytes", Type: sdk.Delta, Volume: 1e22, ResourceID: "ü", Timestamp: at.Truncate(time.Microsecond)},
		{ID: "4", Name: "zero", Type: sdk.Gauge, Volume: math.Copysign(0, -1), ResourceID: "r", Timestamp: at},
		{ID: "5", Name: "much", Type: sdk.Gauge, Volume: math.Inf(1), ResourceID: "r", Timestamp: at},
	}
}

func exampleEvents() []sdk.Event {
	return []sdk.Event{
		{
			MessageID: "e1", EventType: "compute.instance.create.end", Generated: at, Raw: []byte(`{"a":[1,1.50,null],"b":{}}`),
			Traits: []sdk.Trait{
				{Name: "service", Type: sdk.Text, Value: "it's"}, {Name: "memory_mb", Type: sdk.Integer, Value: int64(math.MaxInt64)},
				{Name: "load", Type: sdk.Float, Value: 2.0}, {Name: "launched_at", Type: sdk.Datetime, Value: at},
			},
		},
		{MessageID: "e2", EventType: "bare", Generated: at.Truncate(time.Second)},
	}
}

func build(t testing.TB, samples []sdk.Sample, events []sdk.Event) *sdk.Batch {
	t.Helper()
	return buildContent(t, &Content{Samples: samples, Events: events})
}

func buildContent(t testing.TB, c *Content) *sdk.Batch {
	t.Helper()
	if c.Batch != nil {
		return c.Batch
	}
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		c.AddTo(out)
		return nil
	})
	if err != nil || len(batches) != 1 {
		t.Fatalf("got %d batches, %v", len(batches), err)
	}
	return batches[0]
}

func encode(t testing.TB, b *sdk.Batch) []byte {
	t.Helper()
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// rows lists 0 to n-1.
func rows(n int) []int {
	var list []int
	for i := range n {
		list = append(list, i)
	}
	return list
}

func expectContent(t *testing.T, name string, got *Content, samples []sdk.Sample, events []sdk.Event) {
	t.Helper()
	if len(got.Refused) > 0 {
		t.Fatalf("%s: refused %v: %s", name, got.Refused[0].Err, got.Refused[0].Data)
	}
	// Comparing what two builders made leaves out how numbers were held before.
	g, w := buildContent(t, got), build(t, samples, events)
	if g.Len() != w.Len() || g.Events() != w.Events() {
		t.Fatalf("%s: got %d samples and %d events, want %d and %d", name, g.Len(), g.Events(), w.Len(), w.Events())
	}
	for i, want := range w.Samples() {
		if s := g.Sample(i); !reflect.DeepEqual(s, want) {
			t.Errorf("%s: sample %d:\n got %+v\nwant %+v", name, i, s, want)
		}
	}
	for e := range w.Events() {
		if got, want := g.Event(e), w.Event(e); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: event %d:\n got %+v\nwant %+v", name, e, got, want)
		}
	}
}

func TestBothFormsKeepEverything(t *testing.T) {
	samples, events := exampleSamples(), exampleEvents()
	for _, secret := range []string{"", "s3cret"} {
		decoder := NewDecoder("old", secret)
		if secret == "" {
			decoder = NewDecoder("")
		}
		for _, compress := range []bool{false, true} {
			m := EncodeBatch(encode(t, build(t, samples, events)), secret, compress)
			got, err := decoder.Decode(m)
			if err != nil {
				t.Fatal(err)
			}
			expectContent(t, fmt.Sprintf("batch, secret %q, compress %v", secret, compress), got, samples, events)
		}
		for _, size := range []Telemetry{{MaxItems: 100, MaxBytes: 1 << 20}, {MaxItems: 2, MaxBytes: 1 << 20}, {MaxItems: 100, MaxBytes: 1}} {
			size.Secret = secret
			b := build(t, samples, events)
			messages := size.Samples(b, rows(b.Len()))
			more, bad, err := size.Events(b, rows(b.Events()))
			if err != nil || len(bad) > 0 {
				t.Fatalf("got bad events %v, %v", bad, err)
			}
			var got Content
			for _, m := range append(messages, more...) {
				c, err := decoder.Decode(m)
				if err != nil {
					t.Fatalf("%v: %s", err, m.Body)
				}
				got.Samples, got.Events, got.Refused = append(got.Samples, c.Samples...), append(got.Events, c.Events...), append(got.Refused, c.Refused...)
			}
			expectContent(t, fmt.Sprintf("telemetry %+v", size), &got, samples, events)
			if want := map[int]int{100: 2, 2: 4}[size.MaxItems]; size.MaxBytes > 1 && len(messages)+len(more) != want {
				t.Errorf("%+v made %d messages, want %d", size, len(messages)+len(more), want)
			}
		}
	}
}

func TestTelemetryEnvelope(t *testing.T) {
	b := build(t, exampleSamples()[1:2], exampleEvents()[1:])
	form := Telemetry{Secret: "secret", PublisherID: "node-1", MaxItems: 10, MaxBytes: 1 << 20}
	open := func(m Message) map[string]any {
		t.Helper()
		var outer, inner map[string]any
		if err := json.Unmarshal(m.Body, &outer); err != nil || outer["oslo.version"] != "2.0" || len(outer) != 2 {
			t.Fatalf("got envelope %s, %v", m.Body, err)
		}
		if err := json.Unmarshal([]byte(outer["oslo.message"].(string)), &inner); err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{"message_id", "timestamp", "_unique_id"} {
			if inner[k] == "" {
				t.Errorf("no %s in %v", k, inner)
			}
			delete(inner, k)
		}
		return inner
	}
	expect := func(m Message, want map[string]any) {
		t.Helper()
		if got := open(m); !reflect.DeepEqual(got, want) {
			t.Errorf("\n got %v\nwant %v", got, want)
		}
	}
	dict := map[string]any{
		"counter_name": "temperature", "counter_type": "gauge", "counter_unit": "C", "counter_volume": -0.00001, "message_id": "2",
		"resource_id": "room", "project_id": nil, "user_id": nil, "source": nil, "monotonic_time": nil,
		"resource_metadata": map[string]any{}, "timestamp": "2026-03-04T05:06:07",
	}
	signed := maps.Clone(dict)
	signed[signatureKey] = Sign(dict, "secret")
	expect(form.Samples(b, []int{0})[0], map[string]any{
		"publisher_id": "node-1", "event_type": "telemetry.polling", "priority": "SAMPLE", "payload": map[string]any{"samples": []any{signed}},
	})
	event := map[string]any{
		"message_id": "e2", "event_type": "bare", "generated": "2026-03-04T05:06:07", "traits": []any{}, "raw": map[string]any{},
	}
	signed = maps.Clone(event)
	signed[signatureKey] = Sign(event, "secret")
	messages, _, _ := form.Events(b, []int{0})
	expect(messages[0], map[string]any{"publisher_id": "node-1", "event_type": "event", "priority": "SAMPLE", "payload": []any{signed}})
}

func TestEventsThatCannotBeEncoded(t *testing.T) {
	events := append(exampleEvents(), sdk.Event{MessageID: "e3", EventType: "x", Generated: at, Raw: []byte(`{"a":`)})
	b := build(t, nil, events)
	messages, bad, err := (&Telemetry{MaxItems: 10, MaxBytes: 1 << 20}).Events(b, []int{2, 1})
	if !reflect.DeepEqual(bad, []int{2}) || err == nil || len(messages) != 1 {
		t.Fatalf("got %d messages, bad %v, %v", len(messages), bad, err)
	}
	c, err := NewDecoder().Decode(messages[0])
	if err != nil {
		t.Fatal(err)
	}
	expectContent(t, "the other", c, nil, events[1:2])
}

func TestBatchKeepsDerivedIDs(t *testing.T) {
	samples := exampleSamples()
	for i := range samples {
		if i != 1 {
			samples[i].ID = ""
		}
	}
	b := build(t, samples, nil)
	for i := range samples {
		samples[i].ID = b.SampleID(i)
	}
	m := EncodeBatch(encode(t, b), "", false)
	c, err := NewDecoder().Decode(m)
	if err != nil {
		t.Fatal(err)
	}
	expectContent(t, "ids", c, samples, nil)
}
