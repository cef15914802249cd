package objects

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/minio/minio-go/v7"
)

// response is what the server said, if err is that.
func response(err error) (minio.ErrorResponse, bool) {
	var r minio.ErrorResponse
	return r, errors.As(err, &r)
}

func isMissing(err error) bool {
	r, ok := response(err)
	return ok && r.Code == minio.NoSuchKey
}

// isUnknownUpload tells whether the parts of an object are gone: they were put
// together, or thrown away.
func isUnknownUpload(err error) bool {
	r, ok := response(err)
	return ok && r.Code == minio.NoSuchUpload
}

// isConflict tells whether a conditional write was refused because of what is there. A
// server that finds nothing, where there should be a version, says so in other words.
func isConflict(err error) bool {
	r, _ := response(err)
	return r.StatusCode == http.StatusPreconditionFailed || r.Code == minio.PreconditionFailed || isMissing(err)
}

// passes tells whether a request that failed may succeed later.
func passes(err error) bool {
	if errors.Is(err, ErrConflict) {
		return false
	}
	if r, ok := response(err); ok {
		switch r.Code {
		case "RequestTimeTooSkewed", "NotImplemented":
			return false
		case "ConditionalRequestConflict", "OperationAborted", "SlowDown", "RequestTimeout":
			return true
		}
		return r.StatusCode >= 500 && r.StatusCode != http.StatusNotImplemented ||
			r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout || r.StatusCode == 0
	}
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	switch {
	case errors.As(err, &certificate), errors.As(err, &record):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"), strings.Contains(err.Error(), "malformed HTTP response"):
		return false
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, errStalled)
}

// problem says what could not be done with an object, and why.
func (s *bucket) problem(action, name string, err error) error {
	switch {
	case errors.Is(err, ErrConflict):
		err = ErrConflict
	case isMissing(err):
		err = ErrNotFound
	default:
		err = s.explain(err)
	}
	if action == "list" {
		return fmt.Errorf("cannot list objects in %s: %w", s, err)
	}
	return fmt.Errorf("cannot %s object %q in %s: %w", action, name, s, err)
}

// explain adds what to do about an error. It names the option that is likely wrong.
func (s *bucket) explain(err error) error {
	remedy := ""
	if r, ok := response(err); ok {
		switch r.Code {
		case minio.NoSuchBucket:
			remedy = fmt.Sprintf("make bucket %q there, or correct option bucket", s.o.Bucket)
		case minio.InvalidAccessKeyID:
			remedy = "the server does not know the key of option access_key"
		case "SignatureDoesNotMatch":
			remedy = "option secret_key is not the secret of access_key"
		case minio.AccessDenied, "AllAccessDisabled", "AccountProblem":
			remedy = fmt.Sprintf("allow the owner of access_key to list the bucket, and to read, write and delete objects below %q", s.o.Prefix)
		case "RequestTimeTooSkewed", "RequestExpired":
			remedy = "the clocks of this machine and of the server differ: set both by NTP"
		case minio.AuthorizationHeaderMalformed, minio.InvalidRegion, "IllegalLocationConstraintException", "PermanentRedirect":
			remedy = fmt.Sprintf("the bucket is not in region %q: correct option region, or endpoint", s.o.Region)
			if r.Region != "" && r.Region != s.o.Region {
				remedy = fmt.Sprintf("the bucket is in region %q: set option region to it", r.Region)
			}
		case "QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity":
			remedy = "there is no room in the store: enlarge it or its quota"
		case "NotImplemented":
			remedy = "the server has not all of S3 that is needed: use another one"
		}
		err = fmt.Errorf("%w (%s)", err, r.Code)
	}
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	switch {
	case remedy != "":
	case errors.As(err, &authority):
		remedy = "name the PEM file of the authority that signed the server's certificate in option ca_file"
	case errors.As(err, &host):
		remedy = "give the name that is in the server's certificate in option endpoint"
	case errors.As(err, &certificate):
		remedy = "the server needs a valid certificate"
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		remedy = "the server does not speak TLS there: write http:// in option endpoint"
	case strings.Contains(err.Error(), "malformed HTTP response"), strings.Contains(err.Error(), "HTTP request to an HTTPS server"):
		remedy = "the server speaks TLS there: write https:// in option endpoint"
	case strings.HasPrefix(s.o.Endpoint, "http:") && (errors.Is(err, io.EOF) || strings.Contains(err.Error(), "Connection closed by foreign host")):
		remedy = "if the server speaks TLS there, write https:// in option endpoint"
	case errors.As(err, &dns):
		remedy = "correct the host in option endpoint"
		if s.o.Addressing != "path" {
			remedy += ", or set option addressing to \"path\" when the server knows no hosts by the names of buckets"
		}
	case errors.Is(err, syscall.ECONNREFUSED):
		remedy = "nothing listens there: start the server, or correct option endpoint"
	}
	if remedy == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, remedy)
}
