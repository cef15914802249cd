package aggregator

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/definitions"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
	"github.com/nephoscope/nepho/sdk"
)

// rig is an intake of a real engine and an index in memory.
type rig struct {
	t   testing.TB
	in  *intake
	x   *shelf
	log bytes.Buffer
	now time.Time
}

const testDefinitions = `
[[policy]]
name = "p"
methods = ["mean", "last", "count"]
definition = [{ granularity = "1s", points = 10000 }, { granularity = "1m", points = 60 }]
[[policy]]
name = "counter"
methods = ["last"]
definition = [{ granularity = "1s", points = 10000 }]
[[metric]]
types  = ["cumulative"]
policy = "counter"
[[metric]]
policy = "p"
[[resource]]
type = "instance"
metrics = ["cpu", "cpu.*", "memory"]
attributes = { host = {}, flavor = { from = ["resource_metadata.flavor.name"] }, vcpus = { type = "number" } }
[resource.events]
create = ["instance.create"]
update = ["instance.update"]
delete = ["instance.delete"]
id = ["instance_id"]
attributes = { host = ["host"] }
ends = { disk = "instance_id" }
[[resource]]
type = "disk"
metrics = ["disk.*"]
attributes = { instance_id = {} }
`

func newRig(t testing.TB, unknown string, limit int) *rig {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "definitions.toml")
	if err := os.WriteFile(file, []byte(testDefinitions), 0o600); err != nil {
		t.Fatal(err)
	}
	d, problems := definitions.Load([]string{file})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	r := &rig{t: t, now: time.Unix(1_700_000_000, 0)}
	for i, p := range d.Policies {
		p.ID = uint32(i + 1)
	}
	r.x = newShelf(d.Policies...)
	o, err := objects.Local(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return r.now }
	e, err := engine.Open(t.Context(), engine.Options{Dir: filepath.Join(dir, "data"), Objects: o, Sync: time.Minute, MaxFuture: time.Hour, Now: clock}, d.Policies)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(t.Context()) })
	r.in = &intake{
		x: r.x, engine: e, creator: "admin", known: newKnown(d, r.x, limit, unknown == "drop"),
		tell: newTeller(slog.New(slog.NewTextHandler(&r.log, nil)), clock),
	}
	return r
}

// build makes one batch.
func (r *rig) build(fill func(out *sdk.Builder)) *sdk.Batch {
	r.t.Helper()
	batches, err := sdk.Build("test", func(out *sdk.Builder) error { fill(out); return nil })
	if err != nil || len(batches) != 1 {
		r.t.Fatal(len(batches), err)
	}
	return batches[0]
}

func (r *rig) samples(samples ...sdk.Sample) *sdk.Batch {
	return r.build(func(out *sdk.Builder) {
		for _, s := range samples {
			out.Add(s)
		}
	})
}

// publish publishes, and fails the test if that fails.
func (r *rig) publish(samples ...sdk.Sample) {
	r.t.Helper()
	if err := r.in.publish(r.t.Context(), r.samples(samples...)); err != nil {
		r.t.Fatal(err)
	}
}

// values gives the last values of the seconds of a metric.
func (r *rig) values(resource, name string) map[int64]float64 {
	r.t.Helper()
	id, err := index.ResourceID(resource, "admin")
	if err != nil {
		r.t.Fatal(err)
	}
	e := r.x.metrics[index.Name{Resource: id, Metric: name}]
	if e == nil {
		return nil
	}
	var f window.Frame
	var s window.Series
	q := engine.Query{Ref: e.Ref, Granularity: time.Second, Methods: policy.SetOf(policy.Last), To: math.MaxInt64}
	if err := r.in.engine.Frame(r.t.Context(), q, &f); err != nil {
		r.t.Fatal(err)
	}
	if err := f.Series(policy.Last, &s); err != nil {
		r.t.Fatal(err)
	}
	got := map[int64]float64{}
	for i, t := range s.Times {
		got[t/1e9-1_700_000_000] = s.Values[i]
	}
	return got
}

