package objects

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second

	// tellEvery is the least time between two failures that the log is told of.
	tellEvery = time.Minute
)

// errStalled ends a request that made no progress.
var errStalled = errors.New("the server does not answer")

// connect checks the options. It sends nothing yet.
func connect(o S3Options) (*bucket, error) {
	u, err := url.Parse(o.Endpoint)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil) {
		err = errors.New("it is not like https://s3.example.org or http://127.0.0.1:9000")
	}
	if err != nil {
		return nil, fmt.Errorf("option endpoint: %q is no address of an S3 server: %w", o.Endpoint, err)
	}
	for _, option := range []struct{ name, value string }{{"bucket", o.Bucket}, {"access_key", o.AccessKey}, {"secret_key", o.SecretKey}} {
		if option.value == "" {
			return nil, fmt.Errorf("option %s is missing, which S3 needs", option.name)
		}
	}
	if o.Prefix = strings.Trim(o.Prefix, "/"); o.Prefix != "" {
		if err := CheckName(o.Prefix); err != nil {
			return nil, fmt.Errorf("option prefix: %w", err)
		}
		o.Prefix += "/"
	}
	lookup, ok := map[string]minio.BucketLookupType{"": minio.BucketLookupAuto, "path": minio.BucketLookupPath, "host": minio.BucketLookupDNS}[o.Addressing]
	if !ok {
		return nil, fmt.Errorf("option addressing: %q is neither \"path\" nor \"host\"", o.Addressing)
	}
	if o.Region == "" {
		o.Region = defaultRegion
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}

	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 32
	transport.DisableCompression = true // of ranges it would be wrong
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		if transport.TLSClientConfig.RootCAs, err = trusted(o.CAFile); err != nil {
			return nil, fmt.Errorf("option ca_file: %w", err)
		}
	}
	client, err := minio.NewCore(u.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(o.AccessKey, o.SecretKey, ""),
		Secure:       u.Scheme == "https",
		Transport:    transport,
		Region:       o.Region,
		BucketLookup: lookup,
		MaxRetries:   1, // try does that, with its own time limits
	})
	if err != nil {
		return nil, fmt.Errorf("cannot use S3 at %s: %w", o.Endpoint, err)
	}
	return &bucket{o: o, client: *client, transport: transport}, nil
}

// trusted is the system's certificates and those of a file.
func trusted(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // the machine has none
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("there is no PEM certificate in %q", path)
	}
	return pool, nil
}

// attempt is one request.
type attempt struct {
	stall   *time.Timer
	timeout time.Duration
	gained  bool
}

// moves says that something arrived or left, so that the request is not given up.
func (a *attempt) moves() { a.stall.Reset(a.timeout) }

// gains says that what arrived is not asked for again, so that the patience is new.
func (a *attempt) gains() {
	a.moves()
	a.gained = true
}

// try sends a request, and sends it again while it fails in a way that may pass.
func (s *bucket) try(ctx context.Context, f func(ctx context.Context, a *attempt) error) error {
	began, wait := time.Now(), minBackoff
	for {
		own, cancel := context.WithCancelCause(ctx)
		a := &attempt{timeout: s.o.Timeout}
		a.stall = time.AfterFunc(s.o.Timeout, func() { cancel(errStalled) })
		err := f(own, a)
		a.stall.Stop()
		stalled := errors.Is(context.Cause(own), errStalled)
		cancel(nil)
		if err == nil {
			s.answers()
			return nil
		}
		if ctx.Err() != nil {
			return ended(ctx, err)
		}
		if stalled {
			err = fmt.Errorf("%w within %v", errStalled, s.o.Timeout)
		} else if !passes(err) {
			return err
		}
		s.fails(err)
		if a.gained {
			began, wait = time.Now(), minBackoff
		}
		if time.Since(began)+wait > s.o.Patience {
			return fmt.Errorf("given up after %v: %w", s.o.Patience, err)
		}
		// Spread, so that those who failed together do not come back together.
		select {
		case <-time.After(wait/2 + rand.N(wait/2)):
		case <-ctx.Done():
			return ended(ctx, err)
		}
		wait = min(2*wait, maxBackoff)
	}
}

// ended is the error of a context, with what was wrong before it ended.
func ended(ctx context.Context, last error) error {
	if errors.Is(last, ctx.Err()) {
		return last
	}
	return fmt.Errorf("%w, after %w", ctx.Err(), last)
}

