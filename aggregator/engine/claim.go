package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
)

// Of two engines on one store the one that opened it later goes on. The other must
// notice, for nobody will ever find what it still acknowledges. When the store is
// shared ([Options.Ship]) each looks every claimEvery whether the manifest is still its own,
// and acknowledges nothing once it could not do so for claimLimit. So an engine that
// was replaced takes writes for no longer than claimEvery, and for claimLimit when it is cut off from
// the store: whoever waits as long before he opens the store elsewhere loses nothing to that.
const (
	claimEvery = 5 * time.Second
	claimLimit = time.Minute
)

// ErrCutOff is returned for writes while it is not known whether another node has taken
// the store over.
var ErrCutOff = errors.New("the object store could not be read for a minute, so that another node may have taken it over: nothing is taken until it can be read again")

// Owns looks whether the store is still this engine's. If not, the error is a
// [FencedError], and the engine writes no more. It may also be called after Close.
func (e *Engine) Owns(ctx context.Context) error {
	if fenced := e.fenced.Load(); fenced != nil {
		return fenced
	}
	began := e.o.Now()
	same, err := e.sameClaim(ctx)
	if err != nil {
		return err
	}
	if !same {
		found, _, err := readManifest(ctx, e.o.Objects)
		if err != nil {
			return err
		}
		if err := e.checkEpoch(found); err != nil {
			return err
		}
	}
	e.seen.Store(&began)
	return nil
}

// Epoch is the number of this opening of the store: higher than that of all before it.
func (e *Engine) Epoch() uint64 { return e.epoch }

// claimOf is the part of an encoded manifest that says whose it is, and stays the same
// as long as that does.
func claimOf(data []byte) []byte {
	body := data[bytes.IndexByte(data, '\n')+1:]
	return bytes.Clone(body[:bytes.Index(body, []byte("\n \"log\""))])
}

// sameClaim reports whether the manifest begins as this engine writes it, which is all
// of it that is read.
func (e *Engine) sameClaim(ctx context.Context) (bool, error) {
	in, err := e.o.Objects.Get(ctx, manifestName, int64(len(manifestMagic)+len("00000000\n")), int64(len(e.claimed)))
	if errors.Is(err, objects.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer in.Close()
	found, err := io.ReadAll(in)
	return bytes.Equal(found, e.claimed), err
}

// cutOff tells whether it is unknown for too long whose the store is.
func (e *Engine) cutOff() bool {
	return e.o.Ship > 0 && e.o.Now().Sub(*e.seen.Load()) > claimLimit
}
