package host

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk"
)

// Status is the host at one moment. It is what the status page, the status
// command, /metrics and the internal pollster show, beside the plugins' [Figures].
type Status struct {
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Time     time.Time `json:"time"`
	Files    []string  `json:"files"`
	Draining bool      `json:"draining,omitempty"`
	Missing  []string  `json:"missing,omitempty"` // what of the configuration does not run, and why

	Plugins   []PluginStatus   `json:"plugins"`
	Instances []InstanceStatus `json:"instances"`
	Sources   []SourceStatus   `json:"sources"`
	Pipelines []PipelineStatus `json:"pipelines"`
	Sinks     []SinkStatus     `json:"sinks"`
}

// PluginStatus is about a plugin's process.
type PluginStatus struct {
	Process  string           `json:"process"` // what tells processes of one plugin apart
	Kind     string           `json:"kind"`
	Name     string           `json:"name"`
	State    supervisor.State `json:"state"`
	Since    time.Time        `json:"since"`
	PID      int              `json:"pid,omitempty"`
	Restarts int              `json:"restarts"`
	RSS      int64            `json:"resident_bytes,omitempty"`
	Error    string           `json:"last_error,omitempty"`
}

// InstanceStatus is about an instance in its plugin's process.
type InstanceStatus struct {
	Name     string           `json:"name"` // of a transformer: pipeline/name
	Required bool             `json:"required,omitempty"`
	State    supervisor.State `json:"state"`
	Error    string           `json:"error,omitempty"`
}

// SourceStatus is about what a source gave since the start.
type SourceStatus struct {
	Name            string        `json:"name"`
	Kind            string        `json:"kind"`
	Plugin          string        `json:"plugin"`
	Interval        time.Duration `json:"interval_ns,omitempty"`
	Polls           uint64        `json:"polls"`
	Failures        uint64        `json:"failures"`
	Timeouts        uint64        `json:"timeouts"`
	Skipped         uint64        `json:"skipped"`
	Resources       uint64        `json:"resources,omitempty"`
	FailedResources uint64        `json:"failed_resources,omitempty"`
	Unsettled       int64         `json:"unsettled,omitempty"`
	Batches         uint64        `json:"batches"`
	Samples         uint64        `json:"samples"`
	Events          uint64        `json:"events"`
	Bytes           uint64        `json:"bytes"`
	Garbage         uint64        `json:"garbage"`
	Lost            uint64        `json:"lost"` // rows that a pipeline could not be given in time
	LastPoll        time.Time     `json:"last_poll,omitzero"`
	Duration        time.Duration `json:"last_duration_ns,omitempty"`
	Error           string        `json:"error,omitempty"`
}

// PipelineStatus counts rows: In = Filtered + Dropped + Refused + Transformed +
// Waiting.
type PipelineStatus struct {
	Name     string `json:"name"`
	In       uint64 `json:"in"`
	Filtered uint64 `json:"filtered"`
	Dropped  uint64 `json:"dropped"`
	Refused  uint64 `json:"refused"`
	// Transformed is what the first transformer took, or all where there is none.
	Transformed uint64        `json:"transformed"`
	Waiting     uint64        `json:"waiting"`
	Out         uint64        `json:"out"` // appended to the spools
	Stalled     bool          `json:"stalled,omitempty"`
	Stages      []StageStatus `json:"transformers,omitempty"`
}

// StageStatus is about a transformer in a pipeline.
type StageStatus struct {
	Name    string `json:"name"`
	In      uint64 `json:"in"`
	Out     uint64 `json:"out"`
	Refused uint64 `json:"refused"` // of In, put aside because it will never take them
	Error   string `json:"error,omitempty"`
}

// SinkStatus counts rows: Recovered + Appended = Published + Refused + Dropped +
// Waiting.
type SinkStatus struct {
	Pipeline      string        `json:"pipeline"`
	Publisher     string        `json:"publisher"`
	Recovered     uint64        `json:"recovered"`
	Appended      uint64        `json:"appended"`
	Published     uint64        `json:"published"`
	Refused       uint64        `json:"refused"`
	DroppedFull   uint64        `json:"dropped_full"`
	DroppedDamage uint64        `json:"dropped_damaged"`
	DroppedDisk   uint64        `json:"dropped_disk"`
	Waiting       uint64        `json:"waiting"`
	Pending       uint64        `json:"pending"` // not on disk yet, in none of the above
	Retries       uint64        `json:"retries"`
	SpoolBytes    int64         `json:"spool_bytes"`
	SpoolLimit    int64         `json:"spool_limit_bytes"`
	SpoolFull     bool          `json:"spool_full,omitempty"`
	Oldest        time.Duration `json:"oldest_ns"`
	LastSuccess   time.Time     `json:"last_success,omitzero"`
	Error         string        `json:"error,omitempty"`
	DiskError     string        `json:"disk_error,omitempty"`
}

// Ready tells whether all of the configuration runs and every instance is started.
func (s *Status) Ready() bool {
	if len(s.Missing) > 0 {
		return false
	}
	for _, i := range s.Instances {
		if i.State != supervisor.Ready {
			return false
		}
	}
	return !s.Draining
}