func (r *rig) want(resource, name string, want map[int64]float64) {
	r.t.Helper()
	if got := r.values(resource, name); !reflect.DeepEqual(got, want) {
		r.t.Errorf("%s of %s is %v instead of %v", name, resource, got, want)
	}
}

func (r *rig) resource(text string) *index.Resource {
	id, _ := index.ResourceID(text, "admin")
	return r.x.resources[id]
}

// at makes a sample of a second.
func at(second int, resource, meter string, v float64, metadata ...any) sdk.Sample {
	s := sdk.Sample{Name: meter, Volume: v, ResourceID: resource, Unit: "u", Timestamp: time.Unix(1_700_000_000+int64(second), 0)}
	for i := 0; i+1 < len(metadata); i += 2 {
		if s.Metadata == nil {
			s.Metadata = sdk.Metadata{}
		}
		s.Metadata[metadata[i].(string)] = metadata[i+1]
	}
	return s
}

func TestSamplesBecomeMeasures(t *testing.T) {
	r := newRig(t, "generic", 1000)
	counter := at(1, "vm-1", "cpu", 7)
	counter.Type = sdk.Cumulative
	counter.ProjectID, counter.UserID = "p", "u"
	r.publish(at(1, "vm-1", "memory", 1, "host", "c1", "flavor", map[string]any{"name": "tiny"}, "vcpus", 2), counter,
		at(1, "a/b", "disk.read", 3), at(2, "vm-1", "memory", 2, "host", "c1"), at(1, "vm-2", "strange/meter", 4))
	r.want("vm-1", "memory", map[int64]float64{1: 1, 2: 2})
	r.want("vm-1", "cpu", map[int64]float64{1: 7})
	r.want("a_b", "disk.read", map[int64]float64{1: 3})
	r.want("vm-2", "strange_meter", map[int64]float64{1: 4})
	vm := r.resource("vm-1")
	if vm.Type != "instance" || *vm.Project != "p" || *vm.User != "u" || !reflect.DeepEqual(vm.Attributes, map[string]any{"host": "c1", "flavor": "tiny", "vcpus": 2.0}) {
		t.Errorf("vm-1 is %+v", vm)
	}
	if d := r.resource("a_b"); d.Type != "disk" || d.Original != "a_b" || d.Creator != "admin" {
		t.Errorf("the disk is %+v", d)
	}
	if g := r.resource("vm-2"); g.Type != "generic" {
		t.Errorf("a resource of an unknown meter is %+v", g)
	}
	id, _ := index.ResourceID("vm-1", "admin")
	if c, m := r.x.metrics[index.Name{Resource: id, Metric: "cpu"}], r.x.metrics[index.Name{Resource: id, Metric: "memory"}]; c.PolicyID != 2 || m.PolicyID != 1 {
		t.Errorf("policies %d and %d", c.PolicyID, m.PolicyID)
	}
}

// The index is asked only for what is new, and compared only when something went.
func TestKnownSamplesCostTheIndexNothing(t *testing.T) {
	r := newRig(t, "generic", 1000)
	batch := func(second int, host string) []sdk.Sample {
		var list []sdk.Sample
		for n := range 20 {
			for _, meter := range []string{"memory", "cpu.1", "cpu.2", "cpu.3", "cpu.4", "cpu.5", "cpu.6", "cpu.7", "cpu.8", "cpu.9", "cpu.10"} {
				list = append(list, at(second, fmt.Sprint("vm-", n), meter, float64(second), "host", host, "volatile", second))
			}
		}
		return list
	}
	r.publish(batch(1, "c1")...)
	if r.x.ensures != 1 || len(r.x.metrics) != 220 {
		t.Errorf("%d calls for the first batch, %d metrics", r.x.ensures, len(r.x.metrics))
	}
	for second := 2; second < 6; second++ {
		r.publish(batch(second, "c1")...)
	}
	// Metadata changed each time, attributes did not.
	if r.x.ensures != 1 || r.x.revisions != 0 || r.x.lookups != 0 {
		t.Errorf("%d calls, %d revisions, %d comparisons", r.x.ensures, r.x.revisions, r.x.lookups)
	}
	changed := batch(7, "c1")
	changed[3].Metadata["host"] = "c2"
	r.publish(changed...)
	if r.x.ensures != 2 || r.x.revisions != 1 || r.resource("vm-0").Attributes["host"] != "c2" {
		t.Errorf("%d calls, %d revisions", r.x.ensures, r.x.revisions)
	}
	// A new meter of one resource.
	r.publish(append(batch(8, "c1")[11:], at(8, "vm-3", "cpu.new", 8))...)
	if r.x.ensures != 3 {
		t.Errorf("%d calls", r.x.ensures)
	}
	for n := range 20 {
		for _, meter := range []string{"memory", "cpu.1", "cpu.10"} {
			want := map[int64]float64{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 7: 7, 8: 8}
			if n == 0 {
				delete(want, 8)
			}
			r.want(fmt.Sprint("vm-", n), meter, want)
		}
	}
	r.want("vm-3", "cpu.new", map[int64]float64{8: 8})
}

