package api

import (
	"net/http"
	"net/url"
	"strings"
)

// inside is the URL of a request without the prefix of the API and without a slash
// at its end, or false if it is not under the prefix.
func (s *Server) inside(r *http.Request) (*url.URL, bool) {
	u := *r.URL
	escaped := u.EscapedPath()
	if s.o.URLPrefix != "" {
		rest, ok := strings.CutPrefix(escaped, s.o.URLPrefix)
		if !ok || rest != "" && rest[0] != '/' {
			return nil, false
		}
		escaped = rest
	}
	// "/v1/" is the list of what is in it, "/v1" leads there.
	if escaped != "/v1" {
		escaped = "/" + strings.Trim(escaped, "/")
	}
	if escaped == "/v1" && strings.HasSuffix(u.EscapedPath(), "/") {
		escaped = "/v1/"
	}
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

// link is the absolute URL of a path of the API, given as its unescaped parts.
func (s *Server) link(r *http.Request, parts ...string) string {
	var b strings.Builder
	b.WriteString(s.base(r))
	for _, part := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(part))
	}
	return b.String()
}

// base is the URL under which the client sees the API, without a slash at its end.
func (s *Server) base(r *http.Request) string {
	scheme, host, prefix := "http", r.Host, s.o.URLPrefix
	if r.TLS != nil {
		scheme = "https"
	}
	if s.o.ProxyHeaders {
		if forwarded := r.Header.Get("Forwarded"); forwarded != "" {
			first, _, _ := strings.Cut(forwarded, ",")
			for pair := range strings.SplitSeq(first, ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
				value = strings.Trim(value, `"`)
				switch {
				case strings.EqualFold(name, "proto") && value != "":
					scheme = value
				case strings.EqualFold(name, "host") && value != "":
					host = value
				}
			}
		} else {
			if v := r.Header.Get("X-Forwarded-Proto"); v != "" {
				scheme = v
			}
			if v := r.Header.Get("X-Forwarded-Host"); v != "" {
				host = v
			}
		}
		if v := strings.TrimRight(r.Header.Get("X-Forwarded-Prefix"), "/"); v != "" {
			prefix = v + s.o.URLPrefix
		}
	}
	return scheme + "://" + host + prefix
}
