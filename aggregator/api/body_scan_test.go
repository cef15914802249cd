package api

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/window"
)

// padded is a text with what the scanner needs behind it.
func padded(text string) []byte { return append([]byte(text), make([]byte, scanPadding)...) }

// same reports whether two bodies say the same, bit for bit.
func samePosted(a, b *posted) bool {
	return slices.Equal(a.ids, b.ids) && slices.Equal(a.resources, b.resources) && slices.Equal(a.named, b.named) &&
		slices.Equal(a.ends, b.ends) && slices.EqualFunc(a.points, b.points, func(x, y window.Point) bool {
		return x.Time == y.Time && math.Float64bits(x.Value) == math.Float64bits(y.Value)
	})
}

const (
	id1 = "2cfdc9ae-8e6a-4b1c-9d5e-0f2a7c1b3d4e"
	id2 = "A0000000-0000-0000-0000-00000000000f"
)

// usual are bodies that the scanner has to read itself.
var usual = map[bodyShape][]string{
	measureList: {
		`[]`,
		` [ ] `,
		`[{"timestamp":"2014-10-06T14:33:57","value":43.1}]`,
		`[{"timestamp": "2014-10-06T14:33:57", "value": 43.1}, {"timestamp": "2014-10-06T14:34:12", "value": 12}]`,
		"[\n  {\n\t\"value\" : -0.5e3 ,\r\n \"timestamp\" : \"2014-10-06 14:33:57.123456789Z\"\n}\n]\n",
		`[{"timestamp":"2014-10-06T00:00:00+00:00","value":0},{"timestamp":"2261-12-31T23:59:59.5","value":-0}]`,
		`[{"timestamp":1412605995,"value":2},{"timestamp":"1412605996.25","value":1.5},{"timestamp":0,"value":3}]`,
		`[{"timestamp":1412605995.123456789,"value":1e999}]`,
		`[{"timestamp":"2014-10-06T14:33:57","value":0.30000000000000004},{"timestamp":"2014-10-06T14:33:57","value":9007199254740993}]`,
		`[{"timestamp":"2014-10-06T14:33:57","value":123456789012345678901234567890.5},{"timestamp":"2014-10-07T14:33:57","value":4.9E-324}]`,
		`[{"timestamp":"2014-10-06T14:33:57","value":0.00000000000000000000001},{"timestamp":"2014-10-07T14:33:57","value":-1.7976931348623157e308}]`,
	},
	measuresByID: {
		`{}`,
		`{"` + id1 + `":[]}`,
		`{"` + id1 + `": [{"timestamp":"2014-10-06T14:33:57","value":43.1}], "` + id2 + `" :[{"timestamp":5,"value":1},{"timestamp":6,"value":2}]}`,
		`{"` + id1 + `":[{"timestamp":1,"value":1}],"` + id1 + `":[{"timestamp":1,"value":1}]}`,
	},
	measuresByName: {
		`{}`,
		`{"res":{}}`,
		`{"res":{"cpu":[{"timestamp":1,"value":1}],"mem":[]},"` + id1 + `":{"cpu":[{"timestamp":1,"value":1}]}}`,
		`{"res":{"cpu":{"measures":[{"timestamp":1,"value":1}]}}}`,
		`{"res":{"cpu":{"archive_policy_name":"low","unit":"%","measures":[]},"x":{"measures":[],"unit":"a","archive_policy_name":"b"}}}`,
	},
}

