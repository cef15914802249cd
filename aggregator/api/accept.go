package api

import (
	"mime"
	"strconv"
	"strings"
)

// ranges calls f for each media range of Accept headers whose quality is above 0,
// and with refused set for those whose quality is 0.
func ranges(accept []string, f func(media string, refused bool)) {
	for _, header := range accept {
		for part := range strings.SplitSeq(header, ",") {
			media, parameters, _ := strings.Cut(part, ";")
			media = strings.ToLower(strings.TrimSpace(media))
			if media == "" {
				continue
			}
			if media == "*" {
				media = "*/*"
			}
			refused := false
			for p := range strings.SplitSeq(parameters, ";") {
				if name, value, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(name), "q") {
					q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
					refused = err == nil && q == 0
				}
			}
			f(media, refused)
		}
	}
}

// names reports whether Accept headers name a media type itself.
func names(accept []string, media string) bool {
	named := false
	ranges(accept, func(m string, refused bool) { named = named || m == media && !refused })
	return named
}

// accepts reports whether Accept headers allow a media type. None at all, or
// empty ones, allow every one. The most specific range decides.
func accepts(accept []string, media string) bool {
	kind, _, _ := strings.Cut(media, "/")
	best, allowed, any := -1, false, false
	ranges(accept, func(m string, refused bool) {
		any = true
		specific := -1
		switch m {
		case media:
			specific = 2
		case kind + "/*":
			specific = 1
		case "*/*":
			specific = 0
		}
		if specific > best {
			best, allowed = specific, !refused
		}
	})
	return allowed || !any
}

// isMedia reports whether a Content-Type is a media type, with any parameters.
func isMedia(contentType, media string) bool {
	if contentType == media {
		return true
	}
	got, _, err := mime.ParseMediaType(contentType)
	return err == nil && got == media
}
