package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/nephoscope/nepho/aggregator/objects"
)

// Identity is how a store is known to the index that describes its metrics. An index
// that belongs to another store, or to none, says of every metric that it was
// deleted, so it must not be asked.
type Identity struct {
	ID   string // 32 hexadecimal digits, random; "" if the store has none yet
	Used bool   // an engine had the store open: there may be measures in it
}

// Identify tells whose store it is, and changes nothing.
func Identify(ctx context.Context, s objects.Store) (Identity, error) {
	m, _, err := readManifest(ctx, s)
	if err != nil || m == nil {
		return Identity{}, err
	}
	return Identity{m.ID, m.Epoch > 0}, nil
}

// Name gives a store an id, if it has none, and tells it. That does not take the store
// from an engine that has it open. A store that has an id but was never opened counts as
// new, so whoever ends between Name and [Open] may begin again.
func Name(ctx context.Context, s objects.Store) (string, error) {
	for {
		m, version, err := readManifest(ctx, s)
		if err != nil {
			return "", err
		}
		if m == nil {
			m = &manifest{}
		}
		if m.ID != "" {
			return m.ID, nil
		}
		var id [16]byte
		rand.Read(id[:])
		m.ID = hex.EncodeToString(id[:])
		data, err := m.encode()
		if err != nil {
			return "", err
		}
		if _, err = s.Replace(ctx, manifestName, version, data); errors.Is(err, objects.ErrConflict) {
			continue // another did so
		}
		if err != nil {
			return "", fmt.Errorf("cannot give the store %v an id: %w", s, err)
		}
		return m.ID, nil
	}
}
