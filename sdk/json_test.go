package sdk

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func fullSample() Sample {
	return Sample{
		ID: "5f1f0d1e-8a3c-8b1e-9a3c-000000000001", Name: "disk.device.read.bytes", Type: Cumulative, Unit: "B", Volume: 123456789,
		ResourceID: "vm-1-vda", ProjectID: "p", UserID: "u", Source: "openstack",
		Timestamp: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		Metadata: Metadata{
			"vcpus": int64(2), "display_name": "web <1> & \"x\"", "flavor": map[string]any{"name": "m1", "ram": int64(512)},
			"active": true, "host": nil, "ratio": 0.5, "tags": []any{"a", int64(1)},
		},
	}
}

func TestSampleJSON(t *testing.T) {
	f := func(s Sample, want string) {
		t.Helper()
		if got := string(s.AppendJSON([]byte("x"))); got != "x"+want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		var back Sample
		if err := json.Unmarshal([]byte(want), &back); err != nil {
			t.Errorf("cannot read %s: %v", want, err)
			return
		}
		if again := string(back.AppendJSON(nil)); again != want {
			t.Errorf("came back as %s\nwas %s", again, want)
		}
	}
	f(fullSample(), `{"name":"disk.device.read.bytes","type":"cumulative","unit":"B","volume":123456789,"resource_id":"vm-1-vda",`+
		`"project_id":"p","user_id":"u","source":"openstack","timestamp":"2026-01-02T03:04:05.000000006Z","resource_metadata":{`+
		`"active":true,"display_name":"web <1> & \"x\"","flavor":{"name":"m1","ram":512},"host":null,"ratio":0.5,"tags":["a",1],"vcpus":2},`+
		`"id":"5f1f0d1e-8a3c-8b1e-9a3c-000000000001"}`)
	f(Sample{Name: "a"}, `{"name":"a","type":"gauge","volume":0}`)
	f(Sample{Name: "a", Volume: 0.1}, `{"name":"a","type":"gauge","volume":0.1}`)
	f(Sample{Name: "a", Volume: -1e300}, `{"name":"a","type":"gauge","volume":-1e+300}`)
	f(Sample{Name: "a", Volume: 1 << 60}, `{"name":"a","type":"gauge","volume":1152921504606847000}`)
	f(Sample{Name: "a", Volume: math.Copysign(0, -1)}, `{"name":"a","type":"gauge","volume":-0}`)
	f(Sample{Name: "a", Volume: math.NaN()}, `{"name":"a","type":"gauge","volume":"NaN"}`)
	f(Sample{Name: "a", Volume: math.Inf(1)}, `{"name":"a","type":"gauge","volume":"+Inf"}`)
	f(Sample{Name: "a", Type: Delta, Volume: math.Inf(-1)}, `{"name":"a","type":"delta","volume":"-Inf"}`)
	f(Sample{Name: "a", Timestamp: time.Date(2026, 1, 2, 5, 4, 5, 0, time.FixedZone("", 7200))},
		`{"name":"a","type":"gauge","volume":0,"timestamp":"2026-01-02T03:04:05Z"}`)
	f(Sample{Name: "a\n\t\r\\\x01\u2028é", Metadata: Metadata{"nan": math.NaN(), "": ""}},
		"{\"name\":\"a\\n\\t\\r\\\\\\u0001\\u2028é\",\"type\":\"gauge\",\"volume\":0,\"resource_metadata\":{\"\":\"\",\"nan\":\"NaN\"}}")
}

