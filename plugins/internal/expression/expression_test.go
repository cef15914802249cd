package expression

import (
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

var at = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func batch(t testing.TB, samples ...sdk.Sample) *sdk.Batch {
	t.Helper()
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		for _, s := range samples {
			out.Add(s)
		}
		return nil
	})
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	return batches[0]
}

func sample(metadata sdk.Metadata) sdk.Sample {
	return sdk.Sample{
		Name: "cpu", Type: sdk.Cumulative, Unit: "ns", Volume: 3, ResourceID: "vm-1", ProjectID: "p", UserID: "u",
		Source: "openstack", Timestamp: at, Metadata: metadata,
	}
}

func TestNumber(t *testing.T) {
	metadata := sdk.Metadata{
		"vcpus": int64(4), "float": 4.0, "text": "4", "blank": " 8 ", "word": "many", "empty": "", "yes": true,
		"flavor": map[string]any{"ram": "2048", "disk": int64(20)}, "list": []any{int64(1), 2.5},
	}
	f := func(text string, want float64) {
		t.Helper()
		e, err := Number(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		e.Begin(batch(t, sample(metadata)))
		if got, err := e.At(0); err != nil || got != want {
			t.Errorf("%s gives %v, %v; want %v", text, got, err, want)
		}
	}
	f("2", 2)
	f("volume * 2", 6)
	f("volume", 3)
	f("100.0 / (1e9 * (resource_metadata.vcpus ?? 1))", 100/4e9)
	f("100.0 / (1e9 * (resource_metadata.float ?? 1))", 100/4e9)
	f("100.0 / (1e9 * (resource_metadata.text ?? 1))", 100/4e9)
	f("100.0 / (1e9 * (resource_metadata.missing ?? 1))", 100/1e9)
	f("resource_metadata.blank * resource_metadata.text", 32)
	f("resource_metadata.blank", 8)
	f("-resource_metadata.text", -4)
	f("resource_metadata.text + 1", 5)
	f("1 + resource_metadata.text", 5)
	f("1 - resource_metadata.text", -3)
	f("resource_metadata.text ** 2", 16)
	f("number(resource_metadata.text) + number(resource_metadata.blank)", 12)
	f("resource_metadata.flavor.ram / 1024", 2)
	f("resource_metadata?.flavor?.disk ?? 0", 20)
	f("resource_metadata?.image?.disk ?? 7", 7)
	f(`resource_metadata["vcpus"] * 2`, 8)
	f("resource_metadata.list[1] * 2", 5)
	f("resource_metadata.text > 3 ? 1 : 0", 1)
	f("resource_metadata.text == 4 ? 1 : 0", 1)
	f("resource_metadata.word == 4 ? 1 : 0", 0)
	f("resource_metadata.missing == 4 ? 1 : 0", 0)
	f(`resource_metadata.text == "4" ? 1 : 0`, 1)
	f("resource_metadata.yes ? 1 : 2", 1)
	f(`name == "cpu" and unit == "ns" and type == "cumulative" ? 1 : 0`, 1)
	f(`resource_id + project_id + user_id + source == "vm-1puopenstack" ? 1 : 0`, 1)
	f("timestamp.Hour()", 5)
	f("timestamp.Unix() % 10", float64(at.Unix()%10))
	f("max(volume, 10)", 10)
	f("let n = resource_metadata.text; volume * n", 12)
	f("$env.volume * 2", 6)
}

func TestNumberErrors(t *testing.T) {
	metadata := sdk.Metadata{"word": "many", "yes": true, "zero": int64(0), "flavor": nil}
	f := func(text, want string) {
		t.Helper()
		e, err := Number(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		e.Begin(batch(t, sample(metadata)))
		if got, err := e.At(0); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s gives %v, %v; want %q", text, got, err, want)
		}
	}
	f("volume * resource_metadata.word", `"many" is not a number`)
	f("volume * resource_metadata.missing", "?? gives a default")
	f("resource_metadata.missing", "?? gives a default")
	f("volume * resource_metadata.yes", "true is not a number")
	f("volume / resource_metadata.zero", "+Inf")
	f("0 / number(resource_metadata.zero)", "NaN")
	f("resource_metadata.flavor.ram", "cannot fetch ram")
	f("resource_metadata.word ?? 1", `"many" is not a number`)
}

func TestCompileErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := Number(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	f("", "is empty")
	f(" ", "is empty")
	f("volum * 2", "unknown name volum")
	f("number(volum)", "unknown name volum")
	f("volume *", "unexpected token EOF")
	f("volume > 2", "gives true or false, must give a number")
	f("name", "gives text, must give a number")
	f("resource_metadata", "gives an object")
	f("volume * name", "mismatched types")
	f("metadata.vcpus", "unknown name metadata")
	f("1/0", "the result is +Inf, not a number")
	f("-1/0", "the result is -Inf, not a number")
	f("0/0", "the result is NaN, not a number")
	f("1 % 0", "integer divide by zero")
	f(`number("many")`, `"many" is not a number`)
	f("nil", "a value is missing")
	f("now().Unix()", "expressions have no clock")
	f("volume * now().Unix()", "expressions have no clock")

	if _, err := Condition("volume + 1"); err == nil || !strings.Contains(err.Error(), "gives a number, must give true or false") {
		t.Errorf("a number as a condition: %v", err)
	}
	if _, err := Value("now()"); err == nil || !strings.Contains(err.Error(), "expressions have no clock") {
		t.Errorf("the time that it is as a value: %v", err)
	}
}

func TestCondition(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		e, err := Condition(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		e.Begin(batch(t, sample(sdk.Metadata{"status": "active", "vcpus": "2"})))
		if got, err := e.At(0); err != nil || got != want {
			t.Errorf("%s gives %v, %v", text, got, err)
		}
	}
	f("volume > 2", true)
	f(`resource_metadata.status == "active"`, true)
	f(`resource_metadata.status in ["paused", "stopped"]`, false)
	f(`name startsWith "cpu"`, true)
	f(`name matches "^mem"`, false)
	f("resource_metadata.vcpus >= 2", true)

	e, err := Condition("resource_metadata.status")
	if err != nil {
		t.Fatal(err)
	}
	e.Begin(batch(t, sample(sdk.Metadata{"status": "active"})))
	if _, err := e.At(0); err == nil || !strings.Contains(err.Error(), "not true or false") {
		t.Errorf("text as a condition: %v", err)
	}
}

// What an expression needs decides how often it is evaluated; a wrong answer
// would give one row another row's value.
func TestNeeds(t *testing.T) {
	f := func(text string, want needs) {
		t.Helper()
		e, err := Value(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if e.needs != want || e.IsConstant() != (want == 0) {
			t.Errorf("%s needs %b, want %b", text, e.needs, want)
		}
	}
	f("1 + 1", 0)
	f("100.0 / (1e9 * (resource_metadata.vcpus ?? 1))", ofResource)
	f("project_id", ofResource)
	f(`name + "." + unit + type`, ofMeter)
	f("volume * 2", ofRow)
	f("volume * (resource_metadata.vcpus ?? 1)", ofRow|ofResource)
	f("timestamp.Year()", ofRow)
	f("let v = user_id; v + name", ofResource|ofMeter)
	f("$env.volume", ofMeter|ofResource|ofRow)
	f("filter([1, 2], # > volume)", ofRow)
}

func TestEvaluatesOncePerResource(t *testing.T) {
	var samples []sdk.Sample
	for i := range 100 {
		s := sample(sdk.Metadata{"vcpus": int64(i%4 + 1)})
		s.ResourceID, s.Volume = string(rune('a'+i%4)), float64(i)
		samples = append(samples, s)
	}
	for _, text := range []string{"resource_metadata.vcpus", "resource_metadata.vcpus + 0 * volume", `resource_metadata.vcpus + (name == "x" ? 1 : 0)`} {
		e, err := Number(text)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // a second batch must not see the first one's results
			e.Begin(batch(t, samples...))
			for i := range samples {
				if got, err := e.At(i); err != nil || got != float64(i%4+1) {
					t.Fatalf("%s: row %d gives %v, %v", text, i, got, err)
				}
			}
			known := 0
			for _, c := range e.cached {
				if c.known {
					known++
				}
			}
			if text == "resource_metadata.vcpus" && known != 4 {
				t.Fatalf("%d evaluations for 4 resources", known)
			}
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, seed := range []string{"100.0 / (1e9 * (resource_metadata.vcpus ?? 1))", "volume", "-", "let x = 1; x", "$env", "a?.b", "[1][volume]", "{}.x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Number(text)
		if err != nil {
			return
		}
		e.Begin(batch(t, sample(sdk.Metadata{"vcpus": "2"})))
		if n, err := e.At(0); err == nil && n-n != 0 {
			t.Fatalf("%q gives %v", text, n)
		}
	})
}

func BenchmarkNumber(b *testing.B) {
	for _, text := range []string{"100.0 / (1e9 * (resource_metadata.vcpus ?? 1))", "volume / 1024", "volume * (resource_metadata.vcpus ?? 1)"} {
		b.Run(strings.ReplaceAll(text, "/", "div"), func(b *testing.B) {
			e, err := Number(text)
			if err != nil {
				b.Fatal(err)
			}
			one := batch(b, sample(sdk.Metadata{"vcpus": int64(2)}))
			b.ReportAllocs()
			for b.Loop() {
				e.Begin(one)
				if _, err := e.At(0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
