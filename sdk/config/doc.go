// Package config reads TOML so that every mistake in it can be told precisely:
// values know where they were written, decoding into a struct reports all
// problems at once with file, line, key and a suggestion, and secrets never show
// up in what is printed.
package config
