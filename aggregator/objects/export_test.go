package objects

import "time"

// SetPatience changes the limits of time of a store of S3 that is not in use.
func SetPatience(s Store, timeout, patience time.Duration) {
	o := &s.(*bucket).o
	o.Timeout, o.Patience = timeout, patience
}

// ListingBy returns options of a store that asks for so many objects at once when it lists.
func ListingBy(n int, o S3Options) S3Options {
	o.listed = n
	return o
}
