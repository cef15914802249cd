package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shirou/gopsutil/v4/disk"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

func row(m sdk.MeterInfo) string {
	return fmt.Sprintf("| `%s` | %v | %s | %s |", m.Name, m.Type, m.Unit, m.Doc)
}

func TestREADMEHasAllMeters(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range meters() {
		if !strings.Contains(string(readme), row(m)+"\n") {
			t.Errorf("README.md lacks the line %s", row(m))
		}
	}
}

// The sample's options, their comment signs removed, are the defaults.
func TestSampleShowsTheDefaults(t *testing.T) {
	var b strings.Builder
	for line := range strings.Lines(sample) {
		if text, ok := strings.CutPrefix(line, "# "); ok && (strings.Contains(text, "=") || strings.HasPrefix(strings.TrimSpace(text), `"`)) {
			line = text
		}
		b.WriteString(line)
	}
	table, problems := config.Parse("sample.toml", []byte(b.String()))
	if len(problems) > 0 {
		t.Fatal(config.Join(problems))
	}
	options := table.Get("pollster").Table.Get("host").List[0].Table
	got, want := &host{}, &host{}
	if problems := append(options.Decode(got), (*config.Table)(nil).Decode(want)...); len(problems) > 0 {
		t.Fatal(config.Join(problems))
	}
	if n := len(config.Options(got)); options.Len() != n {
		t.Errorf("the sample has %d options of %d", options.Len(), n)
	}
	if a, b := fmt.Sprint(got.Collect, got.PerCPU, got.Devices, got.Partitions, got.Mounts, got.FSTypes, got.MountTimeout, got.Interfaces, got.Hostname, got.Root),
		fmt.Sprint(want.Collect, want.PerCPU, want.Devices, want.Partitions, want.Mounts, want.FSTypes, want.MountTimeout, want.Interfaces, want.Hostname, want.Root); a != b {
		t.Errorf("the sample says\n%s\nthe defaults are\n%s", a, b)
	}
}

// start makes an instance of the options in the test's own process.
func start(t testing.TB, toml string) *host {
	t.Helper()
	table, problems := config.Parse("test.toml", []byte(toml))
	h := &host{}
	if problems = append(problems, table.Decode(h)...); len(problems) > 0 {
		t.Fatal(config.Join(problems))
	}
	if err := h.Start(t.Context(), sdk.Env{}); err != nil {
		t.Fatal(err)
	}
	return h
}

func poll(t *testing.T, h *host) ([]sdk.Sample, error) {
	t.Helper()
	var pollErr error
	batches, err := sdk.Build("host", func(out *sdk.Builder) error {
		pollErr = h.Poll(t.Context(), out)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var samples []sdk.Sample
	for _, b := range batches {
		for _, s := range b.Samples() {
			samples = append(samples, s)
		}
	}
	return samples, pollErr
}

func TestThisMachine(t *testing.T) {
	p := sdktest.Start(t, `per_cpu = true
hostname = "node1"
mount_timeout = "1m"
interfaces = []`)
	samples, err := p.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]sdk.Meter{}
	for _, m := range meters() {
		declared[m.Name] = m.Meter
	}
	groups, ids := map[string]bool{}, map[string]bool{}
	values := map[string]float64{}
	for _, s := range samples {
		if m := (sdk.Meter{Name: s.Name, Type: s.Type, Unit: s.Unit}); declared[s.Name] != m {
			t.Errorf("%v is declared as %v", m, declared[s.Name])
		}
		if s.ResourceID != "node1" && !strings.HasPrefix(s.ResourceID, "node1.") || s.Metadata["host"] != "node1" {
			t.Errorf("%s has resource %q and metadata %v", s.Name, s.ResourceID, s.Metadata)
		}
		if s.Volume < 0 || ids[s.Name+s.ResourceID] {
			t.Errorf("%s of %s is %v or there twice", s.Name, s.ResourceID, s.Volume)
		}
		ids[s.Name+s.ResourceID] = true
		values[s.Name] = s.Volume
		groups[strings.Split(s.Name, ".")[1]] = true
	}
	for _, g := range []string{"cpu", "memory", "swap", "load", "disk", "filesystem", "network", "system"} {
		if !groups[g] {
			t.Errorf("nothing on %s", g)
		}
	}
	if !ids["host.cpu.core.usernode1.cpu0"] || !ids["host.network.incoming.bytesnode1.lo"] || !ids["host.filesystem.totalnode1./"] {
		t.Errorf("cpu0, lo or / is missing in %v", ids)
	}
	if v := values["host.memory.used"] + values["host.memory.available"]; v != values["host.memory.total"] {
		t.Errorf("memory used and available are %v of %v", v, values["host.memory.total"])
	}
}

func TestOptions(t *testing.T) {
	p := sdktest.Start(t, "")
	f := func(toml string, want ...string) {
		t.Helper()
		problems, err := p.Check(t.Context(), toml)
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range want {
			if len(problems) <= i || !strings.Contains(problems[i].Error(), w) {
				t.Errorf("%s: got %v, want %q", toml, problems, w)
			}
		}
		if len(problems) != len(want) {
			t.Errorf("%s: got %v, want %d problems", toml, problems, len(want))
		}
	}
	f(``)
	f(`collect = ["cpu", "disc"]`, "disc")
	f(`device = ["sda"]`, "unknown option")
	f("devices = [\"a\", \"b[\"]\nroot = \"host\"", `"b["`, "absolute")
	f(`mount_timeout = "0s"`, "mount_timeout")
}

func TestOnlyWhatIsWanted(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Config: `collect = ["load", "memory"]`, Meters: []string{"host.load.*", "host.cpu.*", "!*.5min"}})
	samples, err := p.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range samples {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); got != "host.load.1min host.load.15min" {
		t.Errorf("got %s", got)
	}
}

