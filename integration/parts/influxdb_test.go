package parts

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestInfluxDBKeepsPointsOverKill9(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("run", func(t *testing.T) {
		s := InfluxDB(t)
		dir = s.Dir
		s.CreateDatabase("nepho")
		s.Write("nepho", "cpu,resource_id=r1 volume=1.5 1700000000000000001")
		for _, restart := range []func(){s.Restart, func() { s.Kill9(); s.Start() }} {
			restart()
			got := fmt.Sprint(s.Query("nepho", "SELECT volume FROM cpu GROUP BY resource_id"))
			want := "[{cpu map[resource_id:r1] [time volume] [[1700000000000000001 1.5]]}]"
			if got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
		}
	})
	expectNothingLeft(t, dir)
}

func TestInfluxDBPause(t *testing.T) {
	t.Parallel()
	s := InfluxDB(t)
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := answers(s.URL + "/ping")(ctx); err == nil {
		t.Errorf("a paused server answers")
	}
	s.Resume()
	if err := answers(s.URL + "/ping")(t.Context()); err != nil {
		t.Errorf("a resumed server does not answer: %v", err)
	}
	s.Pause() // clean-up ends a paused part, too
}

func TestInfluxDBSeveralAtOnce(t *testing.T) {
	t.Parallel()
	a, b := InfluxDB(t), InfluxDB(t)
	a.CreateDatabase("only_in_a")
	if databases := fmt.Sprint(b.Query("", "SHOW DATABASES")); databases != "[{databases map[] [name] []}]" {
		t.Errorf("got databases %s in the other server, want none", databases)
	}
}
