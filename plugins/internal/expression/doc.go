// Package expression compiles and evaluates the expressions that options of
// transformers hold, such as
//
//	100.0 / (1e9 * (resource_metadata.vcpus ?? 1))
//
// The language is that of github.com/expr-lang/expr. An expression sees the
// fields of one sample under the names of their JSON form: volume, name, unit,
// type, resource_id, project_id, user_id, source, timestamp and
// resource_metadata. Metadata keys that are not there are nil, so that ?? gives
// them a default; ?. reaches into an object that may be missing.
//
// Metadata has no fixed types: one service's 2 is the next one's "2". Where an
// operator can only mean numbers, text that reads as a number is taken as one.
//
// There is no now(): a value depends on the sample alone, so that a batch that is
// worked on again gives the same. An expression without fields is evaluated when
// it is compiled.
package expression