// unusual are bodies that only the general path reads, or refuses; want is part of
// its error.
var unusual = []struct {
	shape bodyShape
	text  string
	want  string
}{
	{measureList, ``, "Unable to decode body"},
	{measureList, `[`, "Unable to decode body"},
	{measureList, `[] x`, "Trailing data"},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":1},]`, "Unable to decode body"},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":01}]`, "Unable to decode body"},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":1.}]`, "Unable to decode body"},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":.5}]`, "Unable to decode body"},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":1e}]`, "Unable to decode body"},
	{measureList, `[{"timestamp":01,"value":1}]`, "Unable to decode body"},
	{measureList, `[{"timestamp":1.,"value":1}]`, "Unable to decode body"},
	{measureList, `{}`, "unexpected measures format"},
	{measureList, `null`, "unexpected measures format"},
	{measureList, `[1]`, "unexpected measures format"},
	{measureList, `[[1,2]]`, "unexpected measures format"},
	{measureList, `[{"value":1}]`, "unexpected measures format"},
	{measureList, `[{"timestamp":null,"value":1}]`, "unexpected measures format"},
	{measureList, `[{"timestamp":true,"value":1}]`, "unexpected measures format"},
	{measureList, `[{"timestamp":{"a":1},"value":1}]`, "unexpected measures format"},
	{measureList, `[{"timestamp":"foo","value":1}]`, "unexpected timestamp 'Unable to convert timestamps'"},
	{measureList, `[{"timestamp":"2014-10-06T14:33:60","value":1}]`, "unexpected timestamp 'Unable to convert timestamps'"},
	{measureList, `[{"timestamp":"2014-10-06T24:00:00","value":1}]`, "unexpected timestamp 'Unable to convert timestamps'"},
	{measureList, `[{"timestamp":"2014-02-30T00:00:00","value":1}]`, "unexpected timestamp 'Unable to convert timestamps'"},
	{measureList, `[{"timestamp":"2014-10-06T14:3a:00","value":1}]`, "unexpected timestamp 'Unable to convert timestamps'"},
	{measureList, `[{"timestamp":"2014-10-06T14:33;00","value":1}]`, "unexpected timestamp 'Unable to convert timestamps'"},
	{measureList, `[{"timestamp":"3000-01-01","value":1}]`, "unexpected timestamp 'Unable to convert timestamps'"},
	{measureList, `[{"timestamp":1e30,"value":1}]`, "unexpected timestamp 'Unable to convert timestamps'"},
	{measureList, `[{"timestamp":"nan","value":1}]`, "unexpected timestamp 'Unable to convert timestamps'"},
	{measureList, `[{"timestamp":"1960-10-06T14:33:57","value":1}]`, "unexpected timestamp 'Timestamp must be after Epoch'"},
	{measureList, `[{"timestamp":-5,"value":1}]`, "unexpected timestamp 'Timestamp must be after Epoch'"},
	{measureList, `[{"timestamp":1478012832,"value":1},{"timestamp":"-5 minutes","value":1}]`, "unexpected timestamp 'Unable to convert timestamps'"},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":1},{"timestamp":5,"value":1}]`, "unexpected timestamp 'Unable to convert timestamps'"},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57"}]`, "unexpected measures value"},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":null}]`, "unexpected measures value"},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":[1]}]`, "unexpected measures value"},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":"x"}]`, "unexpected measures value"},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":"0x10"}]`, "unexpected measures value"},
	{measuresByID, `[]`, "expected a dictionary"},
	{measuresByID, `{"foo":[]}`, "extra keys not allowed @ data['foo']"},
	{measuresByID, `{"` + id1 + `":3}`, "unexpected measures format for dictionary value @ data['" + id1 + "']"},
	{measuresByID, `{"` + id1 + `":[{"timestamp":"foo","value":1}]}`, "unexpected timestamp 'Unable to convert timestamps' for dictionary value @ data['" + id1 + "']"},
	{measuresByName, `[]`, "expected a dictionary"},
	{measuresByName, `{"r":[]}`, "expected a dictionary for dictionary value @ data['r']"},
	{measuresByName, `{"r":{"cpu":3}}`, "unexpected measures format for dictionary value @ data['r']['cpu']"},
	{measuresByName, `{"r":{"cpu":{"measures":[],"x":1}}}`, "extra keys not allowed @ data['r']['cpu']['x']"},
	{measuresByName, `{"r":{"cpu":{"unit":"x"}}}`, "required key not provided @ data['r']['cpu']['measures']"},
	{measuresByName, `{"r":{"cpu":{"archive_policy_name":3,"measures":[]}}}`, "expected str for dictionary value @ data['r']['cpu']['archive_policy_name']"},
	{measuresByName, `{"r":{"cpu":{"measures":[{"timestamp":"foo","value":1}]}}}`, "unexpected timestamp 'Unable to convert timestamps' for dictionary value @ data['r']['cpu']['measures']"},

	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":1,"more":2}]`, ""},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":"9"}]`, ""},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":" nan "}]`, ""},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":NaN},{"timestamp":"2014-10-06T14:33:58","value":-Infinity}]`, ""},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","value":true}]`, ""},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57","v\u0061lue":1}]`, ""},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57+02:00","value":1}]`, ""},
	{measureList, `[{"timestamp":"2014-10-06T14:33:57.1234567891","value":1}]`, ""},
	{measureList, `[{"timestamp":"2014-10-06T14","value":1},{"timestamp":"2014-10-06","value":1}]`, ""},
	{measureList, `[{"timestamp":"-5 minutes","value":1},{"timestamp":"10 s","value":1}]`, ""},
	{measureList, `[{"timestamp":1.4e9,"value":1}]`, ""},
	{measuresByID, `{"{` + id1 + `}":[]}`, ""},
	{measuresByID, `{"2cfdc9ae8e6a4b1c9d5e0f2a7c1b3d4e":[]}`, ""},
	{measuresByName, `{"é":{"cpu":[]}}`, ""},
	{measuresByName, `{"r":{"cpu":{"measures":[{"timestamp":1,"value":1}],"measures":[]}}}`, ""},
}

