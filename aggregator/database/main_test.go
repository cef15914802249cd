package database

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/nephoscope/nepho/integration/parts"
)

// server is shared by all tests; each has databases of its own.
var server *parts.PostgreSQLServer

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(m.Run()) // the test that is run as a child needs no server
	}
	code := 1
	err := parts.Run(os.Stderr, func(tb parts.TB) {
		server = parts.PostgreSQL(tb)
		code = m.Run()
	})
	if err == nil && code == 0 {
		err = parts.AwaitGoroutines()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var schema = fstest.MapFS{"0001.sql": {Data: []byte(`-- A comment; with a semicolon;
CREATE TABLE thing (
  id    {uuid} NOT NULL PRIMARY KEY, -- another
  name  {text} NOT NULL UNIQUE,
  size  {number},
  data  {bytes}
){strict};
CREATE TABLE part (
  key   {key},
  name  {text} NOT NULL REFERENCES thing (name)
){strict};
{postgres}: ALTER TABLE thing ALTER COLUMN data SET STORAGE EXTERNAL;
{sqlite}: CREATE INDEX only_sqlite ON thing (size);
`)}}

// both runs a test on each database.
func both(t *testing.T, f func(t *testing.T, d *DB)) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t, where(t, name))
			ok(t, d.Migrate(t.Context(), "things_version", schema))
			f(t, d)
		})
	}
}

func where(tb testing.TB, name string) string {
	if name == "postgres" {
		return server.Database()
	}
	return filepath.Join(tb.TempDir(), "test.sqlite")
}

func open(tb testing.TB, where string) *DB {
	tb.Helper()
	d, err := Open(tb.Context(), Options{URL: where, What: "the test"})
	ok(tb, err)
	tb.Cleanup(func() { ok(tb, d.Close()) })
	return d
}

func ok(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
