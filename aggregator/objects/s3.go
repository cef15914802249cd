package objects

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
)

const (
	defaultRegion   = "us-east-1"
	defaultTimeout  = 30 * time.Second
	defaultPatience = 2 * time.Minute

	// partSize is how many bytes of an object are in memory at once. S3 takes 10,000
	// parts of an object, so it limits one to 78 GiB.
	partSize = 8 << 20

	// tokenKey is metadata of each object: what made it. After an answer was lost it
	// tells whether the object that is there now is that of the request.
	tokenKey = "Nepho-Write"
)

// S3Options say where a bucket is.
type S3Options struct {
	Endpoint   string // URL: https://s3.example.org or http://127.0.0.1:9000
	Region     string // "us-east-1" when empty
	Bucket     string // must be there
	Prefix     string // of the names of all objects; a slash is added when it has none
	AccessKey  string
	SecretKey  string
	CAFile     string        // PEM certificates that are trusted besides the system's
	Addressing string        // of the bucket: "path", "host", or "" for what suits the endpoint
	Timeout    time.Duration // without progress of one request; 0 means 30 s
	Patience   time.Duration // for one call with all its attempts; 0 means 2 min
	Log        *slog.Logger  // is told when the store does not answer and when it does again; nil: nobody is

	listed int // objects in an answer, in tests; 0: what the server gives
}

// bucket is the store in a bucket of S3.
type bucket struct {
	o         S3Options
	client    minio.Core
	transport *http.Transport
	failing   atomic.Bool  // the log was told so
	told      atomic.Int64 // when, in Unix nanoseconds
}

// S3 is the store in a bucket. It asks the server whether the options are right and whether it
// honours conditional writes, without which two processes could overwrite each other's work.
func S3(ctx context.Context, o S3Options) (Store, error) {
	s, err := connect(o)
	if err != nil {
		return nil, err
	}
	if err := s.probe(ctx); err != nil {
		s.transport.CloseIdleConnections()
		return nil, err
	}
	return s, nil
}

// probe tries the rights that the store needs, and the server's conditional writes.
func (s *bucket) probe(ctx context.Context) (err error) {
	for _, err := range s.List(ctx, "probe-") {
		if err != nil {
			return err
		}
		break
	}
	name := "probe-" + newToken()
	first, err := s.Replace(ctx, name, "", []byte("first"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Delete(ctx, name)) }()
	if _, err = s.Replace(ctx, name, first, []byte("second")); err != nil {
		return err
	}
	// From here on, all writes have to be refused.
	header := "If-None-Match"
	_, err = s.Replace(ctx, name, "", []byte("third"))
	if errors.Is(err, ErrConflict) {
		header = "If-Match"
		_, err = s.Replace(ctx, name, first, []byte("third"))
	}
	switch {
	case errors.Is(err, ErrConflict):
		return nil
	case err == nil:
		return fmt.Errorf("cannot use %s: the server ignores %s in writes, so two processes could overwrite each other's work: use a server that honours it", s, header)
	}
	return err
}

func (s *bucket) String() string {
	return fmt.Sprintf("S3 bucket %q at %s", s.o.Bucket, s.o.Endpoint)
}

// key is the name of an object in the bucket.
func (s *bucket) key(name string) string { return s.o.Prefix + name }

func newToken() string {
	b := make([]byte, 16)
	rand.Read(b) //nolint:errcheck // never fails
	return hex.EncodeToString(b)
}

func (s *bucket) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	if err := CheckName(name); err != nil {
		return err
	}
	r = &exact{r: r, left: size}
	var err error
	if size <= partSize {
		data := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead)) // without growing
		if _, err = data.ReadFrom(r); err == nil {
			_, err = s.put(ctx, name, data.Bytes(), "")
		}
	} else {
		err = s.putParts(ctx, name, r)
	}
	if err != nil {
		return s.problem("write", name, err)
	}
	return nil
}

func (s *bucket) Replace(ctx context.Context, name string, old Version, data []byte) (Version, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	if len(data) > MaxSmall {
		return "", tooLarge(name, int64(len(data)))
	}
	version, err := s.put(ctx, name, data, old)
	if err != nil {
		return "", s.problem("replace", name, err)
	}
	return version, nil
}

// writeOptions are of a write that succeeds if the object has a version still.
func writeOptions(token string, old Version) minio.PutObjectOptions {
	o := minio.PutObjectOptions{
		ContentType:  "application/octet-stream",
		UserMetadata: map[string]string{tokenKey: token},
		// Signed as a whole by put, which all servers take. The alternative is a coding of
		// the content that some refuse.
		DisableContentSha256: true,
	}
	if old == "" {
		o.SetMatchETagExcept("*")
	} else {
		o.SetMatchETag(string(old))
	}
	return o
}

// put writes an object in one request.
func (s *bucket) put(ctx context.Context, name string, data []byte, old Version) (Version, error) {
	token := newToken()
	o := writeOptions(token, old)
	sum := sha256.Sum256(data) // the server verifies it
	var version Version
	err := s.try(ctx, func(ctx context.Context, a *attempt) error {
		body := &watched{bytes.NewReader(data), a}
		info, err := s.client.PutObject(ctx, s.o.Bucket, s.key(name), body, int64(len(data)), "", hex.EncodeToString(sum[:]), o)
		if err == nil {
			version = Version(info.ETag)
			return nil
		}
		version, err = s.mine(ctx, name, token, err)
		return err
	})
	return version, err
}

