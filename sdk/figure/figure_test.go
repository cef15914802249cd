package figure_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/figure"
	"github.com/nephoscope/nepho/sdk/wire"
)

const (
	gauge      = wire.MeterType_GAUGE
	cumulative = wire.MeterType_CUMULATIVE
)

func own(name string, t wire.MeterType, unit string) *wire.MeterDescription {
	return &wire.MeterDescription{Name: name, Type: t, Unit: unit, Doc: "Of " + name + "."}
}

func TestNames(t *testing.T) {
	f := func(plugin string, m *wire.MeterDescription, sample, metric string) {
		t.Helper()
		d := figure.Declare(plugin, []*wire.MeterDescription{m})
		if got := d.Meters(); d.Err() != nil || len(got) != 1 || got[0].Name != sample || got[0].Metric != metric {
			t.Errorf("%v, error %v", got, d.Err())
		}
	}
	f("evaluator", own("deliveries.pending", gauge, "delivery"), "nepho.evaluator.deliveries.pending", "nepho_evaluator_deliveries_pending")
	f("evaluator", own("transitions", cumulative, "transition"), "nepho.evaluator.transitions", "nepho_evaluator_transitions_total")
	f("rate_of_change", own("kept", gauge, "B"), "nepho.rate_of_change.kept", "nepho_rate_of_change_kept_bytes")
	f("x", own("sent.bytes", cumulative, "B"), "nepho.x.sent.bytes", "nepho_x_sent_bytes_total")
	f("x", own("busy", cumulative, "s"), "nepho.x.busy", "nepho_x_busy_seconds_total")
	f("x", own("a_b.total", cumulative, ""), "nepho.x.a_b.total", "nepho_x_a_b_total")
}

// Names that could pass for those of the host, or that Prometheus would not take.
func TestDeclarationsThatAreRefused(t *testing.T) {
	f := func(plugin, want string, list ...*wire.MeterDescription) {
		t.Helper()
		d := figure.Declare(plugin, list)
		if d.Empty() || d.Err() == nil || !strings.Contains(d.Err().Error(), want) {
			t.Errorf("error %v, want %s", d.Err(), want)
		}
		if figures, err := d.Read(batch(t, nil, sample{list[len(list)-1].Name, list[len(list)-1].Type, nil, 1})); len(figures) > 0 || err == nil {
			t.Errorf("%s: it is shown: %v", want, figures)
		}
	}
	for _, plugin := range []string{"sink", "source", "sink_dropped", "start", "info", "instance", "pipeline", "plugin", "transformer_in", "Mine", "a-b", "", "a.b", strings.Repeat("x", 65)} {
		f(plugin, "can't be called after plugin", own("waiting", gauge, ""))
	}
	for _, name := range []string{"", "Upper", "a b", "a..b", ".a", "a.", "_a", "a{x=\"1\"}", "a\n", "ä", strings.Repeat("a", 65)} {
		f("mine", "lower-case words", own(name, gauge, ""))
	}
	f("mine", "neither a gauge nor cumulative", own("a", wire.MeterType_DELTA, ""))
	f("mine", "neither a gauge nor cumulative", own("a", 300, ""))
	f("mine", "not one line", &wire.MeterDescription{Name: "a"})
	f("mine", "not one line", &wire.MeterDescription{Name: "a", Doc: "x\n# TYPE nepho_up gauge"})
	f("mine", "not one line", &wire.MeterDescription{Name: "a", Doc: strings.Repeat("x", 257)})

	// What is right is shown beside what is wrong.
	d := figure.Declare("mine", []*wire.MeterDescription{own("a.b", gauge, ""), own("a_b", gauge, ""), own("c", gauge, "")})
	if err := d.Err(); len(d.Meters()) != 2 || err == nil || !strings.Contains(err.Error(), "nepho_mine_a_b") {
		t.Errorf("%v, error %v", d.Meters(), err)
	}
	var many []*wire.MeterDescription
	for i := range figure.MaxMeters + 1 {
		many = append(many, own(fmt.Sprint("m", i), gauge, ""))
	}
	if d := figure.Declare("mine", many); len(d.Meters()) != figure.MaxMeters || d.Err() == nil {
		t.Errorf("%d meters, error %v", len(d.Meters()), d.Err())
	}
	if d := figure.Declare("sink", nil); !d.Empty() || d.Err() != nil {
		t.Errorf("a plugin that tells nothing may have any name: %v", d.Err())
	}
}

// sample is what a plugin tells.
type sample struct {
	name   string
	typ    wire.MeterType
	labels sdk.Metadata
	value  float64
}

