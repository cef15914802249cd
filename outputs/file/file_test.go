package file

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

// start makes an instance of the options in the test's own process.
func start(t testing.TB, toml string) *publisher {
	t.Helper()
	p, err := launch(t, toml)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func launch(t testing.TB, toml string) (*publisher, error) {
	t.Helper()
	table, problems := config.Parse("test.toml", []byte(toml))
	p := &publisher{}
	if problems = append(problems, table.Decode(p)...); len(problems) > 0 {
		t.Fatal(config.Join(problems))
	}
	t.Cleanup(func() { p.Stop(context.Background()) })
	return p, p.Start(t.Context(), sdk.Env{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
}

// batch makes a batch of n samples with volumes from first on.
func batch(t testing.TB, first, n int) *sdk.Batch {
	t.Helper()
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		s := out.On(sdk.Resource{ID: "vm-1", ProjectID: "p", Metadata: sdk.Metadata{"display_name": "a <b>", "vcpus": 2}})
		for i := range n {
			s.Gauge("meter", "B", float64(first+i))
		}
		return nil
	})
	if err != nil || len(batches) != 1 {
		t.Fatalf("got %d batches and error %v", len(batches), err)
	}
	return batches[0]
}

func publish(t testing.TB, p *publisher, first, n int) {
	t.Helper()
	if err := p.Publish(t.Context(), batch(t, first, n)); err != nil {
		t.Fatal(err)
	}
}

// volumes reads a file of JSON lines strictly.
func volumes(t testing.TB, text []byte) []float64 {
	t.Helper()
	if len(text) > 0 && text[len(text)-1] != '\n' {
		t.Errorf("the last line is not whole: %q", text[max(0, len(text)-60):])
	}
	var v []float64
	for line := range bytes.Lines(text) {
		var s sdk.Sample
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		v = append(v, s.Volume)
	}
	return v
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// count gives 0, 1, ... n-1.
func count(n int) (v []float64) {
	for i := range n {
		v = append(v, float64(i))
	}
	return v
}

func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.json")
	p := start(t, fmt.Sprintf(`path = %q`, path))
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		out.Add(sdk.Sample{ID: "i", Name: "cpu", Type: sdk.Cumulative, Unit: "ns", Volume: 5, ResourceID: "vm-1", Timestamp: at})
		out.AddEvent(sdk.Event{MessageID: "m", EventType: "boot", Generated: at, Traits: []sdk.Trait{{Name: "n", Type: sdk.Integer, Value: int64(1)}}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), batches[0]); err != nil {
		t.Fatal(err)
	}
	want := `{"name":"cpu","type":"cumulative","unit":"ns","volume":5,"resource_id":"vm-1","timestamp":"2026-01-02T03:04:05.000000006Z","id":"i"}
{"message_id":"m","event_type":"boot","generated":"2026-01-02T03:04:05.000000006Z","traits":[{"name":"n","type":"integer","value":1}]}
`
	if got := string(read(t, path)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if info, _ := os.Stat(path); info.Mode() != 0o640 {
		t.Errorf("the file has mode %v", info.Mode())
	}
}

func TestOptions(t *testing.T) {
	p := sdktest.Start(t, `path = "/dev/null"`)
	f := func(toml, want string) {
		t.Helper()
		problems, err := p.Check(t.Context(), toml)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(problems); (want == "") != (len(problems) == 0) || !strings.Contains(got, want) {
			t.Errorf("%s: got %v, want %q", toml, got, want)
		}
	}
	f(`path = "x"`, "")
	f("path = 'x'\nmode = '0600'\nrotate_size = '10MiB'\nrotate_age = '1d'\nsync = 'none'", "")
	f(``, "required")
	f("path = 'x'\nmode = '0999'", "octal")
	f("path = 'x'\nmode = 'rw'", "octal")
	f("path = 'x'\nsync = 'always'", "sync")
	f("path = 'x'\nrotate_keep = -1", "rotate_keep")
}

func TestUnusableFiles(t *testing.T) {
	dir := t.TempDir()
	f := func(path, want string) {
		t.Helper()
		if _, err := launch(t, fmt.Sprintf(`path = %q`, path)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", path, err, want)
		}
	}
	f(filepath.Join(dir, "missing", "file"), "no such file")
	other := filepath.Join(dir, "passwd")
	os.WriteFile(other, []byte("root:x:0:0"), 0o600)
	f(other, "a file of its own")
	if got := string(read(t, other)); got != "root:x:0:0" {
		t.Errorf("a stranger's file became %q", got)
	}
	path := filepath.Join(dir, "shared")
	start(t, fmt.Sprintf(`path = %q`, path))
	f(path, "written by another instance")
}

func TestTornEndIsRepaired(t *testing.T) {
	line := `{"name":"a","type":"gauge","volume":0}`
	f := func(before, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		p := start(t, fmt.Sprintf(`path = %q`, path))
		if got := string(read(t, path)); got != want {
			t.Errorf("%.80q of %d bytes became %.80q of %d, want %.80q", before, len(before), got, len(got), want)
		}
		publish(t, p, 0, 3)
		volumes(t, read(t, path))
	}
	f("", "")
	f(line+"\n", line+"\n")
	f(line, line+"\n")
	f(line+"\n"+line[:20], line+"\n")
	f(line+"\n{", line+"\n")
	f(line[:20], "")
	f(line+"\n\x00\x00\x00", line+"\n")
	f(line+"\n"+line[:10]+"\x00\x00", line+"\n")
	long := `{"name":"` + strings.Repeat("x", 200_000)
	f(line+"\n"+long, line+"\n")
	f(line+"\n"+long+`","volume":1}`, line+"\n"+long+`","volume":1}`+"\n")
}

func FuzzRepair(f *testing.F) {
	f.Add([]byte("{\"volume\":1,\"name\":\"a\"}\n{\"na"))
	f.Add([]byte("{}\n\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		r := &regular{path: path, mode: 0o600, log: slog.New(slog.DiscardHandler)}
		err := r.open()
		got := read(t, path)
		whole := text[:bytes.LastIndexByte(text, '\n')+1]
		switch {
		case err != nil && bytes.Equal(got, text):
		case err == nil && bytes.HasPrefix(got, whole) && (len(got) == 0 || got[len(got)-1] == '\n') && len(got) <= len(text)+1:
		default:
			t.Errorf("%q became %q with error %v", text, got, err)
		}
		r.close()
	})
}

// logrotate moves the file away, or copies and empties it.
func TestFileMovedAwayOrEmptied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.json")
	p := start(t, fmt.Sprintf("path = %q", path))
	publish(t, p, 0, 1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	publish(t, p, 1, 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	publish(t, p, 2, 1)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	publish(t, p, 3, 1)
	if a, b := volumes(t, read(t, path+".1")), volumes(t, read(t, path)); !slices.Equal(a, []float64{0}) || !slices.Equal(b, []float64{3}) {
		t.Errorf("the old file holds %v, the new one %v", a, b)
	}
}

// A file that may not grow any further is what a full disk looks like: a write
// that ends in the middle of a line, and then an error.
func TestNoSpace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.json")
	p := start(t, fmt.Sprintf("path = %q", path))
	// The limit is on all files of the process, so that this one has to be larger
	// than what package testing writes.
	const n = 10_000
	for first := 0; first < n; first += 1000 {
		publish(t, p, first, 1000)
	}
	whole := read(t, path)

	signal.Ignore(syscall.SIGXFSZ)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	small := limit
	small.Cur = uint64(len(whole) + 500)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	var errs []error
	for range 3 {
		errs = append(errs, p.Publish(t.Context(), batch(t, n, 10)))
	}
	full := read(t, path)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, err := range errs {
		if !errors.Is(err, syscall.EFBIG) {
			t.Errorf("got error %v", err)
		}
	}
	if !bytes.Equal(full, whole) {
		t.Errorf("a failed batch left %d bytes", len(full)-len(whole))
	}
	publish(t, p, n, 10)
	if got := volumes(t, read(t, path)); !slices.Equal(got, count(n+10)) {
		t.Errorf("got %v", got)
	}
}

// Nobody reads a pipe: no writer waits for longer than its context, and when
// somebody reads again all is there, in whole lines.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, fmt.Sprintf("path = %q", path))
	if err := p.Publish(t.Context(), batch(t, 0, 1)); err == nil || !strings.Contains(err.Error(), "nobody reads the pipe") {
		t.Errorf("without a reader: got error %v", err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	const n = 1500 // far more than a pipe holds
	large := batch(t, 0, n)
	hang := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := p.Publish(ctx, large); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v", err)
		}
	}
	for p.stream.done == nil { // until there was time to begin
		hang()
	}
	hang()
	type result struct {
		text []byte
		err  error
	}
	come := make(chan result)
	go func() {
		text, err := io.ReadAll(reader)
		come <- result{text, err}
	}()
	publish(t, p, n, 1)
	p.Stop(t.Context())
	r := <-come
	if r.err != nil {
		t.Fatal(r.err)
	}
	if got := volumes(t, r.text); !slices.Equal(got, count(n+1)) {
		t.Errorf("got %d samples", len(got))
	}
}

func TestStandardOutput(t *testing.T) {
	if _, err := sdktest.Launch(t, sdktest.Options{Config: `path = "-"`}); err == nil || !strings.Contains(err.Error(), "standard output") {
		t.Errorf("without one: got error %v", err)
	}
	// Standard error stands in for it, for that is what the kit can read.
	p := sdktest.StartWith(t, sdktest.Options{Config: `path = "-"`, Env: []string{sdk.StdoutFDVariable + "=2"}})
	if err := p.Publish(t.Context(), sdk.Sample{Name: "seen", Volume: 7, ResourceID: "r"}); err != nil {
		t.Fatal(err)
	}
	p.AwaitStderr(`{"name":"seen","type":"gauge","volume":7,"resource_id":"r"`)
}

// The sample's options, their comment signs removed, are the defaults.
func TestSampleShowsTheDefaults(t *testing.T) {
	var b strings.Builder
	for line := range strings.Lines(sample) {
		if text, ok := strings.CutPrefix(line, "# "); ok && strings.Contains(text, "=") {
			line = text
		}
		b.WriteString(line)
	}
	table, problems := config.Parse("sample.toml", []byte(b.String()))
	if len(problems) > 0 {
		t.Fatal(config.Join(problems))
	}
	options := table.Get("publisher").Table.Get("file").List[0].Table
	got, want := &publisher{}, &publisher{}
	minimal, _ := config.Parse("", []byte(`path = "/var/lib/nepho/samples.json"`))
	if problems := append(options.Decode(got), minimal.Decode(want)...); len(problems) > 0 {
		t.Fatal(config.Join(problems))
	}
	if !reflect.DeepEqual(got, want) || options.Len() != len(config.Options(got)) {
		t.Errorf("the sample says %+v, the defaults are %+v", got, want)
	}
}

// Killed in the middle of whatever it does, the publisher leaves a file that its
// successor completes, and what was published is in it.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.json")
	p := sdktest.Start(t, fmt.Sprintf("path = %q\nrotate_size = '300KiB'\nrotate_keep = 0", path))
	taken := 0
	for round := range 5 {
		taking, killed := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(killed)
			<-taking
			time.Sleep(time.Duration(20+10*round) * time.Millisecond)
			p.Kill()
		}()
		for first := true; ; first = false {
			data, err := batch(t, taken, 500).Encode()
			if err != nil {
				t.Fatal(err)
			}
			err = p.PublishBatch(t.Context(), data)
			if first {
				close(taking)
				if err != nil {
					t.Error(err)
				}
			}
			if err != nil {
				break
			}
			taken += 500
		}
		<-killed
		p.Restart()
	}
	data, err := batch(t, taken, 1).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.PublishBatch(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(path + "*")
	seen := map[float64]bool{}
	for _, name := range files {
		for _, v := range volumes(t, read(t, name)) {
			seen[v] = true
		}
	}
	for i := range taken + 1 {
		if !seen[float64(i)] {
			t.Fatalf("sample %d of %d is lost", i, taken)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, sync := range []string{"none", "batch"} {
		b.Run(sync, func(b *testing.B) {
			p := start(b, fmt.Sprintf("path = %q\nsync = %q\nrotate_size = '64MiB'\nrotate_keep = 1", filepath.Join(b.TempDir(), "f"), sync))
			one := batch(b, 0, 1000)
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Publish(b.Context(), one); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/sample")
		})
	}
}
