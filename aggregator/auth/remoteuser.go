package auth

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// RemoteUser believes what a server in front says in a header. Requests that come
// from elsewhere are refused, so that nobody can write the header themselves.
type RemoteUser struct {
	header string
	from   []netip.Prefix
	admins []string
}

// NewRemoteUser reads the addresses of the servers that are believed.
func NewRemoteUser(o RemoteUserOptions) (*RemoteUser, error) {
	u := &RemoteUser{header: o.Header, admins: o.Admins}
	if o.Header == "" {
		return nil, fmt.Errorf("remoteuser needs the name of a header")
	}
	for _, text := range o.From {
		if !strings.Contains(text, "/") {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("remoteuser.from: %q is no address and no network: %w", text, err)
			}
			u.from = append(u.from, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("remoteuser.from: %q is no address and no network: %w", text, err)
		}
		u.from = append(u.from, p.Masked())
	}
	return u, nil
}

// Identify reads the header of a request that comes from a trusted server.
func (u *RemoteUser) Identify(r *http.Request) (Identity, error) {
	if !u.trusts(r.RemoteAddr) {
		return Identity{}, &Refusal{Code: http.StatusUnauthorized, Reason: "Requests have to come through the server that authenticates users."}
	}
	user := r.Header.Get(u.header)
	if user == "" {
		return Identity{}, &Refusal{Code: http.StatusUnauthorized, Reason: "The server in front has not said who makes the request."}
	}
	return named(user, u.admins), nil
}

func (u *RemoteUser) trusts(address string) bool {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return false
	}
	ip := a.Addr().Unmap().WithZone("")
	for _, p := range u.from {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
