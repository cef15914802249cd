package web

import (
	"net/http"
	"net/url"
	"strings"
)

// Mount is where an API is, and who may ask it from elsewhere.
type Mount struct {
	prefix       string // with a slash at its beginning and none at its end, or ""
	proxyHeaders bool
	origins      []string
}

// NewMount makes a mount: see [Options].
func NewMount(prefix string, proxyHeaders bool, origins []string) *Mount {
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix = "/" + prefix
	}
	return &Mount{prefix, proxyHeaders, origins}
}

// Inside is the URL of a request without the prefix of the API and without a slash
// at its end, or false if it is not under the prefix.
func (m *Mount) Inside(r *http.Request) (*url.URL, bool) {
	u := *r.URL
	escaped := u.EscapedPath()
	if m.prefix != "" {
		rest, ok := strings.CutPrefix(escaped, m.prefix)
		if !ok || rest != "" && rest[0] != '/' {
			return nil, false
		}
		escaped = rest
	}
	// Clients put paths together carelessly: gnocchiclient asks for //v1/archive_policy.
	for strings.Contains(escaped, "//") {
		escaped = strings.ReplaceAll(escaped, "//", "/")
	}
	escaped = "/" + strings.Trim(escaped, "/")
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, false
	}
	u.Path, u.RawPath = path, ""
	if u.EscapedPath() != escaped {
		u.RawPath = escaped
	}
	return &u, true
}

// Link is the absolute URL of a path of the API, given as its unescaped parts.
func (m *Mount) Link(r *http.Request, parts ...string) string {
	var b strings.Builder
	b.WriteString(m.Base(r))
	for _, part := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(part))
	}
	return b.String()
}

// Base is the URL under which the client sees the API, without a slash at its end.
func (m *Mount) Base(r *http.Request) string {
	scheme, host, prefix := "http", r.Host, m.prefix
	if r.TLS != nil {
		scheme = "https"
	}
	if m.proxyHeaders {
		f := forwardedBy(r.Header)
		if f.scheme == "http" || f.scheme == "https" {
			scheme = f.scheme
		}
		if f.host != "" && isPlain(f.host) {
			host = f.host
		}
		if isPlain(f.prefix) {
			prefix = f.prefix + m.prefix
		}
	}
	return scheme + "://" + host + prefix
}

// forwarded is how the client sees a server behind a proxy.
type forwarded struct{ scheme, host, prefix string }

// forwardedBy reads what the first proxy says: the header Forwarded (RFC 7239), else
// X-Forwarded-Proto and X-Forwarded-Host; and X-Forwarded-Prefix in any case.
func forwardedBy(h http.Header) forwarded {
	first := func(name string) string {
		v, _, _ := strings.Cut(h.Get(name), ",")
		return strings.TrimSpace(v)
	}
	f := forwarded{prefix: strings.TrimRight(first("X-Forwarded-Prefix"), "/")}
	if h.Get("Forwarded") == "" {
		f.scheme, f.host = strings.ToLower(first("X-Forwarded-Proto")), first("X-Forwarded-Host")
		return f
	}
	for pair := range strings.SplitSeq(first("Forwarded"), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "proto":
			f.scheme = strings.ToLower(value)
		case "host":
			f.host = value
		}
	}
	return f
}

// isPlain reports whether a text has nothing that would end the URL, or the header,
// that it becomes a part of.
func isPlain(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`<>"'`+"`;,\\{}|^?#", c)
	})
}