// Attributes that go back to what they were are changed back, too.
func TestAttributesGoBack(t *testing.T) {
	r := newRig(t, "generic", 1000)
	for i, host := range []string{"c1", "c2", "c1", "c1", "c2"} {
		r.publish(at(i, "vm", "cpu", 1, "host", host))
		if got := r.resource("vm").Attributes["host"]; got != host {
			t.Errorf("after %d batches it is %v instead of %s", i+1, got, host)
		}
	}
	if r.x.revisions != 3 {
		t.Errorf("%d revisions", r.x.revisions)
	}
	// Within one batch the last one counts, and what came first is not taken for it.
	r.publish(at(10, "vm", "cpu", 1, "host", "c3"), at(11, "vm", "memory", 1, "host", "c4"))
	if got := r.resource("vm").Attributes["host"]; got != "c4" {
		t.Errorf("it is %v", got)
	}
	r.publish(at(12, "vm", "cpu", 1, "host", "c3"))
	if got := r.resource("vm").Attributes["host"]; got != "c3" {
		t.Errorf("it is %v", got)
	}
	// What a sample does not tell stays.
	before := r.x.revisions
	r.publish(at(13, "vm", "cpu", 1), at(14, "vm", "cpu", 1, "vcpus", 4))
	if a := r.resource("vm").Attributes; a["host"] != "c3" || a["vcpus"] != 4.0 || r.x.revisions != before+1 {
		t.Errorf("it is %v after %d revisions", a, r.x.revisions-before)
	}
}

// What is deleted by hand is there again with the next sample.
func TestDeletedByHand(t *testing.T) {
	r := newRig(t, "generic", 1000)
	r.publish(at(1, "vm", "cpu", 1, "host", "c1"), at(1, "other", "cpu", 1))
	id, _ := index.ResourceID("vm", "admin")
	before := r.x.metrics[index.Name{Resource: id, Metric: "cpu"}].Ref
	r.x.remove(id)
	r.publish(at(2, "vm", "cpu", 2, "host", "c1"), at(2, "other", "cpu", 2))
	if r.resource("vm") == nil || r.resource("vm").Attributes["host"] != "c1" || r.x.metrics[index.Name{Resource: id, Metric: "cpu"}].Ref == before {
		t.Errorf("it is %+v", r.resource("vm"))
	}
	r.want("vm", "cpu", map[int64]float64{2: 2})
	r.want("other", "cpu", map[int64]float64{1: 1, 2: 2})
	// A metric alone.
	r.x.removals++
	delete(r.x.metrics, index.Name{Resource: id, Metric: "cpu"})
	r.publish(at(3, "vm", "cpu", 3))
	r.want("vm", "cpu", map[int64]float64{3: 3})
}

// What another process deletes in an index that both use shows after a while.
func TestSharedIndex(t *testing.T) {
	r := newRig(t, "generic", 1000)
	r.in.known.fresh = time.Nanosecond
	r.publish(at(1, "vm", "cpu", 1))
	id, _ := index.ResourceID("vm", "admin")
	r.x.remove(id)
	r.x.removals = 0 // this process has removed nothing
	r.publish(at(2, "vm", "cpu", 2))
	r.want("vm", "cpu", map[int64]float64{2: 2})
}

