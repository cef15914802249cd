package accumulator

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/plugins/internal/transformtest"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func cpu(volume float64) sdk.Sample {
	return sdk.Sample{
		Name: "cpu", Type: sdk.Cumulative, Unit: "ns", Volume: volume, ResourceID: "vm-1", ProjectID: "p", UserID: "u", Source: "s",
		Timestamp: start.Add(time.Duration(volume) * time.Second), Monotonic: time.Hour, Metadata: sdk.Metadata{"vcpus": int64(2)},
	}
}

func volumes(samples []sdk.Sample) string {
	var texts []string
	for _, s := range samples {
		texts = append(texts, fmt.Sprint(s.Volume))
	}
	return strings.Join(texts, " ")
}

func TestSize(t *testing.T) {
	f := func(toml string, wants ...string) {
		t.Helper()
		in := transformtest.Start(t, Plugin(), toml, nil)
		for i, want := range wants {
			if got := volumes(in.Run(cpu(float64(2*i)), cpu(float64(2*i+1)))); got != want {
				t.Errorf("%s: batch %d gives %q, want %q", toml, i, got, want)
			}
		}
	}
	f(``, "0 1", "2 3")
	f(`size = 2`, "0 1", "2 3")
	f(`size = 3`, "", "0 1 2 3", "", "4 5 6 7")
	f(`size = 4`, "", "0 1 2 3", "")
	f(`size = 30`, "", "", "", "", "", "", "", "", "", "", "", "", "", "", "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29")
}

func TestNoMoreThanAnAnswerCanTakeIsHeld(t *testing.T) {
	in := transformtest.Start(t, Plugin(), "size = 0\nretention = \"1h\"", nil)
	large := cpu(1)
	large.Metadata = sdk.Metadata{"blob": strings.Repeat("x", 1<<20)}
	held := 0
	for held < 20 {
		if out := in.Run(large); len(out) > 0 {
			break
		}
		held++
	}
	if held != 7 {
		t.Fatalf("%d MiB are held", held)
	}
}

func TestSamplesAreNotChanged(t *testing.T) {
	in := transformtest.Start(t, Plugin(), `size = 2`, nil)
	first, second := cpu(1), cpu(2)
	first.ID = "7d1e1b5e-0000-4000-8000-000000000001"
	in.Run(first)
	out := in.Run(second)
	if len(out) != 2 || out[0].ID != first.ID || out[0].Monotonic != time.Hour || !out[0].Timestamp.Equal(first.Timestamp) ||
		out[0].Metadata["vcpus"] != int64(2) || out[0].ProjectID != "p" || out[0].UserID != "u" || out[0].Source != "s" || out[0].Type != sdk.Cumulative {
		t.Fatalf("%+v", out)
	}
}

func TestOneBatchComesOut(t *testing.T) {
	in := transformtest.Start(t, Plugin(), `size = 10`, nil)
	for i := range 9 {
		in.Run(cpu(float64(i)))
	}
	if out := in.RunBatch(transformtest.Batch(t, cpu(9))); len(out) != 1 || out[0].Len() != 10 {
		t.Fatalf("%d batches", len(out))
	}
}

func TestEventsPass(t *testing.T) {
	in := transformtest.Start(t, Plugin(), `size = 10`, nil)
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		out.Add(cpu(1))
		out.AddEvent(sdk.Event{MessageID: "1", EventType: "boot", Generated: start})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out := in.RunBatch(batches[0])
	if len(out) != 1 || out[0].Len() != 0 || out[0].Events() != 1 || out[0].Event(0).EventType != "boot" {
		t.Fatalf("%d batches", len(out))
	}
}

func TestRetention(t *testing.T) {
	p := Plugin()
	impl := new(transformer)
	p.Transformer = func() sdk.Transformer { return impl }
	in := transformtest.Start(t, p, "size = 3\nretention = \"10s\"", nil)
	if impl.FlushInterval() != time.Second {
		t.Fatal(impl.FlushInterval())
	}
	now := start
	impl.now = func() time.Time { return now }
	in.Run(cpu(1))
	now = start.Add(8 * time.Second)
	in.Run(cpu(2))
	if out := in.Flush(start.Add(9 * time.Second)); len(out) != 0 {
		t.Fatal(volumes(out))
	}
	if got := volumes(in.Flush(start.Add(10 * time.Second))); got != "1 2" {
		t.Fatal(got)
	}
	if out := in.Flush(start.Add(time.Hour)); len(out) != 0 {
		t.Fatal(volumes(out))
	}
	in.Run(cpu(3))
	if out := in.Flush(start); len(out) != 1 { // a clock that was set back
		t.Fatal(volumes(out))
	}
	impl.Retention = 0
	if impl.FlushInterval() != 0 {
		t.Fatal("asks to be flushed for nothing")
	}
}

func TestConfigProblems(t *testing.T) {
	if err := transformtest.Check(Plugin(), `size = 0`); err == nil || !strings.Contains(err.Error(), "test.toml:1:1: size: is 0 and there is no retention") {
		t.Error(err)
	}
	if err := transformtest.Check(Plugin(), "size = 0\nretention = \"1s\""); err != nil {
		t.Error(err)
	}
}

// What is held survives a stop and a kill, and a batch that is given again is
// held once.
func TestRestart(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Config: "size = 4\nretention = \"1ms\""})
	give := func(want string, samples ...sdk.Sample) {
		t.Helper()
		data, err := transformtest.Batch(t, samples...).Encode()
		if err != nil {
			t.Fatal(err)
		}
		for again := range 2 {
			out, err := p.TransformBatch(t.Context(), data)
			if err != nil || volumes(out) != want {
				t.Fatal(volumes(out), err)
			}
			if again == 0 {
				p.Kill()
				p.Restart()
			}
		}
	}
	give("", cpu(1), cpu(2))
	give("", cpu(3))
	give("1 2 3 4", cpu(4))
	give("", cpu(5))
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Restart()
	out, err := p.TransformBatch(t.Context(), nil) // what is due by time
	if err != nil || volumes(out) != "5" {
		t.Fatal(volumes(out), err)
	}
}

func TestChunkEncoding(t *testing.T) {
	c := chunk{number: 1 << 40, since: -1, rows: 7, batch: []byte("abc")}
	data, err := c.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var got chunk
	if err := got.UnmarshalBinary(data); err != nil || got.number != c.number || got.since != c.since || got.rows != c.rows || !bytes.Equal(got.batch, c.batch) {
		t.Fatalf("%+v, %v", got, err)
	}
	if got.UnmarshalBinary(data[:19]) == nil {
		t.Fatal("a short chunk is taken")
	}
}

func TestSampleIsValid(t *testing.T) {
	if err := transformtest.CheckSample(Plugin()); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkTransform(b *testing.B) { transformtest.BenchProcess(b, `size = 10000`) }
