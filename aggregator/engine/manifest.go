package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/wal"
)

// manifestName is the object that says which of the others count. It is one line of
// magic, version and CRC-32C of the rest, which is JSON.
const manifestName = "manifest"

const manifestMagic = "nepho-manifest 1 "

// manifest is all that a store consists of. A new one replaces the old one as a
// whole.
type manifest struct {
	ID string `json:"id,omitempty"` // of the store, for ever
	// Epoch counts how often the store was opened. Who finds a higher one than its own
	// must not write any more.
	Epoch uint64 `json:"epoch"`
	Owner string `json:"owner"` // who opened it last
	// Log is what comes after Head.
	Log       logStart    `json:"log"`
	Head      objectInfo  `json:"head"`       // without a name if there is none
	HeadTable objectInfo  `json:"head_table"` // the second one of Head
	Blocks    []blockInfo `json:"blocks"`
	Saved     time.Time   `json:"saved"` // when Head was written
}

// logStart is a place in the log of an owner; each has its own.
type logStart struct {
	Owner string       `json:"owner"`
	From  wal.Position `json:"from"`
}

type objectInfo struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// blockInfo is a block file.
type blockInfo struct {
	objectInfo
	Granularity int64 `json:"granularity"` // ns
	// Class is that of the timespan for which its windows are kept, see classOf.
	Class   int   `json:"class"`
	Level   int   `json:"level"` // 0: by a checkpoint; more: see levels
	Metrics int   `json:"metrics"`
	Windows int64 `json:"windows"`
	First   int64 `json:"first"` // starts of the first and the last window, ns
	Last    int64 `json:"last"`
	// Damaged files are not merged: what is left of them stays where it is.
	Damaged bool `json:"damaged,omitempty"`
}

// kind tells which files may be merged with each other.
func (b *blockInfo) kind() fileKey { return fileKey{b.Granularity, b.Class} }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode gives the object's bytes.
func (m *manifest) encode() ([]byte, error) {
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, fmt.Errorf("cannot encode the manifest: %w", err)
	}
	return append(fmt.Appendf(nil, "%s%08x\n", manifestMagic, crc32.Checksum(body, castagnoli)), body...), nil
}

// decodeManifest reads the object's bytes.
func decodeManifest(data []byte) (*manifest, error) {
	line, body, found := bytes.Cut(data, []byte("\n"))
	if !found || !bytes.HasPrefix(line, []byte("nepho-manifest ")) {
		return nil, errors.New("it is not a manifest")
	}
	if !bytes.HasPrefix(line, []byte(manifestMagic)) {
		return nil, fmt.Errorf("%q was written by a later version", line)
	}
	if sum := fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli)); sum != string(line[len(manifestMagic):]) {
		return nil, errors.New("its checksum is wrong")
	}
	var m manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	for _, b := range m.Blocks {
		if b.Granularity <= 0 || b.Size < 0 || b.First > b.Last || objects.CheckName(b.Name) != nil {
			return nil, fmt.Errorf("its entry of block %q makes no sense", b.Name)
		}
	}
	return &m, nil
}

// readManifest gives the store's manifest, or nil of an empty store.
func readManifest(ctx context.Context, s objects.Store) (*manifest, objects.Version, error) {
	data, version, err := s.Read(ctx, manifestName)
	if errors.Is(err, objects.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("cannot read the manifest of %v: %w", s, err)
	}
	m, err := decodeManifest(data)
	if err != nil {
		return nil, "", fmt.Errorf("the manifest of %v is damaged, restore it from a copy: %w", s, err)
	}
	return m, version, nil
}

// A FencedError says that another engine has opened the store since. This one
// writes no more.
type FencedError struct {
	Owner string
	Epoch uint64
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("another node (owner %s, epoch %d) has taken the store over; this one writes no more until it is restarted, which takes it back", e.Owner, e.Epoch)
}

// commit replaces the manifest by what change makes of a copy of it, and shows it
// to queries. After an error the old one counts.
func (e *Engine) commit(ctx context.Context, change func(m *manifest)) error {
	e.manifestMu.Lock()
	defer e.manifestMu.Unlock()
	m := *e.manifest
	m.Blocks = append([]blockInfo(nil), m.Blocks...)
	change(&m)
	if err := e.replaceManifest(ctx, &m); err != nil {
		return err
	}
	e.manifest = &m
	e.publish()
	return nil
}

// publish shows queries the blocks of the manifest.
func (e *Engine) publish() {
	set, names := blockSet{}, map[string]bool{}
	for _, b := range e.manifest.Blocks {
		set[b.Granularity] = append(set[b.Granularity], b)
		names[b.Name] = true
	}
	e.blocks.Store(&set)
	e.readers.keep(names)
}

// replaceManifest writes m over the version that this engine wrote last.
func (e *Engine) replaceManifest(ctx context.Context, m *manifest) error {
	if fenced := e.fenced.Load(); fenced != nil {
		return fenced
	}
	data, err := m.encode()
	if err != nil {
		return err
	}
	version, err := e.o.Objects.Replace(ctx, manifestName, e.version, data)
	if errors.Is(err, objects.ErrConflict) {
		// An earlier Replace may have happened although it failed.
		var found *manifest
		if found, e.version, err = readManifest(ctx, e.o.Objects); err != nil {
			return err
		}
		if err := e.checkEpoch(found); err != nil {
			return err
		}
		version, err = e.o.Objects.Replace(ctx, manifestName, e.version, data)
	}
	e.unsure = err != nil
	if err != nil {
		return fmt.Errorf("cannot replace the manifest of %v: %w", e.o.Objects, err)
	}
	e.version = version
	return nil
}

// checkEpoch ends writing if the store's manifest is that of another.
func (e *Engine) checkEpoch(found *manifest) error {
	if found != nil && found.Epoch == e.epoch && found.Owner == e.owner {
		return nil
	}
	fenced := &FencedError{}
	if found != nil {
		fenced.Owner, fenced.Epoch = found.Owner, found.Epoch
	}
	if e.fenced.CompareAndSwap(nil, fenced) {
		e.o.Log.Error("the store was taken over", "store", e.o.Objects.String(), "owner", fenced.Owner, "epoch", fenced.Epoch)
	}
	return fenced
}
