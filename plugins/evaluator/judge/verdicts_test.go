package judge

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/sdk"
)

// vector is what Aodh's own evaluators made of a case: see testdata/verdicts.py.
type vector struct {
	Kind   string
	Rule   json.RawMessage
	Values [][]float64
	Event  *struct {
		MessageID string `json:"message_id"`
		EventType string `json:"event_type"`
		Generated string
		Traits    [][3]any
	}
	State  string
	Repeat bool
	Got    *[3]string
}

func TestVerdictsAreAodhs(t *testing.T) {
	f, err := os.Open("testdata/verdicts.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]int{}
	for lines := bufio.NewScanner(z); lines.Scan(); {
		var v vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		cases[v.Kind]++
		o := v.judge(t)
		switch {
		case o == nil && v.Got == nil:
		case o == nil || v.Got == nil:
			t.Errorf("%s\nis %v", lines.Bytes(), o)
		default:
			if got := [3]string{o.State.String(), o.Reason, string(def.AppendJSON(nil, o.Data))}; got != *v.Got {
				t.Errorf("%s\nis %q", lines.Bytes(), got)
			}
		}
		if t.Failed() {
			return
		}
	}
	if cases["gnocchi_resources_threshold"] < 400 || cases["composite"] < 600 || cases["event"] < 600 {
		t.Errorf("only these cases were read: %v", cases)
	}
}

func (v *vector) judge(t *testing.T) *Outcome {
	rule, err := def.ReadRule(v.Kind, v.Rule)
	if err != nil {
		t.Fatalf("%s: %v", v.Rule, err)
	}
	now, ok := def.ParseState(v.State)
	if !ok {
		t.Fatalf("no state %q", v.State)
	}
	var verdicts []Verdict
	windows := func(i int, r def.Rule) {
		verdicts = append(verdicts, Windows(&r.(*def.ResourceThreshold).Threshold, v.Values[i]))
	}
	switch r := rule.(type) {
	case *def.Composite:
		for i, leaf := range Leaves(r) {
			windows(i, leaf)
		}
		return Composite(r, verdicts, now, v.Repeat)
	case *def.Event:
		e := &Event{Event: v.event(t)}
		m := Match(r)
		if !m.Matches(e) {
			return nil
		}
		return m.Outcome(e, now, v.Repeat)
	default:
		windows(0, r)
		return verdicts[0].Outcome(now, v.Repeat)
	}
}

func (v *vector) event(t *testing.T) *sdk.Event {
	at, err := time.Parse("2006-01-02T15:04:05.000000", v.Event.Generated)
	if err != nil {
		t.Fatal(err)
	}
	e := &sdk.Event{MessageID: v.Event.MessageID, EventType: v.Event.EventType, Generated: at}
	for _, tr := range v.Event.Traits {
		trait := sdk.Trait{Name: tr[0].(string), Value: tr[2]}
		switch tr[1].(float64) {
		case 1:
			trait.Type = sdk.Text
		case 2:
			trait.Type, trait.Value = sdk.Integer, int64(tr[2].(float64))
		case 3:
			trait.Type = sdk.Float
		default:
			t.Fatalf("a trait of type %v", tr[1])
		}
		e.Traits = append(e.Traits, trait)
	}
	return e
}
