package parts

import (
	"os/exec"
	"strings"
	"testing"
)

func TestPostgreSQLKeepsRowsOverRestart(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("run", func(t *testing.T) {
		s := PostgreSQL(t)
		dir = s.Dir
		url := s.Database()
		if other := s.Database(); other == url {
			t.Fatalf("two databases have the URL %s", url)
		}
		psql := func(statement string) string {
			t.Helper()
			out, err := exec.Command(program(t, postgresDir+"psql"), "-qAt", "-c", statement, url).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", statement, err, out)
			}
			return strings.TrimSpace(string(out))
		}
		psql("create table t (v text); insert into t values ('kept')")
		s.Restart()
		if got := psql("select v from t"); got != "kept" {
			t.Fatalf("after a restart: got %q", got)
		}
	})
	expectNothingLeft(t, dir)
}
