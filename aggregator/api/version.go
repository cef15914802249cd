package api

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/nephoscope/nepho/aggregator/index"
)

// version is what tells a revision of a resource from others.
type version struct {
	etag     string
	modified time.Time // in whole seconds, as HTTP has them
}

func versionOf(r *index.Resource) version {
	// It is a short name of the revision, and no secret.
	sum := sha1.Sum([]byte(r.ID.String() + r.RevisionStart.UTC().Format(time.RFC3339Nano)))
	return version{`"` + hex.EncodeToString(sum[:]) + `"`, r.RevisionStart.UTC().Truncate(time.Second)}
}

// errPrecondition says that a request is about another revision.
var errPrecondition = &Error{http.StatusPreconditionFailed, "The resource is of another revision than the request asks for."}

// errNotModified says that the client has the revision already.
var errNotModified = errors.New("not modified")

// check refuses a request whose conditions do not hold: RFC 9110, section 13.2.2.
// The error is an [*Error], or errNotModified for reads.
func (v version) check(r *http.Request) error {
	h := r.Header
	if match := h.Values("If-Match"); len(match) > 0 {
		if !v.in(match, false) {
			return errPrecondition
		}
	} else if t, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil && v.modified.After(t) {
		return errPrecondition
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	if match := h.Values("If-None-Match"); len(match) > 0 {
		if v.in(match, true) {
			if read {
				return errNotModified
			}
			return errPrecondition
		}
	} else if t, err := http.ParseTime(h.Get("If-Modified-Since")); err == nil && read && !v.modified.After(t) {
		return errNotModified
	}
	return nil
}

// pinned is the revision that a resource must still have when it is changed, since the
// conditions of a request were checked with it; the zero time is any.
func pinned(r *http.Request, found *index.Resource) time.Time {
	h := r.Header
	if match := h.Get("If-Match"); match != "" && match != "*" || h.Get("If-Unmodified-Since") != "" || h.Get("If-None-Match") != "" {
		return found.RevisionStart
	}
	return time.Time{}
}

// in reports whether the entity tag is in a list of them, or that is "*". Weak
// tags match only where that is enough.
func (v version) in(lists []string, weak bool) bool {
	for tag := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		tag = strings.TrimSpace(tag)
		if weak {
			tag = strings.TrimPrefix(tag, "W/")
		}
		// Clients that forget the quotes mean the same.
		if tag == "*" || tag == v.etag || `"`+tag+`"` == v.etag {
			return true
		}
	}
	return false
}
