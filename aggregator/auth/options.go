package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/nephoscope/nepho/sdk/config"
)

// Options say how to find out who makes a request. Plugins embed them in theirs.
type Options struct {
	Auth       string            `toml:"auth" default:"basic" enum:"basic|keystone|remoteuser|none" doc:"How the API finds out who makes a request. basic without users only identifies: it believes every name and any password, as Gnocchi does."`
	Basic      BasicOptions      `toml:"basic" doc:"For auth basic."`
	RemoteUser RemoteUserOptions `toml:"remoteuser" doc:"For auth remoteuser."`
	Keystone   KeystoneOptions   `toml:"keystone" doc:"For auth keystone."`
}

// BasicOptions are those of HTTP basic authentication.
type BasicOptions struct {
	Users     map[string]string `toml:"users" secret:"true" doc:"Users and their passwords, each a bcrypt hash ($2y$...) or the password itself, such as file:/etc/nepho/admin.password. Without users every name and any password is believed."`
	UsersFile string            `toml:"users_file" doc:"File with more users, a line each, as htpasswd -B writes it: NAME:BCRYPT-HASH. It is read at start."`
	Admins    []string          `toml:"admins" default:"admin" doc:"Users that have the role admin."`
}

// RemoteUserOptions are those of users that a server in front has authenticated.
type RemoteUserOptions struct {
	Header string   `toml:"header" default:"X-Remote-User" doc:"Header with the name of the user. The server in front has to remove it from what its clients send."`
	From   []string `toml:"from" default:"127.0.0.0/8,::1/128" doc:"Addresses or networks of the servers that are believed."`
	Admins []string `toml:"admins" default:"admin" doc:"Users that have the role admin."`
}

// KeystoneOptions are those of tokens of OpenStack.
type KeystoneOptions struct {
	AuthURL       string `toml:"auth_url" doc:"Keystone's URL, such as https://keystone:5000/v3."`
	Username      string `toml:"username" doc:"Service user that may validate tokens."`
	Password      string `toml:"password" secret:"true" doc:"Password of the service user."`
	UserDomain    string `toml:"user_domain" default:"Default" doc:"Name of the service user's domain."`
	Project       string `toml:"project" default:"service" doc:"Project of the service user."`
	ProjectDomain string `toml:"project_domain" default:"Default" doc:"Name of the project's domain."`

	ApplicationCredentialID     string `toml:"application_credential_id" doc:"Application credential, instead of username and password."`
	ApplicationCredentialSecret string `toml:"application_credential_secret" secret:"true" doc:"Secret of the application credential."`

	CA      string        `toml:"ca" doc:"PEM file with the authorities to trust instead of the system's."`
	Timeout time.Duration `toml:"timeout" default:"5s" min:"100ms" max:"1m" doc:"Most time of a question to Keystone."`
	// Cached answers are given without asking: a token that was revoked is believed
	// until its answer is forgotten.
	Cache     time.Duration `toml:"cache" default:"5m" min:"0s" max:"1h" doc:"How long a valid token is believed without asking again."`
	CacheSize int           `toml:"cache_size" default:"10000" min:"1" max:"10000000" doc:"Tokens that are remembered at most."`
}

// Validate reports what is wrong with the options of the mode that is used. Options
// that embed these and have a Validate of their own call it.
func (o *Options) Validate() error {
	if o.Auth != "keystone" {
		return nil
	}
	var errs []error
	k := o.Keystone
	if u, err := url.Parse(k.AuthURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, config.KeyError("keystone.auth_url", "auth keystone needs the URL of Keystone, such as https://keystone:5000/v3"))
	}
	switch {
	case k.ApplicationCredentialID == "" && k.Username == "":
		errs = append(errs, config.KeyError("keystone.username", "auth keystone needs a service user, or an application credential"))
	case k.ApplicationCredentialID != "" && k.Username != "":
		errs = append(errs, config.KeyError("keystone.username", "give a service user or an application credential, not both"))
	}
	return errors.Join(errs...)
}

// Open reports whether everybody can be whoever they say: such an API belongs on
// a loopback address, or behind what knows better.
func (o *Options) Open() bool {
	return o.Auth == "none" || o.Auth == "basic" && len(o.Basic.Users) == 0 && o.Basic.UsersFile == ""
}

// New makes what the options ask for.
func New(o Options, log *slog.Logger) (Authenticator, error) {
	switch o.Auth {
	case "basic":
		return NewBasic(o.Basic)
	case "remoteuser":
		return NewRemoteUser(o.RemoteUser)
	case "keystone":
		return NewKeystone(o.Keystone, log)
	case "none":
		return None{}, nil
	}
	return nil, fmt.Errorf("unknown auth %q: it can be basic, keystone, remoteuser or none", o.Auth)
}