func TestScanUsual(t *testing.T) {
	var s scanner
	for shape, texts := range usual {
		for _, text := range texts {
			var fast, general posted
			if !s.scan(padded(text), shape, &fast) {
				t.Errorf("the scanner does not read %s", text)
			}
			if err := decodeMeasures([]byte(text), shape, time.Now(), &general); err != nil {
				t.Errorf("%s: %v", text, err)
			}
			if !samePosted(&fast, &general) {
				t.Errorf("%s:\nscanner %+v\ngeneral %+v", text, fast, general)
			}
		}
	}
}

func TestScanValues(t *testing.T) {
	var s scanner
	var p posted
	text := `[{"timestamp":"2014-10-06T14:33:57.25","value":43.1},{"value":-2e3,"timestamp":"2014-10-06T14:33:58Z"}]`
	if !s.scan(padded(text), measureList, &p) {
		t.Fatal("not read")
	}
	at := time.Date(2014, 10, 6, 14, 33, 57, 250e6, time.UTC).UnixNano()
	want := posted{ends: []int{2}, points: []window.Point{{Time: at, Value: 43.1}, {Time: at + 750e6, Value: -2000}}}
	if !samePosted(&p, &want) {
		t.Errorf("%+v", p)
	}
}

func TestScanLeavesTheUnusual(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	var s scanner
	for _, c := range unusual {
		var p posted
		if s.scan(padded(c.text), c.shape, &p) {
			t.Errorf("the scanner reads %s", c.text)
		}
		p.reset()
		err := decodeMeasures([]byte(c.text), c.shape, now, &p)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.text, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
	var p posted
	if err := decodeMeasures([]byte(`[{"timestamp":"-5 minutes","value":"9"},{"timestamp":"10 s","value":true}]`), measureList, now, &p); err != nil {
		t.Fatal(err)
	}
	want := posted{ends: []int{2}, points: []window.Point{{Time: now.UnixNano() - 300e9, Value: 9}, {Time: now.UnixNano() + 10e9, Value: 1}}}
	if !samePosted(&p, &want) {
		t.Errorf("%+v", p)
	}
}

// TestScanNumbers compares with package strconv, of which the general path makes use.
func TestScanNumbers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var s scanner
	for range 30_000 {
		var text string
		switch random.IntN(4) {
		case 0:
			text = fmt.Sprintf("%.*f", random.IntN(25), random.NormFloat64()*math.Pow(10, float64(random.IntN(20))))
		case 1:
			text = fmt.Sprint(math.Float64frombits(random.Uint64()))
		case 2:
			text = fmt.Sprint(random.Float64())
		default:
			text = fmt.Sprint(random.Int64() >> random.IntN(60))
		}
		if strings.ContainsAny(text, "NI") {
			continue
		}
		text = strings.ReplaceAll(text, "e+", "e")
		body := `[{"timestamp":1,"value":` + text + `}]`
		var fast, general posted
		if !s.scan(padded(body), measureList, &fast) {
			t.Fatalf("the scanner does not read %s", body)
		}
		if err := decodeMeasures([]byte(body), measureList, time.Time{}, &general); err != nil || !samePosted(&fast, &general) {
			t.Fatalf("%s: %v, %v, want %v", body, err, fast.points, general.points)
		}
	}
}