// fails tells the log of a failure, but not of each when some requests fail and others
// do not.
func (s *bucket) fails(err error) {
	now := time.Now().UnixNano()
	last := s.told.Load()
	if now-last < int64(tellEvery) && last != 0 || !s.told.CompareAndSwap(last, now) {
		return
	}
	if s.failing.CompareAndSwap(false, true) {
		s.o.Log.Warn("a request failed and is tried again", "store", s.String(), "error", s.explain(err))
	}
}

func (s *bucket) answers() {
	if s.failing.CompareAndSwap(true, false) {
		s.o.Log.Info("the store answers again", "store", s.String())
	}
}

// watched tells an attempt of each read.
type watched struct {
	io.Reader
	a *attempt
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if n > 0 {
		w.a.moves()
	}
	return n, err
}

// download is the content of an object, or of a range of it. When the connection breaks
// it goes on where it was with another one.
type download struct {
	s     *bucket
	ctx   context.Context
	name  string
	at    int64
	left  int64 // bytes that are wanted; negative: all
	body  io.ReadCloser
	stop  context.CancelCauseFunc
	stall *time.Timer
	moved time.Time     // when something came
	wait  time.Duration // before the next attempt, when nothing did
}

// open asks for what is wanted from at on.
func (d *download) open() error {
	return d.s.try(d.ctx, func(ctx context.Context, _ *attempt) error {
		if d.left == 0 {
			_, err := d.s.client.StatObject(ctx, d.s.o.Bucket, d.s.key(d.name), minio.StatObjectOptions{})
			d.body = http.NoBody
			return err
		}
		var o minio.GetObjectOptions
		switch {
		case d.left > 0:
			if err := o.SetRange(d.at, d.at+d.left-1); err != nil {
				return err
			}
		case d.at > 0:
			if err := o.SetRange(d.at, 0); err != nil {
				return err
			}
		}
		// The body is read after this attempt has ended, so it has a context of its own.
		own, stop := context.WithCancelCause(d.ctx)
		end := context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })
		body, info, header, err := d.s.client.GetObject(own, d.s.o.Bucket, d.s.key(d.name), o)
		if err == nil {
			if !end() {
				err = context.Cause(own)
			} else if asked := o.Header().Get("Range"); asked != "" && !strings.HasPrefix(header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.at)) {
				err = errors.New("the server does not give ranges of objects")
			}
			if err != nil {
				body.Close() //nolint:errcheck // not read
			}
		}
		if minio.ToErrorResponse(err).Code == minio.InvalidRange {
			stop(nil)
			d.body, d.left = http.NoBody, 0
			return nil
		}
		if err != nil {
			stop(nil)
			return err
		}
		if d.left < 0 {
			d.left = info.Size
		}
		d.left = min(d.left, info.Size)
		d.body, d.stop = body, stop
		d.stall = time.AfterFunc(d.s.o.Timeout, func() { stop(errStalled) })
		d.stall.Stop() // until somebody reads
		return nil
	})
}

func (d *download) Read(b []byte) (int, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	if d.left == 0 {
		return 0, io.EOF
	}
	if int64(len(b)) > d.left {
		b = b[:d.left]
	}
	d.stall.Reset(d.s.o.Timeout)
	n, err := d.body.Read(b)
	d.stall.Stop()
	d.at += int64(n)
	d.left -= int64(n)
	if n > 0 {
		d.moved, d.wait = time.Now(), 0
	}
	if err == nil || d.left == 0 {
		return n, nil
	}
	if d.ctx.Err() != nil {
		return n, d.ctx.Err()
	}
	// Whatever it was, the rest is asked for again.
	if time.Since(d.moved) > d.s.o.Patience {
		return n, d.s.problem("read", d.name, err)
	}
	d.Close() //nolint:errcheck // broken
	select {
	case <-time.After(d.wait):
	case <-d.ctx.Done():
		return n, d.ctx.Err()
	}
	d.wait = min(max(2*d.wait, minBackoff), maxBackoff)
	left := d.left
	if err := d.open(); err != nil {
		return n, d.s.problem("read", d.name, err)
	}
	if d.left != left {
		return n, d.s.problem("read", d.name, io.ErrUnexpectedEOF)
	}
	return n, nil
}

func (d *download) Close() error {
	if d.stop != nil {
		d.stall.Stop()
		defer d.stop(nil)
	}
	return d.body.Close()
}