// batch encodes an answer.
func batch(t testing.TB, change func(*sdk.Builder), list ...sample) *wire.MeasureReply {
	t.Helper()
	batches, err := sdk.Build("i", func(out *sdk.Builder) error {
		for _, s := range list {
			out.On(sdk.Resource{ID: "r", Metadata: s.labels}).Add(sdk.Meter{Name: s.name, Type: sdk.Type(s.typ)}, s.value)
		}
		if change != nil {
			change(out)
		}
		return nil
	})
	if err != nil || len(batches) == 0 {
		return new(wire.MeasureReply) // no builder makes it
	}
	data, err := batches[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	return &wire.MeasureReply{Batch: data}
}

func TestRead(t *testing.T) {
	d := figure.Declare("mine", []*wire.MeterDescription{own("waiting", gauge, ""), own("done", cumulative, "")})
	got, err := d.Read(batch(t, nil,
		sample{"waiting", gauge, sdk.Metadata{"queue": "b", "n": 2, "ratio": 0.5, "slow": true}, 7},
		sample{"waiting", gauge, sdk.Metadata{"queue": "a"}, -1},
		sample{"done", cumulative, nil, 1e15}))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range got {
		lines = append(lines, fmt.Sprintf("%s %v %v", f.Metric, f.Labels, f.Value))
	}
	want := []string{
		"nepho_mine_done_total map[] 1e+15",
		"nepho_mine_waiting map[n:2 queue:b ratio:0.5 slow:true] 7",
		"nepho_mine_waiting map[queue:a] -1",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
	if got[0].Doc != "Of done." || got[0].Type != sdk.Cumulative {
		t.Errorf("%+v", got[0])
	}
	for _, nothing := range []*wire.MeasureReply{nil, {}} {
		if got, err := d.Read(nothing); len(got) > 0 || err != nil {
			t.Errorf("%v, error %v", got, err)
		}
	}
}

// Whatever is wrong with an answer, the rest of it is shown, and the error says what is not.
func TestReadLeavesOut(t *testing.T) {
	d := figure.Declare("mine", []*wire.MeterDescription{own("waiting", gauge, ""), own("done", cumulative, "")})
	right := sample{"done", cumulative, nil, 1}
	f := func(want string, wrong ...sample) {
		t.Helper()
		got, err := d.Read(batch(t, nil, append(wrong, right)...))
		if err == nil || !strings.Contains(err.Error(), want) || len(got) == 0 || got[0].Name != "nepho.mine.done" {
			t.Errorf("%d figures, error %v; want %s", len(got), err, want)
		}
	}
	many := sdk.Metadata{}
	for i := range figure.MaxLabels + 1 {
		many[fmt.Sprint("l", i)] = "x"
	}
	f("is not declared", sample{"sink.waiting", gauge, nil, 1})
	f("is not declared", sample{"waiting", cumulative, nil, 1})
	f("no figure", sample{"waiting", gauge, nil, math.NaN()}, sample{"waiting", gauge, nil, math.Inf(1)})
	f("9 labels", sample{"waiting", gauge, many, 1})
	f("the host's", sample{"waiting", gauge, sdk.Metadata{"instance": "another"}, 1})
	f("the host's", sample{"waiting", gauge, sdk.Metadata{"host": "another"}, 1})
	for _, name := range []string{"", "__name__", "Queue", "a-b", "a.b", strings.Repeat("l", 65)} {
		f("no word in lower case", sample{"waiting", gauge, sdk.Metadata{name: "x"}, 1})
	}
	for _, value := range []any{"", nil, []any{"x"}, map[string]any{"a": 1}, strings.Repeat("x", 257)} {
		f("without a text", sample{"waiting", gauge, sdk.Metadata{"queue": value}, 1})
	}
	f("comes twice", sample{"waiting", gauge, sdk.Metadata{"n": 1}, 1}, sample{"waiting", gauge, sdk.Metadata{"n": "1"}, 2})

	if got, err := d.Read(&wire.MeasureReply{Batch: batch(t, nil, right).Batch, Error: "no \xff database"}); len(got) != 1 || err == nil || !strings.Contains(err.Error(), "no \uFFFD database") {
		t.Errorf("%v, error %v", got, err)
	}
	if _, err := d.Read(&wire.MeasureReply{Error: strings.Repeat("x", 1<<20)}); err == nil || len(err.Error()) > 2<<10 {
		t.Error("an error of any length is taken")
	}
	if got, err := d.Read(batch(t, func(out *sdk.Builder) { out.AddEvent(sdk.Event{EventType: "e"}) }, right)); len(got) != 1 || err == nil {
		t.Errorf("%v, error %v", got, err)
	}
	lots := make([]sample, figure.MaxFigures+1)
	for i := range lots {
		lots[i] = sample{"waiting", gauge, sdk.Metadata{"n": i}, 1}
	}
	if got, err := d.Read(batch(t, nil, lots...)); len(got) != figure.MaxFigures || err == nil {
		t.Errorf("%d figures, error %v", len(got), err)
	}
	for _, garbage := range [][]byte{{0xff}, []byte("garbage"), make([]byte, figure.MaxBytes+1)} {
		if got, err := d.Read(&wire.MeasureReply{Batch: garbage}); len(got) > 0 || err == nil {
			t.Errorf("%v, error %v", got, err)
		}
	}
}

// Whatever a plugin answers, what is taken of it is within the limits and can be shown.
func FuzzRead(f *testing.F) {
	f.Add("mine", "waiting", int32(gauge), "s", batch(f, nil, sample{"waiting", gauge, sdk.Metadata{"queue": "a", "n": 1}, 7}).Batch)
	f.Add("sink", "done", int32(cumulative), "B", []byte{})
	f.Add("mine", "a.b", int32(2), "", []byte("garbage"))
	f.Fuzz(func(t *testing.T, plugin, name string, typ int32, unit string, data []byte) {
		d := figure.Declare(plugin, []*wire.MeterDescription{own(name, wire.MeterType(typ), unit), own("waiting", gauge, "")})
		figures, _ := d.Read(&wire.MeasureReply{Batch: data})
		for _, f := range figures {
			if !strings.HasPrefix(f.Name, "nepho."+plugin+".") || !strings.HasPrefix(f.Metric, "nepho_"+plugin+"_") || f.Labels["instance"] != "" || len(f.Labels) > figure.MaxLabels || math.IsNaN(f.Value) {
				t.Fatalf("%+v", f)
			}
		}
		again, _ := d.Read(&wire.MeasureReply{Batch: data})
		if !reflect.DeepEqual(figures, again) {
			t.Fatalf("%v, then %v", figures, again)
		}
	})
}
