package message

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/nephoscope/nepho/sdk"
)

// The expected texts are what Python 3.11 prints.

func TestFloatRepr(t *testing.T) {
	f := func(in float64, want string) {
		t.Helper()
		if got := string(appendPlainFloat(nil, in)); got != want {
			t.Errorf("repr of %g: got %q, want %q", in, got, want)
		}
	}
	f(1, "1.0")
	f(0, "0.0")
	f(math.Copysign(0, -1), "-0.0")
	f(1.5, "1.5")
	f(0.1, "0.1")
	f(1e16, "1e+16")
	f(9999999999999998, "9999999999999998.0")
	f(123456789012345680, "1.2345678901234568e+17")
	f(1e-4, "0.0001")
	f(0.00012345, "0.00012345")
	f(1e-5, "1e-05")
	f(9.999e-5, "9.999e-05")
	f(-2.5e-7, "-2.5e-07")
	f(1e22, "1e+22")
	f(1e100, "1e+100")
	f(5e-324, "5e-324")
	f(1.7976931348623157e308, "1.7976931348623157e+308")
	f(0.30000000000000004, "0.30000000000000004")
	f(2.0/3, "0.6666666666666666")
	f(math.Inf(1), "inf")
	f(math.Inf(-1), "-inf")
	f(math.NaN(), "nan")
}

func TestStr(t *testing.T) {
	f := func(in any, want string) {
		t.Helper()
		if got := string(appendStr(nil, in)); got != want {
			t.Errorf("str of %#v: got %q, want %q", in, got, want)
		}
	}
	f(nil, "None")
	f(true, "True")
	f(false, "False")
	f("it's", "it's")
	f(json.Number("1"), "1")
	f(json.Number("-0"), "0")
	f(json.Number("-0.0"), "-0.0")
	f(json.Number("1.0"), "1.0")
	f(json.Number("1E5"), "100000.0")
	f(json.Number("1e999"), "inf")
	f(json.Number("123456789012345678901234567890"), "123456789012345678901234567890")
	f(1.0, "1")
	f(math.Copysign(0, -1), "-0.0")
	f(float64(1<<53), "9007199254740992.0")
	f(int64(math.MaxInt64), "9223372036854775807")
	f([]any{}, "[]")
	f([]any{"a", "é", "it's", `"`, `'"`, "\\\t\n\r\x00\x7f"}, `[b'a', b'\xc3\xa9', b"it's", b'"', b'\'"', b'\\\t\n\r\x00\x7f']`)
	f([]any{map[string]any{"b": []any{nil, false}, "a": sdk.Metadata{}}}, `[{b'a': {}, b'b': [None, False]}]`)
}
