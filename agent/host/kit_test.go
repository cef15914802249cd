package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/spool"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/wire"
)

// The test's own executable is the plugin, when this variable names its kind.
const pluginVariable = "NEPHO_HOST_TEST_PLUGIN"

func TestMain(m *testing.M) {
	switch kind := os.Getenv(pluginVariable); kind {
	case "publisher":
		sdk.Serve(sdk.Plugin{Name: "obedient", Publisher: func() sdk.Publisher { return &obedient{} }})
	case "transformer":
		sdk.Serve(sdk.Plugin{Name: "obedient", Transformer: func() sdk.Transformer { return &obedient{} }})
	case "storage":
		sdk.Serve(sdk.Plugin{Name: "obedient", Storage: func() sdk.Storage { return &asked{} }})
	case "plain":
		sdk.Serve(sdk.Plugin{Name: "obedient", Storage: func() sdk.Storage { return &plain{} }})
	case "alarm":
		sdk.Serve(sdk.Plugin{Name: "obedient", Alarm: func() sdk.Alarm { return &asking{} }})
	case "measured", "forger":
		sdk.Serve(measuredPlugin())
	case "tolerant":
		sdk.Serve(sdk.Plugin{Name: "obedient", Transformer: func() sdk.Transformer { return new(tolerantly) }})
	default:
		// A process's pipes are read for a while after its end.
		const supervisor = "github.com/nephoscope/nepho/agent/supervisor."
		parts.Main(m, goleak.IgnoreAnyFunction(supervisor+"(*process).Start.func1"), goleak.IgnoreAnyFunction(supervisor+"bridge"))
	}
}

// obedient is a publisher and a transformer that does what the names of samples
// tell it, and keeps what it takes in its folder.
type obedient struct{ dir string }

func (o *obedient) Start(_ context.Context, env sdk.Env) error {
	o.dir = env.StateDir
	return os.MkdirAll(o.dir, 0o750)
}

