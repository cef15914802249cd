// Command shim runs one of Telegraf's plugins as a process of its own, by means of
// Telegraf's shim. Its input is made to order: samples like those of Nepho's
// generator, as many and as fast as they are taken.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/metric"
	"github.com/influxdata/telegraf/plugins/common/shim"
	"github.com/influxdata/telegraf/plugins/inputs"
	"github.com/influxdata/telegraf/plugins/outputs"
	_ "github.com/influxdata/telegraf/plugins/processors/override"
	"github.com/influxdata/telegraf/plugins/serializers/influx"
)

// source hands over samples from a goroutine of its own, as inputs do that are
// not asked at intervals.
type source struct {
	Count int `toml:"count"`
}

func (*source) SampleConfig() string              { return "" }
func (*source) Gather(telegraf.Accumulator) error { return nil }
func (*source) Stop()                             {}

func (s *source) Start(acc telegraf.Accumulator) error {
	go func() {
		const resources, meters = 250, 20
		for i := 0; i < s.Count; i++ {
			r := i / meters % resources
			host := fmt.Sprintf("host-%06d.0badcafe.example.com", r)
			acc.AddMetric(metric.New(
				fmt.Sprintf("generator.counter.%02d", i%meters),
				map[string]string{
					"host": host, "datacenter": "datacenter-00", "rack": fmt.Sprintf("rack-%04d", r/40),
					"os": "Debian GNU/Linux 12", "environment": "production",
				},
				map[string]interface{}{"value": 1000000000 + float64(i%1000000) + 0.5},
				time.Now(),
			))
		}
	}()
	return nil
}

// sink writes to a file as Telegraf's own output does, which the shim cannot run:
// it gives no output a serializer.
type sink struct {
	Path string `toml:"path"`

	file       *os.File
	serializer influx.Serializer
}

func (*sink) SampleConfig() string { return "" }

func (s *sink) Connect() (err error) {
	s.file, err = os.Create(s.Path)
	return err
}

func (s *sink) Close() error { return s.file.Close() }

func (s *sink) Write(metrics []telegraf.Metric) error {
	text, err := s.serializer.SerializeBatch(metrics)
	if err == nil {
		_, err = s.file.Write(text)
	}
	return err
}

func main() {
	outputs.Add("sink", func() telegraf.Output { return new(sink) })
	inputs.Add("source", func() telegraf.Input { return new(source) })
	file := flag.String("config", "", "configuration of the one plugin")
	flag.Parse()
	s := shim.New()
	s.BatchSize = 1000 // of outputs; 1 if not set
	s.BatchTimeout = time.Second
	err := s.LoadConfig(file)
	if err == nil {
		err = s.Run(shim.PollIntervalDisabled)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