// A machine that is mounted somewhere, as in a container, with parts missing.
func TestRoot(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/hostname", "big\n")
	write("proc/stat", "cpu  100 1 50 2000 7 3 4 5 20 0\ncpu0 50 1 25 1000 7 3 4 5 20 0\ncpu1 50 0 25 1000 0 0 0 0 0 0\nctxt 99\n")
	write("proc/1/net/dev", "Inter-| Receive | Transmit\n face |bytes\n  lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\neth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\ntap1: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"+
		"ifb0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\ndummy0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n")
	write("proc/diskstats", "8 0 sda 5 0 16 7 2 0 8 3 1 11 12 0 0\n8 1 sda1 5 0 16 7 2 0 8 3 1 11 12 0 0\n7 0 loop0 5 0 16 7 2 0 8 3 1 11 12 0 0\n")
	write("sys/block/sda/size", "1")
	write("sys/block/loop0/size", "1")
	write("data/file", "")
	write("proc/1/mountinfo", "1 0 8:1 / /data rw - ext4 /dev/sda1 rw\n2 0 0:9 / /gone rw - nfs4 server:/x rw\n")
	write("proc/filesystems", "\text4\n")

	h := start(t, fmt.Sprintf("root = %q\nper_cpu = true\nmount_timeout = '1m'\ncollect = ['cpu', 'memory', 'network', 'disk', 'filesystem']", root))
	samples, err := poll(t, h)
	for _, want := range []string{"cannot collect memory: ", "cannot collect filesystem: file system " + root + "/gone: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
	var got []string
	for _, s := range samples {
		if !strings.HasPrefix(s.Name, "host.filesystem.") || s.Name == "host.filesystem.total" && s.Volume > 0 {
			got = append(got, fmt.Sprintf("%s %s %v", s.Name, s.ResourceID, s.Volume))
		}
	}
	for _, want := range []string{
		"host.cpu.count big 2", "host.cpu.user big 1e+09", "host.cpu.busy big 1.63e+09", "host.cpu.core.steal big.cpu0 5e+07",
		"host.network.incoming.bytes big.eth0 10", "host.network.incoming.packets big.eth0 2", "host.network.incoming.packets.error big.eth0 3",
		"host.network.incoming.packets.drop big.eth0 4", "host.network.outgoing.bytes big.eth0 50", "host.network.outgoing.packets.drop big.eth0 8",
		"host.disk.read.bytes big.sda 8192", "host.disk.read.time big.sda 7e+06", "host.disk.write.requests big.sda 2",
		"host.disk.io.in_progress big.sda 1", "host.disk.io.time big.sda 1.1e+07", "host.disk.io.weighted_time big.sda 1.2e+07",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, strings.Join(got, "\n"))
		}
	}
	if n := 1 + 11 + 2*11 + 8 + 9 + 1; len(got) != n {
		t.Errorf("got %d samples, want %d:\n%s", len(got), n, strings.Join(got, "\n"))
	}
}

