package host

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk"
)

// Internal is the name of the pollster of the host's own meters, and of the figures that
// plugins tell about themselves. It is the only plugin without a process: it is in the host.
const Internal = config.Internal

// InternalPlugin describes that pollster to catalogs.
func InternalPlugin() sdk.Plugin {
	meter := func(name string, t sdk.Type, unit, doc string) sdk.MeterInfo {
		return sdk.MeterInfo{Meter: sdk.Meter{Name: name, Type: t, Unit: unit}, Doc: doc}
	}
	return sdk.Plugin{
		Name: Internal, Summary: "Measures Nepho itself: polls, queues, spools, drops, restarts",
		Sample:   "# Nepho's own health as samples.\n[[pollster.internal]]\n# It has no options but those of every pollster.\n# interval = \"60s\"\n",
		Pollster: func() sdk.Pollster { return new(outsideOfHost) },
		Meters: []sdk.MeterInfo{
			meter("nepho.plugin.up", sdk.Gauge, "1", "1 while the plugin's process is ready, else 0."),
			meter("nepho.plugin.restarts", sdk.Cumulative, "restart", "Starts of the process after its first."),
			meter("nepho.plugin.memory", sdk.Gauge, "B", "Resident memory of the process."),
			meter("nepho.source.polls", sdk.Cumulative, "poll", "Polls that ended."),
			meter("nepho.source.failures", sdk.Cumulative, "poll", "Polls that failed, or broken streams."),
			meter("nepho.source.timeouts", sdk.Cumulative, "poll", "Polls that missed their deadline."),
			meter("nepho.source.skipped", sdk.Cumulative, "poll", "Polls left out because the one before went on."),
			meter("nepho.source.samples", sdk.Cumulative, "sample", "Samples taken."),
			meter("nepho.source.events", sdk.Cumulative, "event", "Events taken."),
			meter("nepho.source.duration", sdk.Gauge, "s", "Duration of the last poll."),
			meter("nepho.pipeline.in", sdk.Cumulative, "row", "Samples and events offered."),
			meter("nepho.pipeline.filtered", sdk.Cumulative, "row", "Of these, left out by the pipeline's globs."),
			meter("nepho.pipeline.dropped", sdk.Cumulative, "row", "Dropped while a transformer did not answer."),
			meter("nepho.pipeline.refused", sdk.Cumulative, "row", "Put aside because they cannot be transformed."),
			meter("nepho.pipeline.waiting", sdk.Gauge, "row", "Waiting for a transformer."),
			meter("nepho.sink.appended", sdk.Cumulative, "row", "Appended to the spool."),
			meter("nepho.sink.published", sdk.Cumulative, "row", "Taken by the publisher."),
			meter("nepho.sink.refused", sdk.Cumulative, "row", "Refused by the publisher for good."),
			meter("nepho.sink.dropped", sdk.Cumulative, "row", "Dropped from the spool, for whatever reason."),
			meter("nepho.sink.waiting", sdk.Gauge, "row", "Waiting in the spool."),
			meter("nepho.sink.retries", sdk.Cumulative, "attempt", "Attempts to publish that failed."),
			meter("nepho.sink.spool", sdk.Gauge, "B", "Size of the spool."),
			meter("nepho.sink.age", sdk.Gauge, "s", "Age of the oldest that waits."),
		},
	}
}

type outsideOfHost struct{}

func (*outsideOfHost) Poll(context.Context, *sdk.Builder) error {
	return errors.New("the host's meters are in the host: see nepho status")
}

