package expression

import (
	"slices"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/sdk"
)

func TestFormula(t *testing.T) {
	used, total := sample(sdk.Metadata{"vcpus": "4"}), sample(sdk.Metadata{"ram": int64(10)})
	used.Name, used.Volume = "memory.usage", 512
	total.Name, total.Volume, total.Unit = "memory", 2048, "MB"
	samples := map[string]sdk.Sample{"used": used, "total": total}
	f := func(text string, want float64, first string) {
		t.Helper()
		formula, err := NewFormula(text, []string{"used", "total"})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		if got, err := formula.Evaluate(samples); err != nil || got != want || formula.Used()[0] != first {
			t.Errorf("%s: %v, %v, want %v; first of %v", text, got, err, want, formula.Used())
		}
	}
	f("used / total * 100", 25, "used")
	f("100 - used / total * 100", 75, "used")
	f("total - used", 1536, "total")
	f("used * resource_metadata.vcpus", 2048, "used")
	f("total * resource_metadata.ram", 20480, "total")
	f("total * inputs.used.resource_metadata.vcpus", 8192, "total")
	f("inputs.used.volume + total", 2560, "used")
	f(`inputs.total.unit == "MB" ? total * 1024 : used`, 2048*1024, "total")
	f(`resource_id == "vm-1" ? used : total`, 512, "used")
}

func TestFormulaErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if _, err := NewFormula(text, []string{"a", "b"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	f("a / c", "unknown name c")
	f("a > b", "gives true or false")
	f("volume", "unknown name volume")
	f("a +", "unexpected token")

	formula, err := NewFormula("a / b", []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	zero := sample(nil)
	zero.Volume = 0
	if _, err := formula.Evaluate(map[string]sdk.Sample{"a": sample(nil), "b": zero}); err == nil {
		t.Error("division by zero gives a number")
	}
}

func TestFormulaUsed(t *testing.T) {
	formula, err := NewFormula("inputs.c.volume + b + b", []string{"a", "b", "c"})
	if err != nil || !slices.Equal(formula.Used(), []string{"c", "b"}) {
		t.Fatal(formula.Used(), err)
	}
}

func TestCheckVariable(t *testing.T) {
	for _, name := range []string{"a", "used_1", "_x", "Total"} {
		if err := CheckVariable(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "1a", "memory.usage", "a b", "é", "true", "nil", "in", "not", "let", "inputs", "number", "resource_metadata"} {
		if CheckVariable(name) == nil {
			t.Errorf("%q is taken", name)
		}
	}
}
