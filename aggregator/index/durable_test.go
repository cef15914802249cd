package index

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/engine"
)

// childEnv names the index in which a child process of the test creates metrics.
const childEnv = "NEPHO_INDEX_TEST_CHILD"

// TestChild is not a test by itself: it creates resources and metrics, and says so
// after each, until it is killed.
func TestChild(t *testing.T) {
	where := os.Getenv(childEnv)
	if where == "" {
		t.Skip("run by TestKill9")
	}
	x := open(t, where)
	for n := 0; ; n++ {
		r := Resource{ID: uuid.New(), Type: Generic}
		got, err := x.EnsureResources(t.Context(), []Wanted{{r, []NewMetric{{Name: "a", Labels: map[string]string{"n": fmt.Sprint(n)}}, {Name: "b"}}}})
		ok(t, err)
		fmt.Printf("created %s %d %d\n", r.ID, got[0].Entries[0].Ref, got[0].Entries[1].Ref)
	}
}

// What a process was told is there when it is killed at any moment, and nothing is
// there by half.
func TestKill9(t *testing.T) {
	t.Parallel()
	where := filepath.Join(t.TempDir(), "index.db")
	acknowledged := map[uuid.UUID][2]engine.Ref{}
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
		cmd.Env = append(os.Environ(), childEnv+"="+where)
		out, err := cmd.StdoutPipe()
		ok(t, err)
		ok(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 20+round*13 {
				ok(t, cmd.Process.Kill())
			}
			var (
				text string
				refs [2]engine.Ref
			)
			// The last line may be torn; then nobody was told.
			if count, _ := fmt.Sscanf(lines.Text(), "created %s %d %d", &text, &refs[0], &refs[1]); count == 3 && strings.HasPrefix(lines.Text(), "created") {
				if id, err := uuid.Parse(text); err == nil {
					acknowledged[id] = refs
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		if len(acknowledged) < 20*(round+1) {
			t.Fatalf("only %d resources were made", len(acknowledged))
		}
		x, err := Open(t.Context(), Options{URL: where})
		ok(t, err)
		used := map[engine.Ref]bool{}
		for id, refs := range acknowledged {
			for i, e := range must(x.LookupNames(t.Context(), []Name{{id, "a"}, {id, "b"}}, nil))(t) {
				if e == nil || i == 0 && e.Ref != refs[0] || used[e.Ref] {
					t.Fatalf("metric %d of resource %s is %+v, its ref was %v", i, id, e, refs)
				}
				used[e.Ref] = true
			}
		}
		resources := must(x.Resources(t.Context(), ResourceQuery{Type: Generic, Page: Page{Limit: 100_000}}))(t)
		for _, r := range resources {
			if len(r.Metrics) != 2 {
				t.Fatalf("resource %s has the metrics %v", r.ID, r.Metrics)
			}
		}
		labelled := must(x.Labelled(t.Context(), nil, Scope{}, 100_000))(t)
		if len(labelled) != len(resources) {
			t.Fatalf("%d metrics have labels, there are %d", len(labelled), len(resources))
		}
		ok(t, check(x))
		ok(t, x.Close())
	}
}

// check asks SQLite whether all is in order.
func check(x *Index) error {
	return x.view(context.Background(), func(s *database.Session) error {
		for _, pragma := range []string{"PRAGMA integrity_check", "PRAGMA foreign_key_check"} {
			rows, err := s.QueryOnce(context.Background(), pragma)
			err = database.Each(rows, err, func(rows *sql.Rows) error {
				var text string
				if err := rows.Scan(&text); err == nil && text == "ok" {
					return nil
				}
				return fmt.Errorf("%s: %s", pragma, text)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	x := open(t, filepath.Join(t.TempDir(), "index.db"))
	before := x.Changes()
	m := must(x.CreateMetrics(ctx, make([]NewMetric, 500)))(t)
	if x.Changes() == before {
		t.Error("a change was not counted")
	}
	before = x.Changes()
	must(x.Lookup(ctx, []uuid.UUID{m[0].ID, id(1)}, nil))(t)
	same(t, x.Changes(), before)

	var copied bytes.Buffer
	ok(t, x.Snapshot(ctx, &copied))
	restored := filepath.Join(t.TempDir(), "index.db")
	ok(t, os.WriteFile(restored, copied.Bytes(), 0o600))
	y := open(t, restored)
	ok(t, check(y))
	same(t, must(y.Metric(ctx, m[499].ID))(t), m[499])
	// The copy goes on with the numbers where it was taken.
	if next := must(y.CreateMetrics(ctx, make([]NewMetric, 1)))(t)[0]; next.Ref != m[499].Ref+1 {
		t.Errorf("ref %d follows %d", next.Ref, m[499].Ref)
	}

	if err := x.Snapshot(ctx, failing{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v of a writer that fails", err)
	}
	left, err := filepath.Glob(x.where + ".*")
	ok(t, err)
	same(t, left, []string(nil))
	// What was left by one that was killed goes when the index is opened.
	ok(t, os.MkdirAll(restored+snapshotSuffix+"1/x", 0o700))
	ok(t, y.Close())
	released()
	open(t, restored)
	left, err = filepath.Glob(restored + snapshotSuffix + "*")
	ok(t, err)
	same(t, left, []string(nil))

	z := open(t, server.Database())
	wantError(t, z.Snapshot(ctx, &copied), ErrNoSnapshot)
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestOpen(t *testing.T) {
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			where := where(t, name)
			x, err := Open(ctx, Options{URL: where})
			ok(t, err)
			same(t, len(must(x.Policies(ctx))(t)), 0)
			ok(t, x.CreateType(ctx, ResourceType{Name: "t"}))
			ok(t, x.Close())
			x, err = Open(ctx, Options{URL: where, DefaultPolicies: true})
			ok(t, err)
			same(t, len(must(x.Types(ctx))(t)), 2)
			same(t, len(must(x.Policies(ctx))(t)), 4)
			ok(t, x.update(ctx, func(u *update) error {
				_, err := u.Exec(ctx, "UPDATE schema_version SET version = 999")
				return err
			}))
			ok(t, x.Close())
			if _, err = Open(ctx, Options{URL: where}); err == nil || !strings.Contains(err.Error(), "schema version 999") || !strings.Contains(err.Error(), "newer") {
				t.Errorf("got %v for an index of a newer program", err)
			}
		})
	}
}

// A SQLite index is one process's; several may open a new one in PostgreSQL at once.
func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		where := where(t, name)
		opened := make(chan *Index, 6)
		for range cap(opened) {
			go func() {
				x, err := Open(t.Context(), Options{URL: where, DefaultPolicies: true})
				if err != nil && (name == "postgres" || !strings.Contains(err.Error(), "another process")) {
					t.Error(err)
				}
				opened <- x
			}()
		}
		var all []*Index
		for range cap(opened) {
			if x := <-opened; x != nil {
				all = append(all, x)
			}
		}
		same(t, len(all), map[string]int{"sqlite": 1, "postgres": 6}[name])
		same(t, len(must(all[0].Policies(t.Context()))(t)), 4)
		for range 2 {
			for _, x := range all {
				ok(t, x.Close())
			}
		}
		if _, err := all[0].Policies(t.Context()); err == nil {
			t.Error("a closed index was read")
		}
		released()
		ok(t, must(Open(t.Context(), Options{URL: where}))(t).Close())
	}
}