func TestSelectMounts(t *testing.T) {
	h := start(t, `mounts = ["!/run/*", "!/data"]`)
	var got []string
	for _, m := range h.selectMounts([]disk.PartitionStat{
		{Device: "overlay", Mountpoint: "/", Fstype: "overlay"},
		{Device: "/dev/sda1", Mountpoint: "/data", Fstype: "ext4"},
		{Device: "/dev/sda1", Mountpoint: "/again", Fstype: "ext4"},
		{Device: "/dev/sda1", Mountpoint: "/third", Fstype: "ext4"},
		{Device: "/dev/sda2", Mountpoint: "/etc/hosts", Fstype: "ext4", Opts: []string{"rw", "bind"}},
		{Device: "/dev/sdb", Mountpoint: "/mnt", Fstype: "xfs"},
		{Device: "server:/x", Mountpoint: "/mnt", Fstype: "nfs4"},
		{Device: "server:/x", Mountpoint: "/mnt2", Fstype: "nfs4"},
		{Device: "tmpfs", Mountpoint: "/tmp", Fstype: "tmpfs"},
		{Device: "tank", Mountpoint: "/tank", Fstype: "zfs"},
		{Device: "/dev/sdc", Mountpoint: "/run/media", Fstype: "vfat"},
	}) {
		got = append(got, m.Mountpoint)
	}
	if s := strings.Join(got, " "); s != "/ /again /mnt /tank" {
		t.Errorf("got %s", s)
	}
}

// A file system that hangs holds up one poll for the timeout and no other, is
// asked by one goroutine however often polls come, and is back once it answers.
func TestHungFileSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which also finds goroutines that stay
		answer := make(chan struct{})
		p := newProber(50 * time.Millisecond)
		var calls int
		real := p.usage
		p.usage = func(path string) (*disk.UsageStat, error) {
			if path == "/hung" {
				calls++
				<-answer
			}
			return real("/")
		}
		paths := []string{"/hung"}
		for i := range 2 * atOnce {
			paths = append(paths, fmt.Sprintf("/%d", i))
		}
		ask := func() (taken []int, took time.Duration, err error) {
			before := time.Now()
			err = p.each(t.Context(), paths, func(i int, u *disk.UsageStat) {
				if u.Total == 0 {
					t.Errorf("path %d has no size", i)
				}
				taken = append(taken, i)
			})
			return taken, time.Since(before), err
		}
		for i := range 20 {
			taken, took, err := ask()
			want, most := "does not answer within 50ms", p.timeout
			if i > 0 {
				want, most = "has not answered for 0s", 0
			}
			if err == nil || err.Error() != "file system /hung: "+want || len(taken) != 2*atOnce || taken[0] != 1 || !slices.IsSorted(taken) {
				t.Fatalf("round %d: got error %v and %v", i, err, taken)
			}
			if took != most {
				t.Errorf("round %d took %v, want %v", i, took, most)
			}
		}
		close(answer)
		synctest.Wait()
		if calls != 1 {
			t.Errorf("the hung file system was asked %d times", calls)
		}
		if taken, _, err := ask(); err != nil || len(taken) != len(paths) {
			t.Errorf("the file system answers again, but is not collected: got error %v and %v", err, taken)
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p.timeout = time.Hour
		answer = make(chan struct{})
		p.usage = func(string) (*disk.UsageStat, error) { <-answer; return real("/") }
		if err := p.each(ctx, []string{"/x"}, func(int, *disk.UsageStat) {}); err == nil {
			t.Error("a canceled poll waited")
		}
		close(answer)
	})
}

func BenchmarkPoll(b *testing.B) {
	for _, toml := range []string{"", `collect = ["cpu"]`, `collect = ["memory", "swap", "load"]`, `collect = ["disk"]`, `collect = ["filesystem"]`, `collect = ["network"]`, `collect = ["system"]`} {
		b.Run(toml, func(b *testing.B) {
			h := start(b, toml)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sdk.Build("host", func(out *sdk.Builder) error { return h.Poll(b.Context(), out) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
