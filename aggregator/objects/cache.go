package objects

import (
	"context"
	"io"
)

// Cache gives random access to objects. Those of a remote store are kept on local disk by
// pages, of which the ones unused for longest go when there are too many; those of a local
// store are opened themselves.
type Cache struct{}

// NewCache keeps at most limit bytes in dir, which is used only when the store is remote. One
// process at a time can use it. What is in it survives a restart; each read is verified,
// and a damaged page is fetched again.
func NewCache(s Store, dir string, limit int64) (*Cache, error) { return nil, errNotYet }

// File is an open object.
type File interface {
	io.ReaderAt
	io.Closer
}

// Open opens an object of a size that the caller knows. ctx ends all reads of the file. That
// an object is not there may be reported as late as by ReadAt.
func (c *Cache) Open(ctx context.Context, name string, size int64) (File, error) {
	return nil, errNotYet
}

// Close frees the folder; what is in it stays.
func (c *Cache) Close() error { return errNotYet }

// CacheStats are counts since the start, and sizes now.
type CacheStats struct {
	Bytes, Limit int64
	Pages        int
	Hits, Misses uint64 // pages
	Damaged      uint64 // pages that were fetched again because they were damaged
	WriteErrors  uint64 // pages that could not be kept, for example because the disk is full
}

// Stats returns them; all zero for a local store.
func (c *Cache) Stats() CacheStats { return CacheStats{} }
