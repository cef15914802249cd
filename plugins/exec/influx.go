package exec

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/glob"
)

// influx makes samples of line protocol: each field of a line becomes one of the
// meter measurement.field, and the tags its resource's metadata.
type influx struct {
	Precision    string              `toml:"precision" default:"ns" enum:"ns|us|ms|s" doc:"The unit of timestamps."`
	ResourceTags []string            `toml:"resource_tags" default:"host" doc:"The tags that together are the resource id."`
	Strings      string              `toml:"strings" default:"drop" enum:"drop|metadata" doc:"What becomes of fields that are text."`
	Types        map[string]sdk.Type `toml:"types" doc:"Globs of meters and their types; gauge where none matches."`
	Units        map[string]string   `toml:"units" doc:"Globs of meters and their units."`

	types []byGlob[sdk.Type]
	units []byGlob[string]
}

// byGlob is what holds for the meters that a pattern matches.
type byGlob[V any] struct {
	pattern string
	globs   *glob.Globs
	value   V
}

// check compiles the globs to see whether that is possible.
func (x *influx) check() error {
	var errs []error
	for _, table := range []struct {
		key      string
		patterns []string
	}{{"types", slices.Sorted(maps.Keys(x.Types))}, {"units", slices.Sorted(maps.Keys(x.Units))}} {
		for _, p := range table.patterns {
			if _, err := glob.Compile([]string{p}); err != nil || strings.HasPrefix(p, "!") {
				errs = append(errs, config.KeyError(table.key, "%q is not a pattern of meter names", p))
			}
		}
	}
	return errors.Join(errs...)
}

func (x *influx) sort() { x.types, x.units = byLength(x.Types), byLength(x.Units) }

// byLength puts the longest pattern first: it says more than a shorter one that
// matches as well.
func byLength[V any](table map[string]V) []byGlob[V] {
	var list []byGlob[V]
	for pattern, value := range table {
		globs, _ := glob.Compile([]string{pattern}) // Validate has seen to errors
		list = append(list, byGlob[V]{pattern, globs, value})
	}
	slices.SortFunc(list, func(a, b byGlob[V]) int {
		return cmp.Or(len(b.pattern)-len(a.pattern), strings.Compare(a.pattern, b.pattern))
	})
	return list
}

func find[V any](list []byGlob[V], name string, otherwise V) V {
	for _, e := range list {
		if e.globs.Match(name) {
			return e.value
		}
	}
	return otherwise
}

// line reads one line of the protocol.
func (x *influx) line(text []byte, hostname string, out *sdk.Builder) error {
	d := lineprotocol.NewDecoderWithBytes(text)
	if !d.Next() {
		return nil
	}
	measurement, err := d.Measurement()
	if err != nil {
		return reason(err)
	}
	common := sdk.Sample{Name: string(measurement) + ".", Metadata: sdk.Metadata{}}
	if err := x.tags(d, &common, hostname); err != nil {
		return err
	}
	samples, err := x.fields(d, &common)
	if err != nil {
		return err
	}
	at, err := d.Time(precision(x.Precision), time.Time{})
	if err != nil {
		return reason(err)
	}
	for _, s := range samples {
		s.Metadata, s.Timestamp = common.Metadata, at
		out.Add(s)
	}
	return nil
}

// tags takes ids from tags; the others are metadata.
func (x *influx) tags(d *lineprotocol.Decoder, s *sdk.Sample, hostname string) error {
	for {
		key, value, err := d.NextTag()
		if err != nil {
			return reason(err)
		}
		if key == nil {
			break
		}
		switch string(key) {
		case "resource_id":
			s.ResourceID = string(value)
		case "project_id":
			s.ProjectID = string(value)
		case "user_id":
			s.UserID = string(value)
		default:
			s.Metadata[string(key)] = string(value)
		}
	}
	if s.ResourceID != "" {
		return nil
	}
	var parts []string
	for _, tag := range x.ResourceTags {
		if v, ok := s.Metadata[tag].(string); ok {
			parts = append(parts, v)
		}
	}
	s.ResourceID = cmp.Or(strings.Join(parts, "."), hostname)
	return nil
}

// fields makes a sample of each field that is a number.
func (x *influx) fields(d *lineprotocol.Decoder, common *sdk.Sample) ([]sdk.Sample, error) {
	var samples []sdk.Sample
	for {
		key, value, err := d.NextField()
		if err != nil {
			return nil, reason(err)
		}
		if key == nil {
			return samples, nil
		}
		s := *common
		s.Name += string(key)
		switch value.Kind() {
		case lineprotocol.Float:
			s.Volume = value.FloatV()
		case lineprotocol.Int:
			s.Volume = float64(value.IntV())
		case lineprotocol.Uint:
			s.Volume = float64(value.UintV())
		case lineprotocol.Bool:
			if value.BoolV() {
				s.Volume = 1
			}
		default:
			if x.Strings == "metadata" {
				common.Metadata[string(key)] = value.StringV()
			}
			continue
		}
		s.Type, s.Unit = find(x.types, s.Name, sdk.Gauge), find(x.units, s.Name, "")
		samples = append(samples, s)
	}
}

func precision(name string) lineprotocol.Precision {
	switch name {
	case "us":
		return lineprotocol.Microsecond
	case "ms":
		return lineprotocol.Millisecond
	case "s":
		return lineprotocol.Second
	}
	return lineprotocol.Nanosecond
}

// reason takes the line number off an error: the decoder sees one line only.
func reason(err error) error {
	if d := (*lineprotocol.DecodeError)(nil); errors.As(err, &d) {
		return fmt.Errorf("column %d: %w", d.Column, d.Err)
	}
	return err
}
