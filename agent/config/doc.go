// Package config reads the host's configuration: the [agent] table, one
// [[<kind>.<plugin>]] table for each instance of a plugin, and the pipelines that
// join them.
//
// [Load] reads the main file and then the files of conf.d (or of include =
// [...]), takes out of each instance's table the options that are the host's, and
// checks all that can be checked without asking a plugin. [Config.Check] asks
// them. Both report every problem at once.
package config
