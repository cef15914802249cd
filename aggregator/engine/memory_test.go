package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/nephoscope/nepho/aggregator/objects"
)

// memory is a store without a disk. To the engine it is a remote one.
type memory struct {
	mu       sync.Mutex
	objects  map[string][]byte
	versions map[string]int
}

func newMemory() *memory {
	return &memory{objects: map[string][]byte{}, versions: map[string]int{}}
}

func (m *memory) Put(_ context.Context, name string, r io.Reader, size int64) error {
	data, err := io.ReadAll(r)
	if err == nil && int64(len(data)) != size {
		err = fmt.Errorf("%d bytes of an object of %d", len(data), size)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && m.objects[name] != nil {
		err = objects.ErrConflict
	}
	if err == nil {
		m.objects[name] = data
	}
	return err
}

func (m *memory) Get(_ context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.objects[name]
	if !ok {
		return nil, objects.ErrNotFound
	}
	data = data[min(offset, int64(len(data))):]
	if length >= 0 {
		data = data[:min(length, int64(len(data)))]
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (m *memory) Read(_ context.Context, name string) ([]byte, objects.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.objects[name]
	if !ok {
		return nil, "", objects.ErrNotFound
	}
	return slices.Clone(data), m.version(name), nil
}

func (m *memory) version(name string) objects.Version {
	if m.versions[name] == 0 {
		return ""
	}
	return objects.Version(fmt.Sprint(m.versions[name]))
}

func (m *memory) Replace(_ context.Context, name string, old objects.Version, data []byte) (objects.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.version(name) != old {
		return "", objects.ErrConflict
	}
	m.versions[name]++
	m.objects[name] = slices.Clone(data)
	return m.version(name), nil
}

func (m *memory) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

func (m *memory) List(_ context.Context, prefix string) iter.Seq2[objects.Info, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []objects.Info
	for _, name := range slices.Sorted(maps.Keys(m.objects)) {
		if strings.HasPrefix(name, prefix) {
			all = append(all, objects.Info{Name: name, Size: int64(len(m.objects[name]))})
		}
	}
	return func(yield func(objects.Info, error) bool) {
		for _, info := range all {
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (m *memory) String() string { return "memory" }

// flip changes a bit of an object.
func (m *memory) flip(name string, at int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = slices.Clone(m.objects[name])
	m.objects[name][at] ^= 0x10
}
