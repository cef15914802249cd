package store

import "strings"

// storable gives a text without what databases don't take in texts: bytes that are no UTF-8,
// and characters of code 0. Reasons have pieces of events, and what failed has pieces of
// others' answers; neither may keep a transition from being written.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
