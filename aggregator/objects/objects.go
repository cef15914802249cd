// Package objects keeps immutable objects by name: in a local folder or in S3.
package objects

// Store keeps objects.
type Store interface{}