func TestSampleJSONRoundTrip(t *testing.T) {
	want := fullSample()
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Sample
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

// The encoder written by hand must agree with encoding/json on everything that
// both can write.
func TestStringsAndNumbersAsTheLibraryWritesThem(t *testing.T) {
	plain := func(v any) string {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(b.String())
	}
	for _, s := range []string{"", "plain", "a\"b\\c/d", "\n\r\t", "é\u2028\u2029x", "\xff\xfe", "😀", "<&>", "\x1f\x7f"} {
		if got := string(appendString(nil, s)); got != plain(s) {
			t.Errorf("%q: got %s, want %s", s, got, plain(s))
		}
	}
	for _, n := range []float64{0, 1, -1, 1.5, 1e20, 1e21, 1e-6, 1e-7, 1 << 53, 1<<53 + 2, math.MaxFloat64, math.SmallestNonzeroFloat64} {
		var got, want float64
		json.Unmarshal(appendFloat(nil, n), &got)
		json.Unmarshal([]byte(plain(n)), &want)
		if got != want {
			t.Errorf("%v: got %s, want %s", n, appendFloat(nil, n), plain(n))
		}
	}
	odd := map[string]any{"u": uint8(7), "l": []string{"<"}, "f": func() {}, "m": Metadata{"a": 1}, "i": 3}
	if got := string(appendObject(nil, odd)); !strings.HasPrefix(got, `{"f":"0x`) || !strings.HasSuffix(got, `,"i":3,"l":["<"],"m":{"a":1},"u":7}`) {
		t.Errorf("metadata of unusual types is written as %s", got)
	}
}

func TestSampleJSONErrors(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		s := Sample{Name: "untouched"}
		err := s.UnmarshalJSON([]byte(in))
		if err == nil || err.Error() != "sample: "+want {
			t.Errorf("%s: got error %v, want %s", in, err, want)
		}
		if s.Name != "untouched" {
			t.Errorf("%s: the sample was changed", in)
		}
	}
	f(`{"volume":1}`, `field "name": is missing`)
	f(`{"name":"","volume":1}`, `field "name": is empty`)
	f(`{"name":3,"volume":1}`, `field "name": expected a string, not 3`)
	f(`{"name":"a"}`, `field "volume": is missing`)
	f(`{"name":"a","volume":null}`, `field "volume": is missing`)
	f(`{"name":"a","volume":"12"}`, `field "volume": expected a number, "NaN", "+Inf" or "-Inf", not "12"`)
	f(`{"name":"a","volume":1e999}`, `field "volume": 1e999 is out of range`)
	f(`{"name":"a","volume":1,"type":"counter"}`, `field "type": meter type "counter" is none of gauge, delta, cumulative`)
	f(`{"name":"a","volume":1,"resource":"x"}`, `field "resource": is unknown`)
	f(`{"name":"a","volume":1,"Unit":"x"}`, `field "Unit": is unknown`)
	f(`{"name":"a","volume":1,"timestamp":"yesterday"}`, `field "timestamp": expected an RFC 3339 time such as "2026-01-02T03:04:05.678Z", not "yesterday"`)
	f(`{"name":"a","volume":1,"timestamp":"1066-10-14T00:00:00Z"}`, `field "timestamp": 1066-10-14T00:00:00Z is not within the years 1678 to 2261`)
	f(`{"name":"a","volume":1,"resource_metadata":[`+strings.Repeat("1,", 50)+`1]}`, `field "resource_metadata": expected an object, not [`+strings.Repeat("1,", 29)+`1...`)
	f(`[]`, `expected an object, not []`)
	f(`null`, `expected an object, not null`)
	f(`{`, `unexpected end of JSON input`)
}

func fullEvent() Event {
	return Event{
		MessageID: "m1", EventType: "compute.instance.create.end", Generated: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Traits: []Trait{
			{"state", Text, "active"}, {"memory", Integer, int64(1) << 60}, {"load", Float, 0.5}, {"nan", Float, math.Inf(1)},
			{"launched", Datetime, time.Date(2026, 1, 2, 3, 0, 0, 7, time.UTC)},
		},
		Raw: []byte(`{"a":[1,2],"b":"<"}`),
	}
}

