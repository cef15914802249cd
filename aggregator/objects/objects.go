// Package objects keeps immutable objects by name, in a local folder or in S3.
//
// Objects are written once and never changed; a name is never used a second
// time. The one exception is a small object that says which of the others count
// (the engine's manifest): it is replaced by compare and swap.
package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
)

var (
	// ErrNotFound is in the chain of an error about an object that is not there.
	ErrNotFound = errors.New("object not found")
	// ErrConflict is in the chain of the error of a Put of a name that is taken, and
	// of a Replace of an object that is not the version it was given.
	ErrConflict = errors.New("object was written by another")
)

// Version names the content of an object that is replaced. The zero value is that of
// an object that does not exist. Content that was there before has the version it had, so
// it should have something in it that never comes again, such as a number that rises.
type Version string

// Info is an object in a list.
type Info struct {
	Name string
	Size int64 // bytes
}

// MaxSmall is how many bytes an object may have that is read or replaced whole.
const MaxSmall = 64 << 20

// Store keeps objects. Its methods may be called concurrently, also by several
// processes. They try again by themselves what may succeed later, until ctx ends or
// their patience does.
type Store interface {
	// Put writes an object of exactly size bytes. It is durable when Put returns nil,
	// and there with all its bytes or not at all; after an error it may be either, unless
	// the error is that of r.
	// ErrConflict: there is one of that name.
	Put(ctx context.Context, name string, r io.Reader, size int64) error
	// Get reads a range; a negative length means to the end. Bytes beyond the end are
	// left out. An object that is not there is reported by Get, not by the reader.
	Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)
	// Read reads a small object, with its version for Replace.
	Read(ctx context.Context, name string) ([]byte, Version, error)
	// Replace writes a small object if it still has the version old; of concurrent calls
	// with the same old one succeeds, the others get ErrConflict. It is durable, and
	// readers see the old content or the new one. After another error it may have
	// happened or not.
	Replace(ctx context.Context, name string, old Version, data []byte) (Version, error)
	// Delete removes an object. It is content when there is none.
	Delete(ctx context.Context, name string) error
	// List gives the objects whose names begin with prefix, in ascending order of name.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// String says where the objects are, for people.
	String() string
}

// IsLocal reports whether only this machine has the objects, as far as that can be known.
func IsLocal(s Store) bool {
	_, is := s.(*local)
	return is
}

// PutFile is [Store.Put] of a file that has exactly size bytes and does not change any more. A
// local store in the same file system writes nothing: it gives the file another name.
// So the caller may remove its own.
func PutFile(ctx context.Context, s Store, name string, f *os.File, size int64) error {
	if l, ok := s.(*local); ok && ctx.Err() == nil {
		if taken, err := l.take(name, f, size); taken || err != nil {
			return err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return s.Put(ctx, name, f, size)
}

// CheckName says what is wrong with a name of an object: it is parts of a-z, A-Z,
// 0-9, '_', '-' and '.' between slashes, of which none begins with a dot or is longer
// than 200 bytes; all together have 800 at most. No name may be another one and a slash
// at its beginning ("a" and "a/b"), for some stores keep objects in folders.
func CheckName(name string) error {
	if len(name) > 800 {
		return fmt.Errorf("name of object %.40q... is longer than 800 bytes", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || len(part) > 200 || strings.ContainsFunc(part, strange) {
			return fmt.Errorf("%q is no name of an object: parts of letters, digits, '_', '-' and '.' between slashes", name)
		}
	}
	return nil
}

// isPrefix tells whether there can be a name that begins with it.
func isPrefix(prefix string) bool {
	return prefix == "" || CheckName(prefix) == nil || CheckName(prefix+"x") == nil
}

func strange(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
}