func TestFailuresOfTheIndexAreRetried(t *testing.T) {
	r := newRig(t, "generic", 1000)
	b := r.samples(at(1, "vm", "cpu", 1))
	for _, fails := range []bool{true, false, false} {
		if fails {
			r.x.err = errors.New("database is locked")
		}
		err := r.in.publish(t.Context(), b)
		if fails != (err != nil) || errors.As(err, new(*sdk.Refused)) {
			t.Errorf("fails: %v, error: %v", fails, err)
		}
	}
	// Also when it is compared with what is remembered.
	r.x.removals++
	r.x.err = errors.New("database is locked")
	if err := r.in.publish(t.Context(), b); err == nil || !strings.Contains(err.Error(), "database is locked") {
		t.Errorf("error: %v", err)
	}
	id, _ := index.ResourceID("vm", "admin")
	r.x.remove(id)
	if err := r.in.publish(t.Context(), b); err != nil || r.resource("vm") == nil {
		t.Errorf("error: %v, resource %+v", err, r.resource("vm"))
	}
	r.want("vm", "cpu", map[int64]float64{1: 1})
	// The engine's failure is one to be retried as well.
	r.in.engine.Close(t.Context())
	if err := r.in.publish(t.Context(), b); err == nil || errors.As(err, new(*sdk.Refused)) {
		t.Errorf("error: %v", err)
	}
}

func refusedRows(t *testing.T, err error) []int {
	t.Helper()
	var refused *sdk.Refused
	if !errors.As(err, &refused) {
		t.Fatalf("error %v refuses nothing", err)
	}
	return refused.Rows
}

func TestRefusals(t *testing.T) {
	r := newRig(t, "generic", 1000)
	old := at(0, "vm", "cpu", 1)
	old.Timestamp = time.Unix(-5, 0)
	err := r.in.publish(t.Context(), r.samples(
		at(1, "vm", "cpu", 1), at(3700, "vm", "cpu", 2), at(2, "vm", "cpu", 3), old, at(1, strings.Repeat("x", 256), "cpu", 4), at(3599, "vm", "cpu", 5),
	))
	if rows := refusedRows(t, err); !slices.Equal(rows, []int{1, 3, 4}) || !strings.HasPrefix(err.Error(), "3 of 6 rows refused, the first because its time is too far ahead") {
		t.Errorf("rows %v: %v", rows, err)
	}
	r.want("vm", "cpu", map[int64]float64{1: 1, 2: 3, 3599: 5})
	// A resource that cannot be made costs only its own rows.
	err = r.in.publish(t.Context(), r.samples(at(1, "bad", "cpu", 1, "host", "invalid"), at(1, "good", "cpu", 1)))
	if rows := refusedRows(t, err); !slices.Equal(rows, []int{0}) || !strings.Contains(err.Error(), "attribute host is wrong") {
		t.Errorf("rows %v: %v", rows, err)
	}
	r.want("good", "cpu", map[int64]float64{1: 1})
	// So does a metric; one that is there already goes on.
	delete(r.x.policies, "counter")
	counter := at(2, "good", "cpu.2", 1)
	counter.Type = sdk.Cumulative
	err = r.in.publish(t.Context(), r.samples(at(2, "good", "cpu", 2), counter, at(2, "good", "cpu.3", 3)))
	if rows := refusedRows(t, err); !slices.Equal(rows, []int{1}) || !strings.Contains(err.Error(), "Archive policy counter does not exist") {
		t.Errorf("rows %v: %v", rows, err)
	}
	r.want("good", "cpu", map[int64]float64{1: 1, 2: 2})
	r.want("good", "cpu.3", map[int64]float64{2: 3})
	// An attribute that cannot be changed costs no sample of what is there.
	r.publish(at(3, "good", "cpu", 3, "host", "invalid"))
	r.want("good", "cpu", map[int64]float64{1: 1, 2: 2, 3: 3})
}