// mine looks, after a write was refused because of what is there, whether that is what this
// very write has put there: then an answer was lost, and it succeeded.
func (s *bucket) mine(ctx context.Context, name, token string, refused error) (Version, error) {
	if !isConflict(refused) && !isUnknownUpload(refused) {
		return "", refused
	}
	info, err := s.client.StatObject(ctx, s.o.Bucket, s.key(name), minio.StatObjectOptions{})
	switch {
	case err == nil && info.Metadata.Get("X-Amz-Meta-"+tokenKey) == token:
		return Version(info.ETag), nil
	case err != nil && !isMissing(err):
		return "", err
	case isUnknownUpload(refused):
		return "", refused
	}
	return "", ErrConflict
}

// putParts writes an object that is larger than what should be in memory.
func (s *bucket) putParts(ctx context.Context, name string, r io.Reader) (err error) {
	token := newToken()
	o := writeOptions(token, "")
	var upload string
	err = s.try(ctx, func(ctx context.Context, _ *attempt) (err error) {
		upload, err = s.client.NewMultipartUpload(ctx, s.o.Bucket, s.key(name), minio.PutObjectOptions{
			ContentType: o.ContentType, UserMetadata: o.UserMetadata,
		})
		return err
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// Also when the caller's context has ended: parts cost money.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Timeout)
			defer cancel()
			if e := s.client.AbortMultipartUpload(ctx, s.o.Bucket, s.key(name), upload); e != nil && !isUnknownUpload(e) {
				s.o.Log.Warn("cannot remove parts of an object that was not written", "store", s.String(), "object", name, "upload", upload, "error", e)
			}
		}
	}()
	var parts []minio.CompletePart
	buf := make([]byte, partSize)
	for end := false; !end; {
		n, err := io.ReadFull(r, buf)
		end = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return err
		}
		if n == 0 {
			break
		}
		data := buf[:n]
		sum := sha256.Sum256(data)
		err = s.try(ctx, func(ctx context.Context, a *attempt) error {
			part, err := s.client.PutObjectPart(ctx, s.o.Bucket, s.key(name), upload, len(parts)+1, &watched{bytes.NewReader(data), a}, int64(n),
				minio.PutObjectPartOptions{Sha256Hex: hex.EncodeToString(sum[:]), DisableContentSha256: true})
			if err == nil {
				parts = append(parts, minio.CompletePart{PartNumber: len(parts) + 1, ETag: part.ETag})
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.try(ctx, func(ctx context.Context, _ *attempt) error {
		_, err := s.client.CompleteMultipartUpload(ctx, s.o.Bucket, s.key(name), upload, parts, o)
		if err != nil {
			_, err = s.mine(ctx, name, token, err)
		}
		return err
	})
}

func (s *bucket) Read(ctx context.Context, name string) ([]byte, Version, error) {
	if err := CheckName(name); err != nil {
		return nil, "", err
	}
	var data []byte
	var version Version
	err := s.try(ctx, func(ctx context.Context, a *attempt) error {
		body, info, _, err := s.client.GetObject(ctx, s.o.Bucket, s.key(name), minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer body.Close() //nolint:errcheck // only read
		if info.Size > MaxSmall {
			return tooLarge(name, info.Size)
		}
		data, err = io.ReadAll(&watched{body, a})
		version = Version(info.ETag)
		return err
	})
	if err != nil {
		return nil, "", s.problem("read", name, err)
	}
	return data, version, nil
}

func (s *bucket) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fmt.Errorf("cannot read object %q from byte %d on", name, offset)
	}
	d := &download{s: s, ctx: ctx, name: name, at: offset, left: length, moved: time.Now()}
	if err := d.open(); err != nil {
		return nil, s.problem("read", name, err)
	}
	return d, nil
}

func (s *bucket) Delete(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	err := s.try(ctx, func(ctx context.Context, _ *attempt) error {
		return s.client.RemoveObject(ctx, s.o.Bucket, s.key(name), minio.RemoveObjectOptions{})
	})
	if err != nil && !isMissing(err) {
		return s.problem("delete", name, err)
	}
	return nil
}

func (s *bucket) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if !isPrefix(prefix) {
			return // servers refuse some of these
		}
		last, stopped := "", false
		// A request that fails goes on behind what came already.
		err := s.try(ctx, func(ctx context.Context, a *attempt) error {
			for o := range s.client.Client.ListObjectsIter(ctx, s.o.Bucket, minio.ListObjectsOptions{
				Prefix: s.key(prefix), Recursive: true, StartAfter: last, MaxKeys: s.o.listed,
			}) {
				if o.Err != nil {
					return o.Err
				}
				name := strings.TrimPrefix(o.Key, s.o.Prefix)
				if o.Key <= last || CheckName(name) != nil {
					continue // of others
				}
				last = o.Key
				a.gains()
				if !yield(Info{Name: name, Size: o.Size}, nil) {
					stopped = true
					return nil
				}
			}
			return nil
		})
		if err != nil && !stopped {
			yield(Info{}, s.problem("list", prefix, err))
		}
	}
}