func TestParseUUID(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 10 {
		var id uuid.UUID
		for i := range id {
			id[i] = byte(random.Uint32())
		}
		text := id.String()
		if random.IntN(2) == 0 {
			text = strings.ToUpper(text)
		}
		if got, ok := parseUUID((*[36]byte)([]byte(text))); !ok || got != id {
			t.Fatalf("%s: %v %v", text, got, ok)
		}
		for place := range text {
			for c := range 256 {
				b := []byte(text)
				b[place] = byte(c)
				want, err := uuid.ParseBytes(b)
				if got, ok := parseUUID((*[36]byte)(b)); ok != (err == nil) || ok && got != want {
					t.Fatalf("%q: %v %v, want %v %v", b, got, ok, want, err)
				}
			}
		}
	}
}

func FuzzScanMeasures(f *testing.F) {
	for shape, texts := range usual {
		for _, text := range texts {
			f.Add([]byte(text), uint8(shape))
		}
	}
	for _, c := range unusual {
		f.Add([]byte(c.text), uint8(c.shape))
	}
	f.Fuzz(func(t *testing.T, text []byte, shape uint8) {
		if shape > uint8(measuresByName) {
			return
		}
		var s scanner
		var fast, general posted
		if !s.scan(padded(string(text)), bodyShape(shape), &fast) {
			_ = decodeMeasures(text, bodyShape(shape), time.Now(), &general)
			return
		}
		if err := decodeMeasures(text, bodyShape(shape), time.Now(), &general); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !samePosted(&fast, &general) {
			t.Fatalf("%s:\nscanner %+v\ngeneral %+v", text, fast, general)
		}
	})
}

// measuresBody is a body of many metrics with decimals of two digits.
func measuresBody(metrics, points int, full bool) string {
	random := rand.New(rand.NewPCG(5, 6))
	var b strings.Builder
	b.WriteByte('{')
	for m := range metrics {
		if m > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `"%s": [`, uuid.NewSHA1(uuid.Nil, fmt.Append(nil, m)))
		at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
		for i := range points {
			if i > 0 {
				b.WriteString(", ")
			}
			v := fmt.Sprintf("%.2f", random.Float64()*100)
			if full {
				v = fmt.Sprint(random.Float64() * 100)
			}
			fmt.Fprintf(&b, `{"timestamp": "%s", "value": %s}`, at.Add(time.Duration(i)*10*time.Second).Format("2006-01-02T15:04:05"), v)
		}
		b.WriteByte(']')
	}
	b.WriteByte('}')
	return b.String()
}

func BenchmarkScan(b *testing.B) {
	for _, c := range []struct {
		name            string
		metrics, points int
		full            bool
	}{{"100x60", 100, 60, false}, {"100x60_17digits", 100, 60, true}, {"10000x1", 10000, 1, false}} {
		text := padded(measuresBody(c.metrics, c.points, c.full))
		b.Run(c.name, func(b *testing.B) {
			var s scanner
			var p posted
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				p.reset()
				if !s.scan(text, measuresByID, &p) {
					b.Fatal("not read")
				}
			}
			b.ReportMetric(float64(b.N)*float64(len(p.points))/b.Elapsed().Seconds()/1e6, "Mpoints/s")
		})
	}
}
