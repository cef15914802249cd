// Package conf gives the program the files that ship and that it must know without
// them being installed.
package conf

import _ "embed"

// Resources is aggregator/resources.toml: which samples become which resources and
// metrics.
//
//go:embed aggregator/resources.toml
var Resources []byte
