package host

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/glob"
)

func globs(t *testing.T, patterns string) *glob.Globs {
	t.Helper()
	g, err := glob.Compile(strings.Fields(patterns))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestFilter(t *testing.T) {
	whole := everything(t) // samples one, two, one; event created
	f := func(meters, events, want string, changed bool) {
		t.Helper()
		filter := newFilter(globs(t, meters), globs(t, events))
		for range 2 { // verdicts are remembered
			p, err := filter.pass(parcel{data: whole, samples: 3, events: 1})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if p.rows() > 0 {
				b, err := sdk.DecodeBatch(p.data)
				if err != nil {
					t.Fatal(err)
				}
				if b.Len() != int(p.samples) || b.Events() != int(p.events) {
					t.Fatalf("%d samples and %d events are said to be %d and %d", b.Len(), b.Events(), p.samples, p.events)
				}
				for _, s := range b.Samples() {
					got = append(got, s.Name)
				}
				for e := range b.Events() {
					got = append(got, b.EventType(e))
				}
			}
			if fmt.Sprint(got) != want || changed != (p.rows() > 0 && string(p.data) != string(whole)) {
				t.Errorf("meters %q, events %q: %v passed, want %s", meters, events, got, want)
			}
		}
	}
	f("*", "*", "[one two one created]", false)
	f("one", "*", "[one one created]", true)
	f("*", "!created *", "[one two one]", true)
	f("* !one", "other", "[two]", true)
	f("other", "created", "[created]", true)
	f("other", "other", "[]", false)
}

func TestFilterRefusesWhatIsNoBatch(t *testing.T) {
	filter := newFilter(globs(t, "one"), globs(t, "*"))
	data := everything(t)
	if _, err := filter.pass(parcel{data: data[:len(data)-1], samples: 3, events: 1}); err == nil {
		t.Error("a batch without its end passed")
	}
}

func TestFilterForgetsVerdicts(t *testing.T) {
	filter := newFilter(globs(t, "n*"), globs(t, "*"))
	for n := range maxVerdicts + 10 {
		if !verdict(filter.names, filter.meters, fmt.Appendf(nil, "n%d", n)) {
			t.Fatal("a name did not match")
		}
	}
	if n := len(filter.names); n > maxVerdicts {
		t.Errorf("%d verdicts are remembered", n)
	}
}