// Status looks at everything.
func (h *Host) Status() *Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &Status{
		Version: h.version, PID: os.Getpid(), Started: h.started, Time: time.Now(), Files: h.config.Files, Draining: h.draining, Missing: h.missing,
		Plugins: []PluginStatus{}, Instances: []InstanceStatus{}, Sources: []SourceStatus{}, Pipelines: []PipelineStatus{}, Sinks: []SinkStatus{},
	}
	for _, key := range names(h.processes) {
		p := h.processes[key].Status()
		s.Plugins = append(s.Plugins, PluginStatus{
			Process: key, Kind: p.Kind, Name: p.Name, State: p.State, Since: p.Since, PID: p.PID,
			Restarts: p.Restarts, RSS: p.RSS, Error: text(p.LastError),
		})
	}
	for _, name := range names(h.instances) {
		state, err := h.instances[name].Status()
		i := InstanceStatus{Name: name, State: state, Error: text(err)}
		if c := h.configured(name); c != nil {
			i.Required = c.Required
		}
		s.Instances = append(s.Instances, i)
	}
	for _, name := range names(h.sources) {
		s.Sources = append(s.Sources, h.sources[name].status())
	}
	for _, name := range names(h.pipelines) {
		s.Pipelines = append(s.Pipelines, h.pipelines[name].status())
	}
	for _, p := range h.config.Pipelines {
		for _, publisher := range p.Publishers {
			if k := h.sinks[p.Name+"/"+publisher]; k != nil {
				st := k.status()
				st.Pipeline, st.Publisher = p.Name, publisher
				s.Sinks = append(s.Sinks, st)
			}
		}
	}
	return s
}

// configured gives the configuration of an instance by its name in the protocol, where a
// transformer has that of its pipeline before its own. It is called with mu held.
func (h *Host) configured(name string) *config.Instance {
	if _, own, staged := strings.Cut(name, "/"); staged {
		name = own
	}
	return h.config.Instance(name)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (s *source) status() SourceStatus {
	s.mu.Lock()
	last, took := s.lastPoll, s.duration
	s.mu.Unlock()
	return SourceStatus{
		Name: s.config.Name, Kind: s.config.Kind, Plugin: s.config.Plugin, Interval: s.config.Interval,
		Polls: s.polls.Load(), Failures: s.failures.Load(), Timeouts: s.timeouts.Load(), Skipped: s.skipped.Load(),
		Resources: s.resources.Load(), FailedResources: s.failedResources.Load(), Unsettled: s.unsettled.Load(),
		Batches: s.batches.Load(), Samples: s.samples.Load(), Events: s.events.Load(), Bytes: s.bytes.Load(), Garbage: s.garbage.Load(), Lost: s.lost.Load(),
		LastPoll: last, Duration: took, Error: text(s.trouble.now()),
	}
}

func (p *pipeline) status() PipelineStatus {
	s := PipelineStatus{
		Name: p.config.Name, In: p.in.Load(), Filtered: p.filtered.Load(), Dropped: p.dropped.Load(), Refused: p.refused.Load(),
		Transformed: p.transformed.Load(), Out: p.out.Load(), Stalled: p.stalled.Load(),
	}
	for _, l := range []*lane{p.polled, p.held} {
		rows, _ := l.queue.waiting()
		s.Waiting += rows
	}
	for _, stage := range p.chain {
		s.Stages = append(s.Stages, StageStatus{
			Name: stage.instance.Name(), In: stage.in.Load(), Out: stage.out.Load(), Refused: stage.refused.Load(), Error: text(stage.trouble.now())})
	}
	return s
}

func (s *sink) status() SinkStatus {
	s.settling.Lock()
	st, refused, tooLarge := s.spool.Stats(), s.refused.Load(), s.tooLarge.Load()
	s.settling.Unlock()
	k := SinkStatus{
		Recovered: st.Recovered.Samples, Appended: st.Appended.Samples + tooLarge,
		Refused: refused + tooLarge, Published: st.Acked.Samples - refused,
		DroppedFull: st.Dropped.Full.Samples, DroppedDamage: st.Dropped.Corrupt.Samples, DroppedDisk: st.Dropped.Disk.Samples,
		Waiting: st.Waiting.Samples, Pending: st.Pending.Samples, Retries: s.retries.Load(),
		SpoolBytes: st.Bytes, SpoolLimit: st.Limit, SpoolFull: st.Full, Oldest: st.OldestAge,
		Error: text(s.trouble.now()), DiskError: text(st.DiskError),
	}
	if state, err := s.instance.Status(); k.Error == "" && state != supervisor.Ready && err != nil {
		k.Error = fmt.Sprintf("the publisher is not started: %v", err)
	}
	if at := s.last.Load(); at > 0 {
		k.LastSuccess = time.Unix(0, at)
	}
	return k
}

// Latest decodes the last batch of each source, for people to look at.
func (h *Host) Latest() map[string]*sdk.Batch {
	h.mu.Lock()
	defer h.mu.Unlock()
	latest := map[string]*sdk.Batch{}
	for name, s := range h.sources {
		s.mu.Lock()
		data := s.latest
		s.mu.Unlock()
		if data != nil {
			if b, err := sdk.DecodeBatch(data); err == nil {
				latest[name] = b
			}
		}
	}
	return latest
}
