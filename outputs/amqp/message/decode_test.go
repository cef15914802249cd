package message

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

const polled = `{"counter_name":"cpu","counter_type":"cumulative","counter_unit":"ns","counter_volume":7,"resource_id":"vm-1",` +
	`"project_id":null,"user_id":null,"source":"openstack","timestamp":"2026-03-04 05:06:07.5","message_id":"m1",` +
	`"monotonic_time":null,"resource_metadata":{"name":"a"},"message_signature":""}`

func envelope(inner string) string {
	outer, _ := json.Marshal(map[string]string{"oslo.version": "2.0", "oslo.message": inner})
	return string(outer)
}

func TestDecodeTelemetryShapes(t *testing.T) {
	f := func(body string) {
		t.Helper()
		for _, contentType := range []string{"", "application/json", "text/plain"} {
			c, err := NewDecoder().Decode(Message{ContentType: contentType, ContentEncoding: "utf-8", Body: []byte(body)})
			if err != nil {
				t.Errorf("%s: %v", body, err)
				continue
			}
			expectContent(t, body, c, []sdk.Sample{{
				ID: "m1", Name: "cpu", Type: sdk.Cumulative, Unit: "ns", Volume: 7, ResourceID: "vm-1", Source: "openstack",
				Timestamp: time.Date(2026, 3, 4, 5, 6, 7, 500e6, time.UTC), Metadata: sdk.Metadata{"name": "a"},
			}}, nil)
		}
	}
	f(envelope(`{"event_type":"telemetry.polling","_context_x":1,"payload":{"samples":[` + polled + `]}}`))
	f(envelope(`{"event_type":"metering","payload":[` + polled + `]}`))
	f(`{"event_type":"telemetry.polling","payload": {"samples":[` + polled + `]},"priority":"SAMPLE"}`)
	f(` [` + polled + "]\n")
}

func TestDecodeSampleFields(t *testing.T) {
	decode := func(changes string) *Content {
		t.Helper()
		// The last of two equal keys counts.
		body := []byte("[" + strings.TrimSuffix(polled, "}") + "," + strings.TrimPrefix(changes, "{") + "]")
		c, err := NewDecoder().Decode(Message{Body: body})
		if err != nil {
			t.Fatalf("%s: %v", changes, err)
		}
		return c
	}
	good := func(changes string, check func(s sdk.Sample) bool) {
		t.Helper()
		c := decode(changes)
		if len(c.Samples) != 1 || !check(c.Samples[0]) {
			t.Errorf("%s: got %+v", changes, c)
		}
	}
	good(`{"counter_volume":" 1.5 "}`, func(s sdk.Sample) bool { return s.Volume == 1.5 })
	good(`{"counter_volume":-Infinity}`, func(s sdk.Sample) bool { return math.IsInf(s.Volume, -1) })
	good(`{"timestamp":"2026-03-04T06:06:07+01:00"}`, func(s sdk.Sample) bool { return s.Timestamp.Equal(at.Truncate(time.Second)) })
	good(`{"timestamp":"2026-03-04T05:06:07Z"}`, func(s sdk.Sample) bool { return s.Timestamp.Equal(at.Truncate(time.Second)) })
	good(`{"monotonic_time":12.25}`, func(s sdk.Sample) bool { return s.Monotonic == 12250*time.Millisecond })
	good(`{"project_name":"demo","user_name":null}`, func(s sdk.Sample) bool { return s.Metadata["project_name"] == "demo" && len(s.Metadata) == 2 })
	good(`{"resource_metadata":null,"user_name":"anna"}`, func(s sdk.Sample) bool { return s.Metadata["user_name"] == "anna" })
	good(`{"resource_metadata":{"big":12345678901234567890,"n":[1,2.5,{"x":3}]}}`, func(s sdk.Sample) bool {
		list, _ := s.Metadata["n"].([]any)
		return s.Metadata["big"] == 12345678901234567890.0 && len(list) == 3 && list[0] == int64(1) && list[1] == 2.5
	})
	good(`{"resource_id":42}`, func(s sdk.Sample) bool { return s.ResourceID == "42" })

	bad := func(changes string) {
		t.Helper()
		c := decode(changes)
		if len(c.Samples) != 0 || len(c.Refused) != 1 || !errors.Is(c.Refused[0].Err, ErrInvalid) || !json.Valid(c.Refused[0].Data) {
			t.Errorf("%s: got %+v", changes, c)
		}
	}
	bad(`{"counter_volume":null}`)
	bad(`{"counter_volume":NaN}`)
	bad(`{"counter_volume":"many"}`)
	bad(`{"counter_volume":true}`)
	bad(`{"counter_name":""}`)
	bad(`{"counter_type":"rate"}`)
	bad(`{"resource_id":null}`)
	bad(`{"timestamp":"yesterday"}`)
	bad(`{"timestamp":"9999-12-31T00:00:00"}`)
	bad(`{"timestamp":null}`)
	bad(`{"resource_metadata":[]}`)
	bad(`{"resource_metadata":{"a":"` + strings.Repeat("x", sdk.MaxStringBytes+1) + `"}}`)
	bad(`{"resource_metadata":{"a":["` + strings.Repeat("\\u0001", sdk.MaxStringBytes/2) + `"]}}`)
}