// A resource that an unknown meter made gets its type when a known one comes.
func TestGenericResourceGetsItsType(t *testing.T) {
	r := newRig(t, "generic", 1000)
	r.publish(at(1, "vm", "strange", 1))
	r.publish(at(2, "vm", "cpu", 2, "host", "c1"))
	r.publish(at(3, "vm", "cpu", 3, "host", "c1"), at(3, "vm", "strange", 3, "host", "c1"))
	r.want("vm", "cpu", map[int64]float64{2: 2, 3: 3})
	r.want("vm", "strange", map[int64]float64{1: 1, 3: 3})
	if vm := r.resource("vm"); vm.Type != "instance" || vm.Attributes["host"] != "c1" {
		t.Errorf("it is %+v", vm)
	}
	if r.x.ensures != 2 || r.x.revisions != 1 || r.log.Len() > 0 {
		t.Errorf("%d calls, %d revisions, log:\n%s", r.x.ensures, r.x.revisions, r.log.String())
	}
	// After a restart the first to come is an unknown one again.
	r.in.known.forget()
	r.publish(at(4, "vm", "strange", 4))
	r.publish(at(5, "vm", "cpu", 5, "host", "c2"))
	if vm := r.resource("vm"); vm.Type != "instance" || vm.Attributes["host"] != "c2" || r.log.Len() > 0 {
		t.Errorf("it is %+v, log:\n%s", vm, r.log.String())
	}
}

// What the index refused of a resource it is told whole when it may take it.
func TestRefusedAttributesAreToldAgain(t *testing.T) {
	r := newRig(t, "generic", 1000)
	r.publish(at(1, "vm", "cpu", 1))
	r.publish(at(2, "vm", "cpu", 2, "host", "invalid", "vcpus", 2))
	r.publish(at(3, "vm", "cpu", 3, "host", "c1", "vcpus", 2))
	if vm := r.resource("vm"); vm.Attributes["host"] != "c1" || vm.Attributes["vcpus"] != 2.0 {
		t.Errorf("it is %+v", vm)
	}
}

func TestUnknownMetersAreDropped(t *testing.T) {
	r := newRig(t, "drop", 1000)
	for range 3 {
		r.publish(at(1, "vm", "strange", 1), at(1, "vm", "cpu", 1), at(2, "vm", "stranger", 1))
	}
	r.want("vm", "strange", nil)
	r.want("vm", "cpu", map[int64]float64{1: 1})
	if log := r.log.String(); strings.Count(log, "meter=strange") != 2 || strings.Count(log, "\n") != 2 {
		t.Errorf("log:\n%s", log)
	}
	// A name for each request does not fill the log.
	for n := range 1000 {
		r.publish(at(1, "vm", fmt.Sprint("request-", n), 1))
	}
	r.now = r.now.Add(time.Minute)
	r.publish(at(1, "vm", "one more", 1))
	if log := r.log.String(); strings.Count(log, "\n") != maxUnknown+2 || !strings.Contains(log, "count=902") {
		t.Errorf("log:\n%s", log)
	}
}

func TestLateSamplesAreTold(t *testing.T) {
	r := newRig(t, "generic", 1000)
	r.publish(at(600, "vm", "cpu", 1))
	for range 3 {
		r.publish(at(1, "vm", "cpu", 2), at(601, "vm", "cpu", 3))
	}
	r.want("vm", "cpu", map[int64]float64{600: 1, 601: 3})
	r.now = r.now.Add(time.Minute)
	r.publish(at(1, "vm", "cpu", 2))
	var counts []string
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, "too late") {
			counts = append(counts, strings.TrimSpace(line[strings.Index(line, "count="):]))
		}
	}
	if !slices.Equal(counts, []string{"count=1", "count=3"}) {
		t.Errorf("log:\n%s", r.log.String())
	}
}

