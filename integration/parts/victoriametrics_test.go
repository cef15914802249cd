package parts

import (
	"fmt"
	"net/http"
	"testing"
)

func TestVictoriaMetricsKeepsSeriesOverRestart(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("run", func(t *testing.T) {
		s := VictoriaMetrics(t)
		dir = s.Dir
		point := []byte("cpu,resource_id=r1 volume=1.5 1700000000000000000")
		if _, err := call(t.Context(), http.MethodPost, s.URL+"/write?db=nepho", "", point); err != nil {
			t.Fatal(err)
		}
		want := "[{map[__name__:cpu_volume db:nepho resource_id:r1] [1.5] [1700000000000]}]"
		if got := fmt.Sprint(s.Export(`{db="nepho"}`)); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		s.Restart()
		if got := fmt.Sprint(s.Export(`{db="nepho"}`)); got != want {
			t.Fatalf("after a restart: got %s, want %s", got, want)
		}
	})
	expectNothingLeft(t, dir)
}
