package status

import (
	"context"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/figure"
)

// collector makes metrics of the host's status at each scrape.
type collector struct{ teller Teller }

// Describe implements prometheus.Collector: what there is depends on the
// configuration.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.teller.Status()
	set := func(kind prometheus.ValueType, name, help string, labels []string, value float64, of ...string) {
		d := prometheus.NewDesc("nepho_"+name, help, labels, nil)
		ch <- prometheus.MustNewConstMetric(d, kind, value, of...)
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	set(gauge, "info", "Version of the host.", []string{"version"}, 1, s.Version)
	set(gauge, "start_time_seconds", "When the host started, Unix time.", nil, float64(s.Started.UnixNano())/1e9)

	plugin := []string{"process"}
	for _, p := range s.Plugins {
		set(gauge, "plugin_up", "1 while the plugin's process is ready.", plugin, one(p.State == supervisor.Ready), p.Process)
		set(gauge, "plugin_failed", "1 while the plugin is in a crash loop.", plugin, one(p.State == supervisor.Failed), p.Process)
		set(counter, "plugin_restarts_total", "Starts of the plugin's process after its first.", plugin, float64(p.Restarts), p.Process)
		set(gauge, "plugin_resident_bytes", "Resident memory of the plugin's process.", plugin, float64(p.RSS), p.Process)
	}
	for _, i := range s.Instances {
		set(gauge, "instance_up", "1 while the instance is started.", []string{"instance"}, one(i.State == supervisor.Ready), i.Name)
	}
	source := []string{"source"}
	for _, v := range s.Sources {
		set(counter, "source_polls_total", "Polls that ended.", source, float64(v.Polls), v.Name)
		set(counter, "source_failures_total", "Polls that failed, and broken streams.", source, float64(v.Failures), v.Name)
		set(counter, "source_timeouts_total", "Polls that missed their deadline.", source, float64(v.Timeouts), v.Name)
		set(counter, "source_skipped_total", "Polls left out because the one before went on.", source, float64(v.Skipped), v.Name)
		set(counter, "source_resources_total", "Resources polled one by one.", source, float64(v.Resources), v.Name)
		set(counter, "source_failed_resources_total", "Of these, those that failed.", source, float64(v.FailedResources), v.Name)
		set(counter, "source_batches_total", "Batches taken.", source, float64(v.Batches), v.Name)
		set(counter, "source_samples_total", "Samples taken.", source, float64(v.Samples), v.Name)
		set(counter, "source_events_total", "Events taken.", source, float64(v.Events), v.Name)
		set(counter, "source_bytes_total", "Bytes of batches taken.", source, float64(v.Bytes), v.Name)
		set(counter, "source_garbage_total", "Messages that were no batch.", source, float64(v.Garbage), v.Name)
		set(counter, "source_lost_total", "Polled samples that a pipeline could not be given in time.", source, float64(v.Lost), v.Name)
		set(gauge, "source_unsettled", "Deliveries that wait until they are durable.", source, float64(v.Unsettled), v.Name)
		set(gauge, "source_last_poll_seconds", "Duration of the last poll.", source, v.Duration.Seconds(), v.Name)
	}
	pipeline := []string{"pipeline"}
	for _, p := range s.Pipelines {
		set(counter, "pipeline_in_total", "Samples and events offered by sources.", pipeline, float64(p.In), p.Name)
		set(counter, "pipeline_filtered_total", "Of these, those that the globs leave out.", pipeline, float64(p.Filtered), p.Name)
		set(counter, "pipeline_dropped_total", "Of these, those dropped while a transformer did not answer.", pipeline, float64(p.Dropped), p.Name)
		set(counter, "pipeline_refused_total", "Of these, those put aside because they cannot be transformed.", pipeline, float64(p.Refused), p.Name)
		set(counter, "pipeline_transformed_total", "Of these, those that the first transformer took, or all that pass where there is none.", pipeline, float64(p.Transformed), p.Name)
		set(gauge, "pipeline_waiting", "Of these, those that wait for a transformer.", pipeline, float64(p.Waiting), p.Name)
		set(counter, "pipeline_out_total", "Samples and events appended to the spools.", pipeline, float64(p.Out), p.Name)
		for _, t := range p.Stages {
			labels := []string{"pipeline", "transformer"}
			set(counter, "transformer_in_total", "Samples and events given to the transformer.", labels, float64(t.In), p.Name, t.Name)
			set(counter, "transformer_out_total", "Samples and events it answered with.", labels, float64(t.Out), p.Name, t.Name)
			set(counter, "transformer_refused_total", "Of those given, those put aside because it will never take them.", labels, float64(t.Refused), p.Name, t.Name)
		}
	}
	sink := []string{"pipeline", "publisher"}
	reason := []string{"pipeline", "publisher", "reason"}
	for _, k := range s.Sinks {
		set(counter, "sink_recovered_total", "Samples and events found in the spool at the start.", sink, float64(k.Recovered), k.Pipeline, k.Publisher)
		set(counter, "sink_appended_total", "Samples and events appended to the spool.", sink, float64(k.Appended), k.Pipeline, k.Publisher)
		set(counter, "sink_published_total", "Samples and events that the publisher took.", sink, float64(k.Published), k.Pipeline, k.Publisher)
		set(counter, "sink_refused_total", "Samples and events that it refused for good.", sink, float64(k.Refused), k.Pipeline, k.Publisher)
		set(counter, "sink_dropped_total", "Samples and events dropped from the spool.", reason, float64(k.DroppedFull), k.Pipeline, k.Publisher, "full")
		set(counter, "sink_dropped_total", "Samples and events dropped from the spool.", reason, float64(k.DroppedDamage), k.Pipeline, k.Publisher, "damaged")
		set(counter, "sink_dropped_total", "Samples and events dropped from the spool.", reason, float64(k.DroppedDisk), k.Pipeline, k.Publisher, "disk")
		set(gauge, "sink_waiting", "Samples and events in the spool.", sink, float64(k.Waiting), k.Pipeline, k.Publisher)
		set(counter, "sink_retries_total", "Attempts to publish that failed.", sink, float64(k.Retries), k.Pipeline, k.Publisher)
		set(gauge, "sink_up", "1 while the publisher takes samples.", sink, one(k.Error == ""), k.Pipeline, k.Publisher)
		set(gauge, "sink_spool_bytes", "Size of the spool.", sink, float64(k.SpoolBytes), k.Pipeline, k.Publisher)
		set(gauge, "sink_spool_limit_bytes", "Limit of the spool.", sink, float64(k.SpoolLimit), k.Pipeline, k.Publisher)
		set(gauge, "sink_oldest_seconds", "Age of the oldest that waits.", sink, k.Oldest.Seconds(), k.Pipeline, k.Publisher)
	}
	told := c.teller.Figures(context.Background()) // in a second at most
	for _, p := range told {
		set(gauge, "instance_measured", "1 if the instance told all figures about itself just now, 0 if it told none in time, or wrong ones.", []string{"instance"}, one(p.Error == ""), p.Instance)
	}
	collectFigures(ch, told)
}

// collectFigures makes metrics of what plugins tell about themselves. Plugins of different
// kinds may have the same name, and each a meter of the same name: then that of the first
// one decides what it is, and figures that are something else are left out.
func collectFigures(ch chan<- prometheus.Metric, told []host.Figures) {
	first := map[string]figure.Meter{}
	for _, p := range told {
		for _, f := range p.Figures {
			m, ok := first[f.Metric]
			if !ok {
				m = f.Meter
				first[f.Metric] = m
			}
			if m.Type != f.Type {
				continue
			}
			kind := prometheus.GaugeValue
			if f.Type == sdk.Cumulative {
				kind = prometheus.CounterValue
			}
			labels, values := []string{"instance"}, []string{p.Instance}
			for _, l := range slices.Sorted(maps.Keys(f.Labels)) {
				labels, values = append(labels, l), append(values, f.Labels[l])
			}
			ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(m.Metric, m.Doc, labels, nil), kind, f.Value, values...)
		}
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