// What is remembered is bounded, and what was forgotten is found again.
func TestMemoryIsBounded(t *testing.T) {
	r := newRig(t, "generic", 10)
	for round := range 4 {
		for n := range 50 {
			r.publish(at(round, fmt.Sprint("vm-", n), "cpu", float64(round)), at(round, "busy", "cpu", float64(round)))
			if all := len(r.in.known.young) + len(r.in.known.old); all > 12 {
				t.Fatalf("%d resources are remembered", all)
			}
		}
	}
	for n := range 50 {
		r.want(fmt.Sprint("vm-", n), "cpu", map[int64]float64{0: 0, 1: 1, 2: 2, 3: 3})
	}
	if r.x.ensures != 200 || r.x.revisions != 0 {
		t.Errorf("%d calls, %d revisions", r.x.ensures, r.x.revisions)
	}
	r.want("busy", "cpu", map[int64]float64{0: 0, 1: 1, 2: 2, 3: 3})
	// A meter per request does not fill the memory either.
	for n := range maxMeters + 10 {
		r.in.known.meter(sdk.Meter{Name: fmt.Sprint("m", n)})
	}
	r.publish(at(10, "busy", "cpu", 10))
	if n := len(r.in.known.meters); n != 1 {
		t.Errorf("%d meters are remembered", n)
	}
	r.want("busy", "cpu", map[int64]float64{0: 0, 1: 1, 2: 2, 3: 3, 10: 10})
}

func TestEventsChangeResources(t *testing.T) {
	r := newRig(t, "generic", 1000)
	event := func(typ string, second int, traits ...sdk.Trait) error {
		return r.in.publish(t.Context(), r.build(func(out *sdk.Builder) {
			out.AddEvent(sdk.Event{MessageID: "x", EventType: "else", Generated: time.Unix(1, 0)})
			out.AddEvent(sdk.Event{MessageID: "y", EventType: typ, Generated: time.Unix(1_700_000_000+int64(second), 0), Traits: traits})
		}))
	}
	text := func(name, value string) sdk.Trait { return sdk.Trait{Name: name, Type: sdk.Text, Value: value} }
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(event("instance.update", 1, text("instance_id", "vm"), text("host", "c9")))
	if r.resource("vm") != nil {
		t.Error("an update makes a resource of which nothing is known")
	}
	ok(event("instance.create", 1, text("instance_id", "vm"), text("host", "c1"), text("project_id", "p")))
	vm := r.resource("vm")
	if vm == nil || vm.Type != "instance" || vm.Attributes["host"] != "c1" || *vm.Project != "p" || vm.Started.Unix() != 1_700_000_001 {
		t.Fatalf("it is %+v", vm)
	}
	ok(event("instance.update", 2, text("instance_id", "vm"), text("host", "c2")))
	if vm.Attributes["host"] != "c2" {
		t.Errorf("it is %+v", vm)
	}
	r.publish(at(3, "vm-vda", "disk.read", 1, "instance_id", "vm"))
	ok(event("instance.delete", 5, text("instance_id", "vm")))
	disk := r.resource("vm-vda")
	if vm.Ended == nil || vm.Ended.Unix() != 1_700_000_005 || disk.Ended == nil {
		t.Errorf("ended %v, its disk %v", vm.Ended, disk.Ended)
	}
	// Again: nothing changes. Of what is not known nothing is said.
	changes := r.x.changes
	ok(event("instance.delete", 9, text("instance_id", "vm")))
	ok(event("instance.delete", 9, text("instance_id", "none")))
	if r.x.changes != changes {
		t.Error("an event that comes again changes something")
	}
	// What cannot be done is refused, what fails is retried.
	if rows := refusedRows(t, event("instance.create", 1, text("instance_id", "bad"), text("host", "invalid"))); !slices.Equal(rows, []int{1}) {
		t.Errorf("rows %v", rows)
	}
	r.x.err = errors.New("locked")
	if err := event("instance.delete", 5, text("instance_id", "vm")); err == nil || errors.As(err, new(*sdk.Refused)) {
		t.Errorf("error %v", err)
	}
	ok(event("instance.delete", 5))
	if !strings.Contains(r.log.String(), "event_type=instance.delete what=instance") {
		t.Errorf("log:\n%s", r.log.String())
	}
}