// internal makes the poller of the host's own meters.
func (h *Host) internal(i *config.Instance) localPoller {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	metadata := func(kind, name string) sdk.Metadata {
		m := sdk.Metadata{"host": hostname, kind: name}
		for k, v := range i.Tags {
			m[k] = v
		}
		return m
	}
	return func(ctx context.Context) ([][]byte, error) {
		// Half of the time is enough for the rest, also where a plugin does not answer.
		ctx, cancel := context.WithTimeout(ctx, i.Timeout/2)
		defer cancel()
		s, told := h.Status(), h.Figures(ctx)
		batches, err := sdk.Build(i.Name, func(out *sdk.Builder) error {
			on := func(kind, name string) *sdk.Subject {
				return out.On(sdk.Resource{ID: hostname + "." + kind + "." + name, Metadata: metadata(kind, name)})
			}
			for _, p := range s.Plugins {
				o := on("plugin", p.Process)
				up := 0.0
				if p.State == supervisor.Ready {
					up = 1
				}
				o.Gauge("nepho.plugin.up", "1", up)
				o.Cumulative("nepho.plugin.restarts", "restart", float64(p.Restarts))
				o.Gauge("nepho.plugin.memory", "B", float64(p.RSS))
			}
			for _, v := range s.Sources {
				o := on("source", v.Name)
				o.Cumulative("nepho.source.polls", "poll", float64(v.Polls))
				o.Cumulative("nepho.source.failures", "poll", float64(v.Failures))
				o.Cumulative("nepho.source.timeouts", "poll", float64(v.Timeouts))
				o.Cumulative("nepho.source.skipped", "poll", float64(v.Skipped))
				o.Cumulative("nepho.source.samples", "sample", float64(v.Samples))
				o.Cumulative("nepho.source.events", "event", float64(v.Events))
				o.Gauge("nepho.source.duration", "s", v.Duration.Seconds())
			}
			for _, p := range s.Pipelines {
				o := on("pipeline", p.Name)
				o.Cumulative("nepho.pipeline.in", "row", float64(p.In))
				o.Cumulative("nepho.pipeline.filtered", "row", float64(p.Filtered))
				o.Cumulative("nepho.pipeline.dropped", "row", float64(p.Dropped))
				o.Cumulative("nepho.pipeline.refused", "row", float64(p.Refused))
				o.Gauge("nepho.pipeline.waiting", "row", float64(p.Waiting))
			}
			for _, k := range s.Sinks {
				o := on("sink", k.Pipeline+"/"+k.Publisher)
				o.Cumulative("nepho.sink.appended", "row", float64(k.Appended))
				o.Cumulative("nepho.sink.published", "row", float64(k.Published))
				o.Cumulative("nepho.sink.refused", "row", float64(k.Refused))
				o.Cumulative("nepho.sink.dropped", "row", float64(k.DroppedFull+k.DroppedDamage+k.DroppedDisk))
				o.Gauge("nepho.sink.waiting", "row", float64(k.Waiting))
				o.Cumulative("nepho.sink.retries", "attempt", float64(k.Retries))
				o.Gauge("nepho.sink.spool", "B", float64(k.SpoolBytes))
				o.Gauge("nepho.sink.age", "s", k.Oldest.Seconds())
			}
			for _, p := range told {
				for _, f := range p.Figures {
					name, m := p.Instance, metadata("instance", p.Instance)
					for _, label := range slices.Sorted(maps.Keys(f.Labels)) {
						name += "/" + label + "=" + f.Labels[label]
						m[label] = f.Labels[label]
					}
					out.On(sdk.Resource{ID: hostname + ".instance." + name, Metadata: m}).Add(sdk.Meter{Name: f.Name, Type: f.Type, Unit: f.Unit}, f.Value)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		return encodeWanted(batches, i)
	}
}

// encodeWanted encodes what the instance's globs ask for.
func encodeWanted(batches []*sdk.Batch, i *config.Instance) ([][]byte, error) {
	var out [][]byte
	for _, b := range batches {
		b.Keep(func(row int) bool { return i.Globs.Match(b.Meter(b.MeterOf(row)).Name) })
		data, err := b.Encode()
		if err != nil {
			return out, err
		}
		out = append(out, data)
	}
	return out, nil
}
