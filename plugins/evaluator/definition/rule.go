package definition

// Type implements Rule.
func (*ResourceThreshold) Type() string { return "gnocchi_resources_threshold" }

// Type implements Rule.
func (*MetricsThreshold) Type() string { return "gnocchi_aggregation_by_metrics_threshold" }

// Type implements Rule.
func (*ResourcesThreshold) Type() string { return "gnocchi_aggregation_by_resources_threshold" }

// Type implements Rule.
func (*Operations) Type() string { return "operations_threshold" }

// Type implements Rule.
func (*Prometheus) Type() string { return "prometheus" }

// Type implements Rule.
func (*Composite) Type() string { return "composite" }

// Type implements Rule.
func (*Event) Type() string { return "event" }

// Type implements Rule.
func (*Absence) Type() string { return "absence" }

// Types are the texts of all types of rules, sorted.
func Types() []string {
	return []string{
		"absence", "composite", "event", "gnocchi_aggregation_by_metrics_threshold",
		"gnocchi_aggregation_by_resources_threshold", "gnocchi_resources_threshold", "operations_threshold", "prometheus",
	}
}

// joined are the types that may be leaves of a composite rule, sorted.
var joined = []string{
	"gnocchi_aggregation_by_metrics_threshold", "gnocchi_aggregation_by_resources_threshold",
	"gnocchi_resources_threshold", "operations_threshold", "prometheus",
}
