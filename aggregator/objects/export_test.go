package objects

// ListingBy returns options of a store that asks for so many objects at once when it lists.
func ListingBy(n int, o S3Options) S3Options {
	o.listed = n
	return o
}