func TestEventJSON(t *testing.T) {
	want := fullEvent()
	text := string(want.AppendJSON(nil))
	if expect := `{"message_id":"m1","event_type":"compute.instance.create.end","generated":"2026-01-02T03:04:05Z","traits":[` +
		`{"name":"state","type":"text","value":"active"},{"name":"memory","type":"integer","value":1152921504606846976},` +
		`{"name":"load","type":"float","value":0.5},{"name":"nan","type":"float","value":"+Inf"},` +
		`{"name":"launched","type":"datetime","value":"2026-01-02T03:00:00.000000007Z"}],"raw":{"a":[1,2],"b":"<"}}`; text != expect {
		t.Errorf("got  %s\nwant %s", text, expect)
	}
	var got Event
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}

	odd := Event{EventType: "x", Traits: []Trait{{"n", Integer, "many"}}, Raw: []byte("not\nJSON")}
	if got := string(odd.AppendJSON(nil)); got != `{"event_type":"x","traits":[{"name":"n","type":"text","value":"many"}],"raw":"not\nJSON"}` {
		t.Errorf("an event with mistakes is written as %s", got)
	}
	if got := string(Event{EventType: "x", Raw: []byte("{\n \"a\": 1 }\n")}.AppendJSON(nil)); got != `{"event_type":"x","raw":{"a":1}}` {
		t.Errorf("raw JSON over several lines is written as %s", got)
	}
}

func TestEventJSONErrors(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		var e Event
		if err := e.UnmarshalJSON([]byte(in)); err == nil || err.Error() != "event: "+want {
			t.Errorf("%s: got error %v, want %s", in, err, want)
		}
	}
	f(`{"message_id":"m"}`, `field "event_type": is missing`)
	f(`{"event_type":"e","generated":5}`, `field "generated": expected a string, not 5`)
	f(`{"event_type":"e","traits":{}}`, `field "traits": expected a list, not {}`)
	f(`{"event_type":"e","traits":[{"name":"a","value":"x"},{"name":"b","type":"int","value":1}]}`,
		`field "traits": entry 1: field "type": trait type "int" is none of text, integer, float, datetime`)
	f(`{"event_type":"e","traits":[{"name":"b","type":"integer","value":1.5}]}`,
		`field "traits": entry 0: field "value": expected a whole number of 64 bits, not 1.5`)
	f(`{"event_type":"e","traits":[{"name":"b"}]}`, `field "traits": entry 0: field "value": is missing`)
	f(`{"event_type":"e","payload":{}}`, `field "payload": is unknown`)
}

// What is read is written in a form that reads as the same again.
func FuzzSampleJSON(f *testing.F) {
	f.Add(fullSample().AppendJSON(nil))
	f.Add([]byte(`{"name":"a","volume":"NaN","timestamp":"2026-01-02T03:04:05+02:00","resource_metadata":{"a":{"b":[1,2.5,1e999]}}}`))
	f.Add([]byte(`{"name":"a","volume":-0,"unit":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second Sample
		if first.UnmarshalJSON(data) != nil {
			return
		}
		once := first.AppendJSON(nil)
		if err := json.Unmarshal(once, &second); err != nil {
			t.Fatalf("%s was read but its form %s is not: %v", data, once, err)
		}
		if twice := second.AppendJSON(nil); !bytes.Equal(once, twice) || bytes.ContainsAny(once, "\n\r") {
			t.Fatalf("first %s\nthen  %s", once, twice)
		}
	})
}

func FuzzEventJSON(f *testing.F) {
	f.Add(fullEvent().AppendJSON(nil))
	f.Add([]byte(`{"event_type":"e","raw":"text","traits":[{"name":"d","type":"datetime","value":"0001-01-01T00:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second Event
		if first.UnmarshalJSON(data) != nil {
			return
		}
		once := first.AppendJSON(nil)
		if err := json.Unmarshal(once, &second); err != nil {
			t.Fatalf("%s was read but its form %s is not: %v", data, once, err)
		}
		if twice := second.AppendJSON(nil); !bytes.Equal(once, twice) || bytes.ContainsAny(once, "\n\r") {
			t.Fatalf("first %s\nthen  %s", once, twice)
		}
	})
}

func BenchmarkSampleAppendJSON(b *testing.B) {
	s := fullSample()
	var to []byte
	b.ReportAllocs()
	for b.Loop() {
		to = s.AppendJSON(to[:0])
	}
	b.SetBytes(int64(len(to)))
}

func BenchmarkSampleUnmarshalJSON(b *testing.B) {
	data := fullSample().AppendJSON(nil)
	b.ReportAllocs()
	for b.Loop() {
		var s Sample
		if err := s.UnmarshalJSON(data); err != nil {
			b.Fatal(err)
		}
	}
}