// take does what a batch tells; done is what Publish or Transform answers then.
func (o *obedient) take(b *sdk.Batch) (done bool, err error) {
	var rows []int
	for i, s := range b.Samples() {
		switch s.Name {
		case "refuse":
			return true, sdk.Refuse(errors.New("refused as asked"))
		case "refuse.row":
			rows = append(rows, i)
		case "die":
			os.Exit(3)
		case "die.once":
			if first(filepath.Join(o.dir, "died")) {
				os.Exit(3)
			}
		case "retry":
			if _, err := os.Stat(filepath.Join(o.dir, "enough")); errors.Is(err, fs.ErrNotExist) {
				return true, errors.New("not yet")
			}
		case "hang":
			for {
				if _, err := os.Stat(filepath.Join(o.dir, "enough")); err == nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
	if len(rows) > 0 {
		err = sdk.RefuseRows(errors.New("row refused as asked"), rows)
	}
	return false, err
}

func first(file string) bool {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o640)
	if err == nil {
		f.Close()
	}
	return err == nil
}

func (o *obedient) Publish(_ context.Context, b *sdk.Batch) error {
	done, err := o.take(b)
	if done {
		return err
	}
	f, e := os.OpenFile(filepath.Join(o.dir, "taken"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if e != nil {
		return e
	}
	defer f.Close()
	for _, s := range b.Samples() {
		if s.Name != "refuse.row" {
			if _, e := fmt.Fprintf(f, "%g\n", s.Volume); e != nil {
				return e
			}
		}
	}
	return err
}

func (o *obedient) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	if done, err := o.take(in); done || err != nil {
		return err
	}
	for _, s := range in.Samples() {
		if s.Name == "double" {
			out.Add(s)
		}
	}
	out.Forward(in)
	return nil
}

// tolerantly passes everything on.
type tolerantly struct{}

func (*tolerantly) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	out.Forward(in)
	return nil
}

// startInstance starts the plugin with one instance, and gives its folder.
func startInstance(t *testing.T, kind, name string) (*supervisor.Instance, string) {
	t.Helper()
	return addInstance(t, startProcess(t, kind), name)
}

// addInstance has a process start an instance, and gives its folder.
func addInstance(t *testing.T, p *supervisor.Process, name string) (*supervisor.Instance, string) {
	t.Helper()
	dir := t.TempDir()
	in := p.Add(&wire.StartRequest{Instance: name, StateDir: dir, LogLevel: "info"})
	t.Cleanup(func() { in.Stop(context.Background()) }) //nolint:errcheck // some are killed before
	return in, dir
}

// startProcess starts the plugin without an instance.
func startProcess(t *testing.T, kind string) *supervisor.Process {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sockets := shortDir(t)
	plugin := "obedient"
	if as := map[string]string{"measured": "mail", "forger": "sink"}[kind]; as != "" {
		plugin = as
	}
	p := supervisor.Start(supervisor.Spec{
		Kind: strings.NewReplacer("tolerant", "transformer", "plain", "storage", "measured", "publisher", "forger", "publisher").Replace(kind), Name: plugin, Path: path, Bundled: true, SocketDir: sockets, Log: slog.New(slog.DiscardHandler),
		Env: []string{pluginVariable + "=" + kind, "TMPDIR=" + sockets},
	})
	t.Cleanup(p.Stop)
	return p
}

// shortDir makes a folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// taken reads what a publisher took.
func taken(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "taken"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// enough lets a plugin go on that asked for a retry or hangs.
func enough(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "enough"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
}

// samples makes an encoded batch: names, with the volumes first, first+1 and so on.
func samples(t testing.TB, first int, names ...string) []byte {
	t.Helper()
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		for i, name := range names {
			out.Add(sdk.Sample{Name: name, Type: sdk.Gauge, ResourceID: "r", Volume: float64(first + i), Timestamp: time.Unix(1_700_000_000, 0)})
		}
		return nil
	})
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches: %v", len(batches), err)
	}
	data, err := batches[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// outcome is what became of a parcel.
type outcome struct {
	done chan struct{}
	err  error
}

// newParcel makes a parcel of samples. Its fate is told when the test has called
// done on it and all else is over.
func newParcel(t testing.TB, held bool, first int, names ...string) (parcel, *outcome) {
	t.Helper()
	o := &outcome{done: make(chan struct{})}
	f := newFate(func(err error) {
		o.err = err
		close(o.done)
	})
	data := samples(t, first, names...)
	return parcel{data: data, samples: uint32(len(names)), fate: f, held: held}, o
}

// wait waits for the outcome.
func (o *outcome) wait(t testing.TB) error {
	t.Helper()
	select {
	case <-o.done:
		return o.err
	case <-time.After(time.Minute):
		t.Fatal("a parcel's fate was never told")
		return nil
	}
}

// patience is how long tests wait for what must come. It is less than the pause of a
// process in a crash loop, which none of these tests may cause.
const patience = 55 * time.Second

// eventually waits until check gives "".
func eventually(t testing.TB, check func() string) {
	t.Helper()
	wrong := ""
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(2 * time.Millisecond) {
		if wrong = check(); wrong == "" {
			return
		}
	}
	t.Fatal(wrong)
}

// newSink makes a sink with a publisher of its own that is not started; its spool
// is in memory.
func newSink(t *testing.T, limit int64) (s *sink, dir string) {
	t.Helper()
	in, dir := startInstance(t, "publisher", "p")
	sp, err := spool.Open(spool.Options{Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	i := &config.Instance{Kind: config.Publisher}
	i.Spool, i.RetryMin, i.RetryMax = "memory", time.Millisecond, 10*time.Millisecond
	s = &sink{
		name: "pipeline/p", publisher: i, spool: sp, gate: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler),
		dead:   &deadLetters{path: filepath.Join(t.TempDir(), "dead", "letters.jsonl"), log: slog.New(slog.DiscardHandler)},
		caller: caller{instance: in, timeout: time.Minute, patience: 2},
	}
	return s, dir
}

// run starts a sink for the rest of the test.
func run(t *testing.T, s *sink) {
	t.Helper()
	s.start()
	t.Cleanup(func() { s.stop(t.Context()) })
}

// give appends a parcel to a sink and ends the test's part in its fate.
func give(t *testing.T, s *sink, held bool, first int, names ...string) *outcome {
	t.Helper()
	p, o := newParcel(t, held, first, names...)
	if err := s.append(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	p.fate.done(nil)
	return o
}

// expectSink compares a sink's counters once nothing waits any more.
func expectSink(t *testing.T, s *sink, appended, published, refused, dropped uint64) {
	t.Helper()
	eventually(t, func() string {
		k := s.status()
		if k.Recovered+k.Appended != k.Published+k.Refused+k.DroppedFull+k.Waiting {
			t.Fatalf("counters do not add up: %+v", k)
		}
		if k.Appended == appended && k.Published == published && k.Refused == refused && k.DroppedFull == dropped && k.Waiting == 0 {
			return ""
		}
		return fmt.Sprintf("want %d appended, %d published, %d refused, %d dropped: %+v", appended, published, refused, dropped, k)
	})
}

// letters reads a dead letter file, a line each.
func letters(t *testing.T, d *deadLetters) []string {
	t.Helper()
	text, err := os.ReadFile(d.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}

// newPipeline starts a pipeline for the rest of the test, with a transformer for
// each folder that it gives.
func newPipeline(t *testing.T, queueLimit int64, transformers int, p *pipeline) (dirs []string) {
	t.Helper()
	p.log = slog.New(slog.DiscardHandler)
	p.dead = &deadLetters{path: filepath.Join(t.TempDir(), "letters.jsonl"), log: slog.New(slog.DiscardHandler)}
	if p.config == nil {
		p.config = &config.Pipeline{Name: "pipeline"}
	}
	for n := range transformers {
		in, dir := startInstance(t, "transformer", fmt.Sprintf("t%d", n))
		p.chain = append(p.chain, &stage{caller: caller{instance: in, timeout: time.Minute, patience: 2}})
		dirs = append(dirs, dir)
	}
	p.start(queueLimit)
	t.Cleanup(func() { p.stop(t.Context()) })
	return dirs
}

// send offers a parcel to a pipeline and ends the test's part in its fate.
func send(t *testing.T, p *pipeline, held bool, first int, names ...string) *outcome {
	t.Helper()
	item, o := newParcel(t, held, first, names...)
	if err := p.offer(t.Context(), item); err != nil {
		t.Fatal(err)
	}
	item.fate.done(nil)
	return o
}

// expectPipeline compares a pipeline's counters once nothing waits any more.
func expectPipeline(t *testing.T, p *pipeline, filtered, dropped, refused, transformed, out uint64) {
	t.Helper()
	eventually(t, func() string {
		s := p.status()
		if s.In == filtered+dropped+refused+transformed && s.Waiting == 0 && s.Filtered == filtered && s.Dropped == dropped &&
			s.Refused == refused && s.Transformed == transformed && s.Out == out {
			return ""
		}
		return fmt.Sprintf("want %d filtered, %d dropped, %d refused, %d transformed, %d out: %+v", filtered, dropped, refused, transformed, out, s)
	})
}