func TestDecodeEventTraits(t *testing.T) {
	c, err := NewDecoder().Decode(Message{Body: []byte(`[{"event_type":"x","message_id":"m","generated":"2026-03-04T05:06:07","traits":[
		["none",0,5],["text",1,true],["int",2,"7"],["whole",2,7.0],["noint",2,1.5],["float",3,"2.5"],["time",4,"2026-03-04T05:06:07"],["notime",4,"x"],["null",1,null]]}]`)})
	if err != nil {
		t.Fatal(err)
	}
	expectContent(t, "traits", c, nil, []sdk.Event{{MessageID: "m", EventType: "x", Generated: at.Truncate(time.Second), Traits: []sdk.Trait{
		{Name: "none", Type: sdk.Text, Value: "5"}, {Name: "text", Type: sdk.Text, Value: "True"},
		{Name: "int", Type: sdk.Integer, Value: int64(7)}, {Name: "whole", Type: sdk.Integer, Value: int64(7)}, {Name: "noint", Type: sdk.Text, Value: "1.5"},
		{Name: "float", Type: sdk.Float, Value: 2.5}, {Name: "time", Type: sdk.Datetime, Value: at.Truncate(time.Second)}, {Name: "notime", Type: sdk.Text, Value: "x"},
	}}})
}

func TestDecodeRefusesMessages(t *testing.T) {
	f := func(name string, want error, m Message) {
		t.Helper()
		if c, err := NewDecoder().Decode(m); !errors.Is(err, want) {
			t.Errorf("%s: got %+v, %v, want %v", name, c, err, want)
		}
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, MaxBytes+1))
	z.Close()
	f("empty", ErrForm, Message{})
	f("empty JSON", ErrForm, Message{ContentType: JSONType})
	f("garbage", ErrForm, Message{Body: []byte("hello")})
	f("garbage as batch", ErrForm, Message{ContentType: BatchType, Body: []byte("hello")})
	f("garbage as JSON", ErrForm, Message{ContentType: JSONType, Body: []byte("hello")})
	f("cut JSON", ErrForm, Message{Body: []byte(`[{"a":`)})
	f("cut inner JSON", ErrForm, Message{Body: []byte(envelope(`{"payload":`))})
	f("no payload", ErrForm, Message{Body: []byte(`{}`)})
	f("another notification", ErrForm, Message{Body: []byte(envelope(`{"event_type":"compute.instance.update","payload":{"state":"active"}}`))})
	f("two values", ErrForm, Message{Body: []byte(`{"payload":[]} {}`)})
	f("deep", ErrForm, Message{Body: []byte(strings.Repeat("[", MaxDepth+1))})
	f("unknown encoding", ErrForm, Message{ContentEncoding: "br", Body: []byte(`[]`)})
	f("no gzip", ErrForm, Message{ContentEncoding: "gzip", Body: []byte(`[]`)})
	f("bomb", ErrForm, Message{ContentType: JSONType, ContentEncoding: "gzip", Body: bomb.Bytes()})
	f("batch bomb", ErrForm, Message{ContentType: BatchType, ContentEncoding: "gzip", Body: bomb.Bytes()})
	f("too large", ErrForm, Message{Body: make([]byte, MaxBytes+1)})
}

func TestDecodeRefusesParts(t *testing.T) {
	c, err := NewDecoder().Decode(Message{Body: []byte(`[1,{"x":1},` + polled + `,{"event_type":"x"},{"event_type":"x","generated":"2026-03-04T05:06:07","traits":[[1]]}]`)})
	if err != nil || len(c.Samples) != 1 || len(c.Refused) != 4 {
		t.Fatalf("got %+v, %v", c, err)
	}
}

func TestDecodeVerifies(t *testing.T) {
	samples := exampleSamples()
	b := build(t, samples, nil)
	signed, unsigned := EncodeBatch(encode(t, b), "secret", false), EncodeBatch(encode(t, b), "", false)
	f := func(name string, m Message, want error, secrets ...string) {
		t.Helper()
		if _, err := NewDecoder(secrets...).Decode(m); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	f("signed", signed, nil, "secret")
	f("signed with the old secret", signed, nil, "new", "secret")
	f("signed, not asked for", signed, nil)
	f("signed with another", signed, ErrSignature, "other")
	f("unsigned", unsigned, ErrSignature, "secret")
	changed := signed
	changed.Body = bytes.Clone(signed.Body)
	changed.Body[len(changed.Body)-1]++
	f("changed body", changed, ErrSignature, "secret")
	stamped := signed
	stamped.Headers = map[string]any{SignatureHeader: signed.Headers[SignatureHeader], TimestampHeader: "2026-03-04T05:06:07Z"}
	f("changed timestamp", stamped, ErrSignature, "secret")
	// A batch does not get by as telemetry, nor the other way round.
	disguised := signed
	disguised.ContentType = JSONType
	f("batch as JSON", disguised, ErrForm, "secret")

	telemetry := (&Telemetry{Secret: "secret", MaxItems: 100, MaxBytes: 1 << 20}).Samples(b, rows(b.Len()))[0]
	forged := telemetry
	forged.Body = bytes.Replace(telemetry.Body, []byte("temperature"), []byte("humidity"), 1)
	c, err := NewDecoder("secret").Decode(forged)
	if err != nil || len(c.Samples) != len(samples)-1 || len(c.Refused) != 1 || !errors.Is(c.Refused[0].Err, ErrSignature) {
		t.Errorf("forged sample: got %+v, %v", c, err)
	}
	c, err = NewDecoder("other").Decode(telemetry)
	if err != nil || len(c.Samples) != 0 || len(c.Refused) != len(samples) {
		t.Errorf("telemetry signed with another secret: got %+v, %v", c, err)
	}
}
