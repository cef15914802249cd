package auth

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Basic knows users by HTTP basic authentication. Without users it believes every
// name and ignores the password: Gnocchi's mode basic.
type Basic struct {
	passwords map[string]string // or bcrypt hashes; nil believes everybody
	// someHash is one of the hashes, "" if there is none. Passwords of users who do not
	// exist are compared with it, so that they take as long as others.
	someHash string
	admins   []string
	// A hash costs a good part of a second, so that what matched is remembered, as
	// a keyed digest of the password that is of no use elsewhere.
	key     [32]byte
	mu      sync.Mutex
	matched map[string][sha256.Size]byte // by user
	// hashing limits how many hashes are computed at once, for a wrong password
	// costs as much as a right one.
	hashing chan struct{}
}

// hashers is how many passwords are checked at once.
const hashers = 2

// NewBasic reads the users.
func NewBasic(o BasicOptions) (*Basic, error) {
	b := &Basic{admins: o.Admins, matched: map[string][sha256.Size]byte{}, hashing: make(chan struct{}, hashers)}
	if _, err := rand.Read(b.key[:]); err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	if o.Users == nil && o.UsersFile == "" {
		return b, nil
	}
	b.passwords = map[string]string{}
	for user, password := range o.Users {
		if err := b.add(user, strings.TrimSpace(password)); err != nil {
			return nil, err
		}
	}
	if o.UsersFile == "" {
		return b, nil
	}
	f, err := os.Open(o.UsersFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read users: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || !isBcrypt(hash) {
			return nil, fmt.Errorf("%s, line %d: expected NAME:BCRYPT-HASH, as htpasswd -B writes it", o.UsersFile, n)
		}
		if err := b.add(user, hash); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", o.UsersFile, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read users: %w", err)
	}
	return b, nil
}

func (b *Basic) add(user, password string) error {
	switch {
	case user == "" || strings.Contains(user, ":"):
		return fmt.Errorf("user %q: a name is not empty and has no colon", user)
	case password == "":
		return fmt.Errorf("user %q has no password", user)
	case isBcrypt(password):
		if _, err := bcrypt.Cost([]byte(password)); err != nil {
			return fmt.Errorf("user %q: %w", user, err)
		}
		b.someHash = password
	}
	if _, twice := b.passwords[user]; twice {
		return fmt.Errorf("user %q is there twice", user)
	}
	b.passwords[user] = password
	return nil
}

// isBcrypt reports whether a password is a hash of one.
func isBcrypt(password string) bool {
	return strings.HasPrefix(password, "$2a$") || strings.HasPrefix(password, "$2b$") || strings.HasPrefix(password, "$2y$")
}

// Identify finds the user that a request names and, where there are users, checks
// the password.
func (b *Basic) Identify(r *http.Request) (Identity, error) {
	unknown := &Refusal{Code: http.StatusUnauthorized, Reason: "A user and a password are needed: HTTP basic authentication.", Challenge: `Basic realm="nepho", charset="UTF-8"`}
	user, password, ok := r.BasicAuth()
	if !ok || user == "" {
		return Identity{}, unknown
	}
	if b.passwords != nil {
		match, err := b.match(r, user, password)
		if err != nil {
			return Identity{}, err
		}
		if !match {
			unknown.Reason = "The user or the password is wrong."
			return Identity{}, unknown
		}
	}
	return named(user, b.admins), nil
}

// named is the identity of a user of whom only the name is known.
func named(user string, admins []string) Identity {
	who := Identity{User: user}
	if slices.Contains(admins, user) {
		who.Roles = []string{"admin"}
	}
	return who
}

// match reports whether a password is that of a user.
func (b *Basic) match(r *http.Request, user, password string) (bool, error) {
	want, known := b.passwords[user]
	if known && !isBcrypt(want) {
		// Digests, because the comparison of texts tells their lengths.
		return hmac.Equal(b.digest(password), b.digest(want)), nil
	}
	digest := [sha256.Size]byte(b.digest(password))
	b.mu.Lock()
	last, matched := b.matched[user]
	b.mu.Unlock()
	if matched && subtle.ConstantTimeCompare(last[:], digest[:]) == 1 {
		return true, nil
	}
	if !known {
		if b.someHash == "" {
			return false, nil
		}
		want = b.someHash
	}
	select {
	case b.hashing <- struct{}{}:
	case <-r.Context().Done():
		return false, r.Context().Err()
	}
	err := bcrypt.CompareHashAndPassword([]byte(want), []byte(password))
	<-b.hashing
	if err != nil || !known {
		return false, nil // a hash that is none was refused at start
	}
	b.mu.Lock()
	b.matched[user] = digest
	b.mu.Unlock()
	return true, nil
}

func (b *Basic) digest(password string) []byte {
	h := hmac.New(sha256.New, b.key[:])
	h.Write([]byte(password))
	return h.Sum(nil)
}
