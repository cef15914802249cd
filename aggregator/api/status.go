package api

import (
	"net/http"

	"github.com/nephoscope/nepho/aggregator/engine"
)

func (s *Server) statusRoutes() {
	s.handle("GET /v1/status", s.status)
}

// statusView has Gnocchi's form. Nothing ever waits to be processed here, for
// measures can be read as soon as they are acknowledged.
type statusView struct {
	Storage struct {
		Summary struct {
			Metrics  int `json:"metrics"`
			Measures int `json:"measures"`
		} `json:"summary"`
		Waiting *struct{} `json:"measures_to_process,omitempty"`
	} `json:"storage"`
	Workers struct {
		Processors []string                `json:"processors"`
		Statistics map[string]engineCounts `json:"statistics"`
	} `json:"metricd"`
}

// engineCounts are counts since the start, and sizes now.
type engineCounts struct {
	Accepted   uint64 `json:"accepted measures"`
	Late       uint64 `json:"late measures"`
	Future     uint64 `json:"future measures"`
	Metrics    int    `json:"metrics in memory"`
	HeadBytes  int64  `json:"bytes in memory"`
	Blocks     int    `json:"block files"`
	BlockBytes int64  `json:"bytes in block files"`
	LogBytes   int64  `json:"bytes in the log"`
}

func countsOf(s engine.Stats) engineCounts {
	return engineCounts{s.Accepted, s.Late, s.Future, s.Metrics, s.HeadBytes, s.Blocks, s.BlockBytes, s.LogBytes}
}

// status answers how the store is.
func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r.Context()); err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	details, err := q.boolean("details", true)
	if err != nil {
		return err
	}
	const worker = "aggregator"
	var v statusView
	if details {
		v.Storage.Waiting = new(struct{})
	}
	v.Workers.Processors = []string{worker}
	v.Workers.Statistics = map[string]engineCounts{worker: countsOf(s.o.Engine.Stats())}
	return writeJSON(w, http.StatusOK, v)
}
