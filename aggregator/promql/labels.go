package promql

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/nephoscope/nepho/aggregator/index"
)

// Labels of metrics that did not come with labels of their own. Attributes of the
// resource's type are labels, too.
const (
	labelMetricName = model.MetricNameLabel // the metric's name as Prometheus can write it
	labelMetric     = "metric"              // the metric's name where __name__ had to be written otherwise
	labelResource   = "resource_id"         // as it was given
	labelType       = "resource_type"       // its name
	labelProject    = "project_id"          // the resource's
	labelUser       = "user_id"             // the resource's
)

// Labels that select what is made of the points instead of a metric. A series has
// them only where the selector does.
const (
	labelMethod      = "aggregation" // method, such as max
	labelGranularity = "granularity" // seconds, or such as 5m
)

// labelID tells metrics apart whose labels are the same otherwise.
const labelID = "metric_id"

var builtin = []string{labelMetric, labelResource, labelType, labelProject, labelUser, labelMethod, labelGranularity, labelID}

// metricName is how Prometheus can write the name of a metric: cpu_util for cpu.util.
func metricName(name string) string { return legal(name, true) }

// labelName is how Prometheus can write the name of an attribute. One that has the
// name of another label gets attribute_ before it.
func labelName(attribute string) string {
	name := legal(attribute, false)
	for _, b := range builtin {
		if name == b {
			return "attribute_" + name
		}
	}
	if strings.HasPrefix(name, "__") {
		return "attribute" + name
	}
	return name
}

// legal replaces what Prometheus's names must not have.
func legal(name string, colons bool) string {
	ok := func(i int, c rune) bool {
		return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' && i > 0 || c == ':' && colons
	}
	sound := name != ""
	for i, c := range name {
		sound = sound && ok(i, c)
	}
	if sound {
		return name
	}
	var b strings.Builder
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		b.WriteByte('_')
	}
	for _, c := range name {
		if ok(1, c) {
			b.WriteRune(c)
		} else {
			b.WriteByte('_')
		}
	}
	if b.Len() == 0 {
		return "_"
	}
	return b.String()
}

// ownLabels are those that a metric came with.
func ownLabels(m *index.Metric) labels.Labels { return labels.FromMap(m.Labels) }

// resourceLabels sets the labels that all metrics of a resource have.
func resourceLabels(b *labels.Builder, r *index.Resource) {
	for name, v := range r.Attributes {
		b.Set(labelName(name), attributeText(v))
	}
	b.Set(labelResource, original(r))
	b.Set(labelType, r.Type)
	b.Set(labelProject, deref(r.Project))
	b.Set(labelUser, deref(r.User))
}

// nameLabels sets the labels that tell a resource's metrics apart.
func nameLabels(b *labels.Builder, name string) {
	shown := metricName(name)
	b.Set(labelMetricName, shown)
	if shown != name {
		b.Set(labelMetric, name)
	}
}

// original is the id of a resource as it was given.
func original(r *index.Resource) string {
	if r.Original != "" {
		return r.Original
	}
	return r.ID.String()
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// attributeText writes the value of an attribute; "" of none, which is no label.
func attributeText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	}
	return ""
}
